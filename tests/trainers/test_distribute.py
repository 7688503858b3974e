"""One training on several devices or machines: it ends as on one, and a dead worker is noticed."""

import csv
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_mpdsgr import models
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import ExperimentConfig, distribution

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# The last test batch, of 5, cannot be halved.
SETTINGS = {
    "dataset": "digits", "width": 0.02, "timesteps": 2, "epochs": 3, "limit_train": 128,
    "limit_test": 105, "batch_size": 32, "eval_limit": 10, "eval_batch_size": 10, "eta": 0.5,
}  # fmt: skip
SMALL = ExperimentConfig(**SETTINGS).command()[1:]
# The weights after 12 steps, and the logits' sums, differ by the order of their additions.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def config(**given):
    return ExperimentConfig(**{**SETTINGS, **given})


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_ended_alike(one, other):
    """Two run folders hold the same losses and the same weights."""
    for row, expected in zip(rows(one), rows(other), strict=True):
        assert set(row) == set(expected)
        for name in ("loss", "cross_entropy", "accuracy", "omega", "val_loss", "val_accuracy"):
            assert float(row[name]) == pytest.approx(float(expected[name]), abs=1e-5), name
    ours, theirs = (models.load(folder / "model.keras") for folder in (one, other))
    for weight, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, **CLOSE)


# Replicas -----------------------------------------------------------------------------------------

TRAINED_TWICE = """
import json, sys
from keras_mpdsgr import experiments
for settings in json.loads({asked!r}):
    config = experiments.ExperimentConfig.from_dict(settings)
    experiments.train(config, attack=False)
print("{{}}")
"""


@pytest.fixture(scope="module")
def trained(shallow, on_two_cpus, tmp_path_factory):
    """Run folders of the same training on two virtual CPUs and on one."""
    two, one = (tmp_path_factory.mktemp("runs") / name for name in ("two", "one"))
    asked = [
        config(run_dir=two, distribute="mirrored", replicas=2).to_dict(),
        config(run_dir=one).to_dict(),
    ]
    on_two_cpus(TRAINED_TWICE.format(asked=json.dumps(asked)))
    return two, one


def test_two_replicas_that_share_each_batch_end_where_one_device_does(trained):
    assert_ended_alike(*trained)


def test_the_model_of_two_replicas_loads_where_there_is_one(trained):
    model = models.load(trained[0] / "model.keras")
    assert np.isfinite(model(np.zeros((3, 16, 16, 1), "float32"))).all()


# What is refused ----------------------------------------------------------------------------------

WORKERS = '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}'


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"distribute": "mirrored", "jit": "on"}, "`jit` on"),
        ({"distribute": "multiworker", "jit": "on"}, "`jit` on"),
        ({"replicas": 2}, "`distribute` mirrored"),
        ({"distribute": "multiworker", "replicas": 2}, "`distribute` mirrored"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given, said):
    with pytest.raises(SetupError, match=said):
        config(**given)


def test_a_batch_that_replicas_cannot_share_equally_is_refused():
    class Three:
        num_replicas_in_sync = 3

    place = distribution.Distribution(Three())
    place.check_batch_size(33)
    with pytest.raises(SetupError, match="divisible by the number of replicas, which is 3.*32"):
        place.check_batch_size(32)


def test_tf_config_says_which_worker_this_is():
    assert distribution.workers_of(WORKERS) == (1, 2)


@pytest.mark.parametrize(
    "described",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        WORKERS.replace('"index": 1', '"index": 2'),
        WORKERS.replace('"index": 1', '"index": "1"'),
        WORKERS.replace("b:2", "b"),
        WORKERS.replace("b:2", "a:1"),
        WORKERS.replace("b:2", "b:99999"),
        WORKERS.replace('"type": "worker"', '"type": "chief"'),
        WORKERS.replace('{"worker"', '{"ps": ["c:3"], "worker"'),
        WORKERS.replace('["a:1", "b:2"]', '"a:1"'),
    ],
)
def test_a_tf_config_that_names_no_workers_is_refused_with_an_example(described):
    with pytest.raises(SetupError, match='TF_CONFIG.*"index": 0') as caught:
        distribution.workers_of(described)
    assert "\n" not in str(caught.value)


