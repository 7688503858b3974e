import pathlib
import re
import tempfile

import pytest

from benchmarks.contenders.case import Case
from benchmarks.timing import workers


def test_a_contender_answers_from_a_process_of_its_own(tmp_path):
    case = Case(batch=2, timesteps=1, width=0.02, image_size=16)
    with (tmp_path / "log").open("w") as log:
        contestant = workers.Contestant("ann", log, jit="off")
        try:
            assert contestant.ask("build", case=case.to_dict())["megabytes"] > 50
            with pytest.raises(workers.BenchmarkError, match="ann, time: TypeError: .*'count'"):
                contestant.ask("time", what="train_step")
            assert contestant.ask("memory", count=0)["megabytes"] > 50
        finally:
            contestant.stop()
    assert contestant._process.returncode == 0
    assert "TypeError" in (tmp_path / "log").read_text()


def test_what_one_that_ended_had_printed_can_be_read():
    with pytest.raises(workers.BenchmarkError) as caught, workers.alone("ann") as contestant:
        contestant._process.kill()
        contestant._process.wait()
        contestant.ask("memory", count=0)
    log = pathlib.Path(re.fullmatch(r"ann ended in `memory`; see (.*)\.", str(caught.value))[1])
    assert log.is_file()
    log.unlink()


def test_nothing_is_left_of_one_that_did_not_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with workers.alone("ann") as contestant:
        assert len(list(tmp_path.iterdir())) == 1
        contestant._process.kill()
    assert not list(tmp_path.iterdir())
