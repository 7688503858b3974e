"""Whole programs, as a user starts them: trained on digits, killed, gone on with, attacked."""

import csv
import importlib.metadata
import json
import pathlib
import platform
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_mpdsgr import models

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SMALL = """--dataset digits --width 0.02 --timesteps 2 --epochs 3 --limit_train 222
    --validation_images 30 --validation_every 2 --limit_test 60 --batch_size 32
    --eval_limit 20 --eval_batch_size 20 --deterministic --eta 0.5""".split()  # noqa: SIM905


def typed(program, *flags):
    """A program as it is started in a shell."""
    command = [sys.executable, "-m", f"trainers.{program}", *flags]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def own_lines(err):
    """What a program itself has said on standard error, without TensorFlow's greeting."""
    return [line for line in err.splitlines() if line.startswith("error:") or "Traceback" in line]


@pytest.fixture(scope="module")
def finished(shallow, run, tmp_path_factory):
    """An unbroken run, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    status, out, err = run("trainers.cifar", *SMALL, "--run_dir", str(folder))
    assert status == 0, err[-3000:]
    return folder, out


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_what_was_asked_what_came_of_it_and_a_model(finished):
    folder, out = finished
    config = json.loads((folder / "config.json").read_text())
    assert config["flags"]["eta"] == 0.5
    assert config["flags"]["epochs"] == 3
    assert config["versions"]["tensorflow"] == importlib.metadata.version("tensorflow")
    assert config["versions"]["keras"] == importlib.metadata.version("keras")
    assert config["versions"]["python"] == platform.python_version()
    head = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    commit = subprocess.run(head, capture_output=True, text=True).stdout.strip() or None
    assert config["commit"] == commit
    assert [row["epoch"] for row in rows(folder / "metrics.csv")] == ["1", "2", "3"]
    assert list((folder / "tensorboard").iterdir())
    assert len(list((folder / "checkpoints").glob("epoch-*.weights.h5"))) == 2
    assert models.load(folder / "model.keras").output_shape == (None, 10)
    assert "epoch 3/3" in out


def test_the_table_printed_is_the_one_kept_as_json(finished):
    folder, out = finished
    report = json.loads((folder / "results" / "final.json").read_text())
    assert report["n"] == 20
    assert set(report["accuracy"]) == {"fgsm", "pgd", "sapgd50"}
    for share in (report["clean"], *report["accuracy"].values()):
        assert f"{share:.2%}" in out
    low, high = report["intervals"]["clean"]
    assert low <= report["clean"] <= high
    # It is an upper bound, and says by which command one gets at the worst case.
    assert "give an upper bound. The worst case: python -m trainers.attack" in out
    assert f"--run_dir={folder} --suite=strongest --checks" in " ".join(out.split())


def test_the_probe_has_a_row_for_each_layer_and_time_step(finished):
    folder, _ = finished
    probed = rows(folder / "probe.csv")
    # Epochs, layers of neurons, time steps.
    assert len(probed) == 3 * 3 * 2
    for row in probed:
        assert 0 <= float(row["omega"]) <= 1
        assert 0 <= float(row["firing_rate"]) <= 1
        assert (row["lambda"] == "") == row["layer"].startswith("dense")
    last = rows(folder / "metrics.csv")[-1]
    of_layer = [float(row["omega"]) for row in probed[-6:] if row["layer"] == "conv2_lif"]
    assert len(of_layer) == 2
    assert float(last["conv2_lif/omega"]) == pytest.approx(np.mean(of_layer))
    assert float(last["input_gradient_l1"]) >= 0


def test_the_same_command_again_says_that_it_is_done_and_changes_nothing(finished, run):
    folder, _ = finished
    before = (folder / "metrics.csv").read_bytes()
    status, out, err = run("trainers.cifar", *SMALL, "--run_dir", str(folder))
    assert (status, own_lines(err)) == (0, [])
    assert "done already" in out
    assert (folder / "metrics.csv").read_bytes() == before


def test_other_flags_are_refused_in_a_folder_that_holds_a_run(finished, run):
    folder, _ = finished
    status, _, err = run("trainers.cifar", *SMALL, "--run_dir", str(folder), "--seed", "7")
    assert status == 2
    (line,) = own_lines(err)
    assert "--seed=42, now 7" in line


def test_a_killed_run_goes_on_to_the_same_history_and_the_same_weights(
    finished, start, run, tmp_path
):
    folder, _ = finished
    broken = tmp_path / "broken"
    process = start("trainers.cifar", *SMALL, "--run_dir", str(broken))
    checkpoint = broken / "checkpoints" / "epoch-0002.weights.h5"
    deadline = time.monotonic() + 200
    while not checkpoint.is_file() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (broken / "done").exists()
    # As a kill between row and checkpoint, or in the middle of a row, leaves it.
    with (broken / "metrics.csv").open("a") as file:
        file.write("3,0.1,")

    status, _, err = run("trainers.cifar", *SMALL, "--run_dir", str(broken))
    assert status == 0, err[-3000:]
    for name in ("metrics.csv", "probe.csv"):
        assert (broken / name).read_bytes() == (folder / name).read_bytes()
    ours, theirs = (models.load(path / "model.keras") for path in (broken, folder))
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # So is the best epoch's model, beside the last one's.
    kept, last = (models.load(folder / name) for name in ("model.keras", "last.keras"))
    chosen = json.loads((folder / "results" / "final.json").read_text())["config"]["selection"]
    best = int(chosen["model"].removeprefix("model.keras, epoch "))
    assert (folder / "checkpoints" / f"best-{best:04d}.keras").is_file()
    same = all(map(np.array_equal, kept.get_weights(), last.get_weights()))
    assert same == (best == 3)
    # The attacks too, image by image.
    ours, theirs = (rows(path / "results" / "final.csv") for path in (broken, folder))
    for one, other in zip(ours, theirs, strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == {
            k: v for k, v in other.items() if k != "seconds"
        }


def test_ctrl_c_leaves_a_folder_that_can_be_gone_on_with(shallow, start, tmp_path):
    folder = tmp_path / "run"
    process = start("trainers.cifar", *SMALL, "--run_dir", str(folder))
    checkpoint = folder / "checkpoints" / "epoch-0001.weights.h5"
    while not checkpoint.is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (line,) = own_lines(err)
    assert "interrupted" in line
    assert checkpoint.is_file() or (checkpoint.parent / "epoch-0002.weights.h5").is_file()


def test_ctrl_c_is_not_lost_where_it_meets_a_destructor(run):
    # Python prints such an exception and goes on.
    text = """
