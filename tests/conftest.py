"""What every test shares: TensorFlow's settings, fresh seeds, the prepared data sets."""

import contextlib
import gc
import json
import multiprocessing
import os
import pathlib
import runpy
import signal
import tempfile

# Until the tests are collected: imports and rewritten tests make half a million objects that stay.
gc.disable()

# Read when TensorFlow is imported, so they come first.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What XLA compiles runs a few times only here: less time in the compiler, slower machine code.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import hypothesis  # noqa: E402
import keras  # noqa: E402
import pytest  # noqa: E402

# A job in the background has Ctrl-C ignored, and so would every program that tests start.
with contextlib.suppress(ValueError):  # not in the main thread
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: the first example of a compiled function takes seconds, the rest milliseconds.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "project")

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
# No modules: programs run them.
collect_ignore = ["forked.py", "benchmarks/forked.py"]


def pytest_addoption(parser):
    parser.addoption(
        "--record",
        action="store_true",
        help="Write what comparisons with other libraries measure into docs/evaluation.md.",
    )


@pytest.fixture(autouse=True)
def fresh_keras():
    """The same seeds and layer names for each test, whichever ran before it."""
    # Without collecting garbage, which takes longer than most tests.
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.utils.clear_session(free_memory=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop():
    """Takes what imports have made out of every collection of garbage."""
    gc.collect()
    gc.freeze()
    gc.enable()
    # Python's 700 is reached by tracing one layer: a twentieth of all time went into collections.
    gc.set_threshold(5000, 10, 10)


@pytest.fixture(scope="module", autouse=True)
def left_by_other_modules():
    """Takes what earlier modules' tests have left, also out of each look at all living objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def quick_collection(monkeypatch):
    """KerasTuner collects garbage before each trial: without this, for longer than one takes."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


@pytest.fixture(scope="session")
def shared_data_dir():
    """Folder with CIFAR-10 and CIFAR-100 in TFDS' prepared form, from MPDSGR_DATA_DIR."""
    default = REPOSITORY.parent / "shared" / "data" / "tensorflow_datasets"
    folder = pathlib.Path(os.environ.get("MPDSGR_DATA_DIR", default))
    if not folder.is_dir():
        pytest.skip(f"no prepared data sets in {folder}: set MPDSGR_DATA_DIR to their folder")
    return folder


# Importing TensorFlow takes seconds, so it is done once. Nothing of it has started in the server:
# what is forked off can still configure devices and threads.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["keras_mpdsgr.experiments.training", "keras_mpdsgr.experiments.attacking", "matplotlib.pyplot"]
)


class Program:
    """A program in a process of its own, as `subprocess.Popen` would start it but sooner.

    Args:
        module: Its module, as of `python -m`; None for a text.
        *words: Its arguments.
        text: Python code, as of `python -c`.
        folder: The folder in which it is started.
        **environment: Variables that are set for it alone.
    """

    # Values in the place of those of modules: by the module's name, by the value's.
    replaced: dict = {}

    def __init__(self, module, *words, text=None, folder=REPOSITORY, **environment):
        self._outputs = [tempfile.NamedTemporaryFile("r") for _ in range(2)]  # noqa: SIM115
        names = [file.name for file in self._outputs]
        words = [str(word) for word in words]
        asked = (module, text, words, str(folder), environment, names, self.replaced)
        path = str(REPOSITORY / "tests" / "forked.py")
        self._process = _FORKS.Process(target=runpy.run_path, args=(path, {"asked": asked}))
        self._process.start()

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def communicate(self, timeout=600):
        """Waits for its end; what it wrote to standard output and error."""
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise TimeoutError(f"the program went on for more than {timeout} s")
        return tuple(file.read() for file in self._outputs)


@pytest.fixture(scope="session")
def start():
    """Starts a program: see `Program`."""
    return Program


@pytest.fixture(scope="session")
def run(start):
    """Runs a program to its end; its status, standard output and standard error."""

    def run(module, *words, **options):
        program = start(module, *words, **options)
        out, err = program.communicate()
        return program.returncode, out, err

    return run


@pytest.fixture(scope="module")
def shallow():
    """VGG11 with three layers of neurons for ten, of each kind one, here and in programs.

    For what holds at any depth: most of the time of a short run goes into tracing its network.
    """
    layers = {"_VGG11": (64, "pool", 128), "_HIDDEN_UNITS": (4096,)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in layers.items():
            patch.setattr(f"keras_mpdsgr.models.vgg.{name}", value)
        patch.setattr(Program, "replaced", {"keras_mpdsgr.models.vgg": layers})
        yield


_TWO_CPUS = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""


@pytest.fixture(scope="session")
def on_two_cpus(run):
    """Runs a text whose TensorFlow has two CPUs; gives the JSON that it prints last."""

    def on_two_cpus(text):
        status, out, err = run(None, text=_TWO_CPUS + text)
        assert status == 0, err[-2000:]
        return json.loads(out.splitlines()[-1])

    return on_two_cpus
