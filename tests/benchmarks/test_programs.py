import json
import math
import os
import subprocess
import sys

import pytest

from benchmarks import contenders

PROGRAMS = {
    "training": {"train_vs_ann", "omega_overhead"},
    "attack": {"pgd_vs_ann", "pgd_vs_its_gradients"},
    "memory": {"memory_vs_ann"},
    "scaling": {"train_vs_ann"},
    "pipeline": {"step_with_pipeline_vs_alone"},
    "operations": {"ours_vs_ann"},
}


def run(program, *flags):
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{program}", *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "."},
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_benchmark_runs_and_ends_in_its_ratios(program, tmp_path):
    done = run(program, "--smoke", "--peers=", f"--output_dir={tmp_path}")
    assert done.returncode == 0, done.stderr[-2000:]
    ratios = json.loads(done.stdout.splitlines()[-1])["ratios"]
    assert ratios.keys() >= PROGRAMS[program]
    assert all(math.isfinite(ratio) for ratio in ratios.values())
    written = json.loads((tmp_path / f"{program}.json").read_text())
    assert written["ratios"].keys() == ratios.keys()
    assert written["machine"]["cores"] >= 1
    assert (tmp_path / f"{program}.md").read_text() in done.stdout
    assert (tmp_path / f"{program}.png").stat().st_size > 1000


def test_a_library_that_is_unknown_or_not_there_is_refused():
    done = run("training", "--smoke", "--peers=brian")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == (
        "error: flag --peers=brian: must be of spikingjelly, snntorch, norse."
    )
    missing = [name for name in contenders.PEERS if not contenders.installed(name)]
    for name in missing[:1]:
        done = run("training", "--smoke", f"--peers={name}")
        assert done.returncode == 2
        assert "it is not installed" in done.stderr.strip().splitlines()[-1]