import os, signal
from keras_mpdsgr.experiments import interrupts
from trainers import program

class Closing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

def main():
    closing = Closing()
    del closing
    print("went on", flush=True)
    interrupts.stop_if_interrupted()
    print("ended", flush=True)

program.run(main, "")
"""
    status, out, err = run(None, text=text)
    assert (status, out) == (130, "went on\n")
    assert "interrupted" in err.splitlines()[-1]


def test_a_substitute_is_trained_on_the_spot_without_regularizer(finished, run):
    folder, _ = finished
    flags = ["--attacks", "fgsm", "--limit", "20", "--batch_size", "20", "--substitute", "train"]
    status, _, err = run("trainers.attack", "--run_dir", str(folder), *flags)
    assert status == 0, err[-3000:]
    config = json.loads((folder / "substitute" / "config.json").read_text())
    assert config["flags"]["eta"] == 0
    assert config["flags"]["seed"] == 43
    report = json.loads((folder / "results" / "fgsm.json").read_text())
    assert set(report["accuracy"]) == {"fgsm", "transfer"}


def test_a_trained_run_is_attacked_and_its_results_are_kept(finished, run):
    folder, _ = finished
    flags = "--attacks fgsm,pgd,bim --eps 8/255 --limit 20 --batch_size 20 --sweep_steps 1,2"
    status, out, err = run("trainers.attack", "--run_dir", str(folder), *flags.split())
    assert status == 0, err[-3000:]
    report = json.loads((folder / "results" / "fgsm-pgd-bim.json").read_text())
    assert report["eps"] == pytest.approx(8 / 255)
    assert set(report["accuracy"]) == {"fgsm", "pgd", "bim"}
    assert "bim" in out
    samples = rows(folder / "results" / "fgsm-pgd-bim.csv")
    assert {row["attack"] for row in samples} <= {"clean", "fgsm", "pgd", "bim"}
    assert sum(row["attack"] == "clean" for row in samples) == 20
    swept = json.loads((folder / "results" / "sweep-pgd-steps.json").read_text())
    assert swept["values"] == [1, 2]
    assert swept["total"] == 20


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--eta -1", "--eta=-1"),
        ("--eta nan", "--eta=nan"),
        ("--epochs 0", "epochs"),
        ("--surrogate boxcar", "arctan, "),
        ("--model resnet", "vgg11"),
        ("--dataset mnist", "digits"),
        ("--no_such_flag 1", "no_such_flag"),
        ("--eval_eps 8:255", "8/255"),
        ("stray", "stray"),
        ("--jit on --deterministic", "--deterministic"),
        ("--dataset cifar10 --data_dir no/such/folder", "no/such/folder"),
        ("--dataset digits --limit_train 100000", "1437"),
        ("--dataset digits --limit_train 10", "batch_size"),
    ],
)
def test_bad_flags_of_a_training_get_one_clear_line(flags, said, run, tmp_path):
    status, out, err = run("trainers.cifar", "--run_dir", str(tmp_path / "run"), *flags.split())
    assert status == 2, err
    (line,) = own_lines(err)
    assert said in line
    assert out == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "--run_dir"),
        ("--run_dir no/such/run", "not a run folder"),
        ("--run_dir RUN --eps -0.1", "--eps=-0.1"),
        ("--run_dir RUN --eps 2", "--eps=2:"),
        ("--run_dir RUN --attacks fgsm,foo", "'foo'"),
        ("--run_dir RUN --suite hardest", "strongest"),
        ("--run_dir RUN --sweep_steps one", "--sweep_steps"),
    ],
)
def test_bad_flags_of_an_attack_get_one_clear_line_and_nothing_is_written(
    flags, said, finished, run
):
    folder, _ = finished
    before = sorted(folder.rglob("*"))
    status, out, err = run("trainers.attack", *flags.replace("RUN", str(folder)).split())
    assert status == 2, err
    (line,) = own_lines(err)
    assert said in line
    assert out == ""
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(("program", "flag"), [("cifar", "--eta_warmup"), ("attack", "--suite")])
def test_help_lists_the_flags_and_succeeds(program, flag):
    status, out, err = typed(program, "--help")
    assert (status, own_lines(err)) == (0, [])
    assert flag in out
    assert "debug" in out
