"""The program for owners of a GPU, on recorded results of the benchmarks that it runs."""

import json
import pathlib
import subprocess

import pytest
from absl import flags

from benchmarks import gpu, machine
from benchmarks.timing.workers import BenchmarkError
from trainers.program import SetupError

RECORDED = pathlib.Path(__file__).resolve().parents[2] / "docs" / "performance"
# The driver's tool, as it answers.
NVIDIA = "#!/bin/sh\necho 'NVIDIA A100-SXM4-40GB, 550.54.15'\n"


@pytest.fixture
def given(monkeypatch, tmp_path):
    """A function that sets flags, a folder for results, and no nvidia-smi in the path."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def give(*words):
        flags.FLAGS.unparse_flags()
        flags.FLAGS(["gpu", f"--output_dir={tmp_path}/out", *words])

    yield give
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["gpu"])
    for name in ("smoke", "width", "repeats", "output_dir"):
        flags.FLAGS[name].unparse()


@pytest.fixture
def runs(monkeypatch):
    """The words of each benchmark started, of recorded results; and whether PGD's fails, a list."""
    started, fails, genuine = [], [False], subprocess.run

    def run(words, **options):
        if words[0] == "nvidia-smi":
            return genuine(words, **options)
        name = words[2].removeprefix("benchmarks.")
        started.append(words[2:])
        folder = pathlib.Path(words[-1].removeprefix("--output_dir="))
        folder.mkdir(parents=True)
        recorded = "attack" if name == "attack" else "training"
        (folder / f"{name}.json").write_text((RECORDED / f"{recorded}.json").read_text())
        return subprocess.CompletedProcess(words, returncode=int(name == "attack" and fails[0]))

    monkeypatch.setattr(subprocess, "run", run)
    return started, fails


def test_it_prints_one_table_of_what_each_benchmark_measured(given, runs, tmp_path, capsys):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(NVIDIA)
    tool.chmod(0o755)
    given("--repeats=5")
    gpu.main()
    started, _ = runs
    assert [words[0] for words in started] == [
        "benchmarks.training", "benchmarks.training", "benchmarks.attack", "benchmarks.scaling",
    ]  # fmt: skip
    assert all("--repeats=5" in words for words in started)
    assert "--jit=off" in started[1] and "--width=1" in started[3]
    out = capsys.readouterr().out
    assert "NVIDIA A100-SXM4-40GB (driver 550.54.15); " in out and "tensorflow 2." in out
    # As docs/performance.md has it of the same results.
    ours = "| batch 32, T = 4, width 0.25 | keras_mpdsgr | 189 [180, 196] | 1.00 [1.00, 1.00] |"
    assert f"| training step {ours}" in out and f"| training step, --jit off {ours}" in out
    assert "| PGD-7 | batch 64, T = 8, width 0.25 | SpikingJelly | 4843 [4766, 4953] | 1.57" in out
    ratios = json.loads(out.splitlines()[-1])["ratios"]
    assert ratios["training.train_vs_ann"] == pytest.approx(1.1005, abs=1e-4)
    assert "attack.pgd_vs_spikingjelly" in ratios


def test_a_benchmark_that_fails_is_named_and_the_others_are_shown(given, runs, capsys):
    started, fails = runs
    fails[0] = True
    given("--smoke")
    with pytest.raises(BenchmarkError, match="not in the table: attack"):
        gpu.main()
    assert len(started) == 4
    out = capsys.readouterr().out
    assert "no GPU; " in out and "| training step |" in out and "PGD-7" not in out


def test_without_a_gpu_and_with_flags_of_the_benchmarks_own_it_is_refused(given, runs):
    given()
    with pytest.raises(SetupError, match="finds no GPU"):
        gpu.main()
    given("--smoke", "--width=0.5")
    with pytest.raises(SetupError, match="--width is set by each"):
        gpu.main()
    assert runs[0] == []


def test_a_machine_without_the_drivers_tool_has_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    told = machine.describe()
    assert told["gpu"] is None and told["gpu_driver"] is None
