"""What every test shares: TensorFlow's settings, fresh seeds, the prepared data sets."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

# Read when TensorFlow is imported, so they come first.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import keras
import pytest

# A job in the background has Ctrl-C ignored, and so would every program that tests start.
with contextlib.suppress(ValueError):  # not in the main thread
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: the first example of a compiled function takes seconds, the rest milliseconds.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "project")

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def fresh_keras():
    """The same seeds and layer names for each test, whichever ran before it."""
    # Without collecting garbage, which takes longer than most tests.
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.utils.clear_session(free_memory=False)


@pytest.fixture(scope="session")
def shared_data_dir():
    """Folder with CIFAR-10 and CIFAR-100 in TFDS' prepared form, from MPDSGR_DATA_DIR."""
    default = REPOSITORY.parent / "shared" / "data" / "tensorflow_datasets"
    folder = pathlib.Path(os.environ.get("MPDSGR_DATA_DIR", default))
    if not folder.is_dir():
        pytest.skip(f"no prepared data sets in {folder}: set MPDSGR_DATA_DIR to their folder")
    return folder


# Devices are configured before TensorFlow starts, hence a process of its own.
_TWO_CPUS = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""


@pytest.fixture(scope="session")
def on_two_cpus():
    """Runs a program whose TensorFlow has two CPUs; gives the JSON that it prints last."""

    def run(program):
        result = subprocess.run(
            [sys.executable, "-c", _TWO_CPUS + program],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert result.returncode == 0, result.stderr[-2000:]
        return json.loads(result.stdout.splitlines()[-1])

    return run
