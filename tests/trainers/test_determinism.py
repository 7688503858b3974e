"""What `--deterministic` promises at a size where TensorFlow rewrites the graph for memory.

python -m pytest -m slow tests/trainers/test_determinism.py
"""

import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_mpdsgr import models

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CIFAR = """--dataset cifar10 --width 0.25 --timesteps 4 --epochs 3 --limit_train 640
    --limit_test 100 --surrogate triangle --eta 0.05 --eval_limit 20 --eval_batch_size 20
    --deterministic""".split()  # noqa: SIM905


def start(data_dir, folder):
    command = [sys.executable, "-m", "trainers.cifar", *CIFAR]
    command += ["--data_dir", str(data_dir), "--run_dir", str(folder)]
    # A file, as nobody reads a pipe while the other run is waited for.
    with folder.with_suffix(".log").open("a") as log:
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)


def wait(process, folder):
    assert process.wait(timeout=1800) == 0, folder.with_suffix(".log").read_text()[-3000:]


@pytest.mark.slow
def test_a_killed_run_on_cifar_ends_with_the_bits_of_an_unbroken_one(shared_data_dir, tmp_path):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    # At once: each is the load that makes the other's ops arrive in another order.
    first, second = start(shared_data_dir, unbroken), start(shared_data_dir, broken)
    try:
        deadline = time.monotonic() + 1800
        while not (broken / "checkpoints" / "epoch-0002.weights.h5").is_file():
            assert second.poll() is None, broken.with_suffix(".log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second.send_signal(signal.SIGKILL)
        assert second.wait() == -signal.SIGKILL
        assert not (broken / "done").exists()
        second = start(shared_data_dir, broken)
        wait(second, broken)
        wait(first, unbroken)
    finally:
        first.kill()
        second.kill()
    assert "resuming after epoch 2" in broken.with_suffix(".log").read_text()
    for name in ("metrics.csv", "probe.csv"):
        assert (broken / name).read_bytes() == (unbroken / name).read_bytes()
    ours, theirs = (models.load(folder / "model.keras") for folder in (broken, unbroken))
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