# Workers ------------------------------------------------------------------------------------------


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(folder, *given, cluster=None, index=0):
    """Starts a training; as one worker of a cluster, where there is one."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    words = [*SMALL, "--run_dir", str(folder), *given]
    if cluster is not None:
        task = {"type": "worker", "index": index}
        environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": cluster}, "task": task})
        words += ["--distribute", "multiworker"]
    return subprocess.Popen(
        [sys.executable, "-m", "trainers.cifar", *words],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(folder, *given):
    cluster = [f"127.0.0.1:{port}" for port in free_ports(2)]
    return [start(folder, *given, cluster=cluster, index=index) for index in range(2)]


def ended(process, within=400):
    """Status and output of a process, which is killed where it takes too long."""
    try:
        out, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, out, err


def errors(err):
    return [line for line in err.splitlines() if line.startswith("error:") or "Traceback" in line]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run folder of one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    status, _, err = ended(start(folder))
    assert status == 0, err[-3000:]
    return folder


@pytest.mark.slow
def test_two_workers_end_where_one_process_does_and_the_chief_alone_writes(alone, tmp_path):
    chief, worker = start_two(tmp_path / "run")
    for process in (worker, chief):
        status, _, err = ended(process)
        assert (status, errors(err)) == (0, []), err[-3000:]
    assert_ended_alike(tmp_path / "run", alone)
    kept = {path.name for path in (tmp_path / "run").iterdir()}
    assert kept == {path.name for path in alone.iterdir()}
    assert (tmp_path / "run" / "results" / "final.json").is_file()


def wait_for(path, processes, within=300):
    """Waits until a file is there; fails where a process ends before."""
    deadline = time.monotonic() + within
    while not path.is_file():
        for process in processes:
            assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1], ids=["chief", "worker"])
def test_a_worker_stops_when_another_is_killed_and_both_go_on(killed, alone, tmp_path):
    folder = tmp_path / "run"
    processes = start_two(folder)
    wait_for(folder / "checkpoints" / "epoch-0001.weights.h5", processes)
    process, left = processes[killed], processes[1 - killed]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    began = time.monotonic()
    status, _, err = ended(left, within=180)
    print(f"noticed after {time.monotonic() - began:.1f} s: {errors(err)}")
    assert status == 1
    (line,) = errors(err)
    assert "another worker is gone" in line
    assert not (folder / "model.keras").exists()

    for process in start_two(folder):
        status, _, err = ended(process)
        assert (status, errors(err)) == (0, []), err[-3000:]
    assert_ended_alike(folder, alone)


@pytest.mark.slow
def test_a_worker_stops_in_time_when_another_hangs(tmp_path):
    processes = chief, worker = start_two(tmp_path / "run")
    wait_for(tmp_path / "run" / "checkpoints" / "epoch-0001.weights.h5", processes)
    worker.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        status, _, err = ended(chief, within=200)
    finally:
        worker.kill()
        worker.communicate()
    print(f"noticed after {time.monotonic() - began:.1f} s: {errors(err)}")
    assert status == 1
    (line,) = errors(err)
    assert "another worker" in line


OWN_PROGRAM = """
import json, os
import keras, numpy as np, tensorflow as tf
if "TF_CONFIG" in os.environ:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
else:
    strategy = tf.distribute.get_strategy()
from keras_mpdsgr import LIFLayer, TDBatchNormalization, defenses, layers, models

x = np.random.default_rng(0).uniform(size=(13, 6)).astype("float32")
y = np.arange(13) % 3
report = {}
for defended in (False, True):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        image = keras.Input((6,))
        hidden = keras.layers.Dense(7)(image)
        hidden = TDBatchNormalization()(layers.DirectEncoder(2)(hidden))
        spikes = LIFLayer(eta=0.1)(hidden)
        model = models.SpikingModel(image, keras.layers.Dense(3)(layers.TemporalMean()(spikes)))
        if defended:
            adversary = defenses.AdversarialTraining(eps=0.1)
            model = defenses.DefendedModel(model, defenses.DLIF().objective(adversary))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    history = model.fit(x[:8], y[:8], batch_size=8, epochs=2, shuffle=False, verbose=0).history
    # The last batch is of one image: nothing is left for the second worker.
    tested = model.evaluate(x, y, batch_size=4, return_dict=True, verbose=0)
    weights = np.concatenate([w.ravel() for w in model.get_weights()]).tolist()
    report[str(defended)] = {**history, "tested": list(tested.values()), "weights": weights}
print(json.dumps(report), flush=True)
"""


def start_program(cluster=None, index=0):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if cluster is not None:
        task = {"type": "worker", "index": index}
        environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": cluster}, "task": task})
    return subprocess.Popen(
        [sys.executable, "-c", OWN_PROGRAM],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_plain_fit_and_evaluate_of_ones_own_program_on_two_workers_are_those_of_one():
    cluster = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = [start_program(cluster, index) for index in range(2)]
    reports = []
    for process in (*processes, start_program()):
        status, out, err = ended(process)
        assert status == 0, err[-3000:]
        reports.append(json.loads(out.splitlines()[-1]))
    first, second, one = reports
    assert first == second
    for model, expected in one.items():
        assert set(first[model]) == set(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(first[model][name], values, **CLOSE, err_msg=name)


@pytest.mark.slow
def test_a_worker_that_waits_for_one_that_never_comes_stops_in_time(tmp_path):
    cluster = [f"127.0.0.1:{port}" for port in free_ports(2)]
    process = start(tmp_path / "run", "--worker_timeout", "20", cluster=cluster)
    status, _, err = ended(process, within=120)
    assert status == 1
    (line,) = errors(err)
    assert "worker_timeout" in line
