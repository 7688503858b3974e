"""What goes wrong under a run - another process, a full disk, a kill - loses nothing."""

import contextlib
import csv
import errno
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, TDBatchNormalization, analysis, layers, models
from keras_mpdsgr.errors import RunError, SetupError, writing
from keras_mpdsgr.experiments import AttackConfig, ExperimentConfig, attacking, checkpoints
from keras_mpdsgr.experiments.checkpoints import Checkpoint
from keras_mpdsgr.experiments.epoch_table import EpochTable, table_rows
from keras_mpdsgr.experiments.monitors import EpochRecord, HealthCheck
from keras_mpdsgr.experiments.run_folder import RunFolder
from keras_mpdsgr.files import Lock, read_json, replacing, write_json

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DIGITS = REPOSITORY / "saved_models" / "digits"
HOLDS = """import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
file.truncate(0)
file.write("process 12345 on elsewhere")
file.flush()
print("held", flush=True)
time.sleep(600)"""


def training_settings(folder, **given):
    return ExperimentConfig(dataset="digits", run_dir=folder, width=0.02, **given)


def attack_settings(folder, **given):
    return AttackConfig(run_dir=folder, **given)


@contextlib.contextmanager
def held_by_another(path):
    """Another process has the lock, until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, path], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def small_disk(folder, kilobytes):
    """A file system of so many kilobytes, in memory."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except OSError:
        done = None
    if done is None or done.returncode:
        pytest.skip("a small file system cannot be mounted here: that takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder):
    """Fills a disk to the last byte; the file that does."""
    path = folder / "filler"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    return path


def linear_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


def fitted(model, *callbacks, epochs=2, done=0):
    x = np.ones((4, 3), "float32")
    model.fit(
        x, x[:, :2], batch_size=2, epochs=epochs, initial_epoch=done, verbose=0,
        callbacks=list(callbacks),
    )  # fmt: skip


# Two processes


def test_a_second_process_in_a_run_folder_is_told_so_until_the_first_is_killed(tmp_path):
    settings = training_settings(tmp_path / "run")
    RunFolder.for_training(settings).__exit__()
    with held_by_another(tmp_path / "run" / "lock") as process:
        with pytest.raises(SetupError, match="written by process 12345 on elsewhere. Wait"):
            RunFolder.for_training(settings)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with RunFolder.for_training(settings) as folder:
            assert f"process {os.getpid()} on " in (folder.path / "lock").read_text()


def test_a_run_that_is_done_needs_no_lock(tmp_path):
    settings = training_settings(tmp_path / "run")
    with RunFolder.for_training(settings) as folder:
        folder.mark_done()
    with held_by_another(tmp_path / "run" / "lock"):
        assert RunFolder.for_training(settings).done


def test_a_lock_file_that_was_left_behind_is_no_lock(tmp_path):
    (tmp_path / "lock").write_text("process 1 on nowhere")
    with Lock(tmp_path / "lock", "it"):
        pass


@pytest.fixture
def digits_run(tmp_path):
    """A copy of the model that comes with the project, as a run folder."""
    return pathlib.Path(shutil.copytree(DIGITS, tmp_path / "digits"))


def test_two_attacks_cannot_write_the_same_results(digits_run):
    (digits_run / "results").mkdir()
    settings = attack_settings(digits_run, attacks=["fgsm"], limit=4)
    with held_by_another(digits_run / "results" / "fgsm.lock"):
        with pytest.raises(SetupError, match="results fgsm of .* written by process 12345"):
            attacking.attack(settings)
    (digits_run / "results" / "fgsm.lock").unlink()
    (digits_run / "results").rmdir()
    (digits_run / "results").write_text("a file, where a folder must be")
    with pytest.raises(RunError, match="cannot write to the results fgsm of "):
        attacking.attack(settings)


# What is no number


class Spoil(keras.callbacks.Callback):
    """Sets a weight to a number that spoils all, before a step or after an epoch."""

    def __init__(self, weight, value, step=None):
        super().__init__()
        self._weight, self._value, self._step = weight, value, step

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self._step:
            self._weight.assign(np.full(self._weight.shape, self._value))

    def on_epoch_end(self, epoch, logs=None):
        if self._step is None:
            self._weight.assign(np.full(self._weight.shape, self._value))


def spiking_model():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="first"),
            TDBatchNormalization(name="first_tdbn"),
            layers.DirectEncoder(2),
            LIFLayer(name="first_lif"),
            layers.FoldTime(keras.layers.Dense(4, name="second"), name="second_time"),
            TDBatchNormalization(name="second_tdbn"),
            LIFLayer(name="second_lif"),
            layers.FoldTime(keras.layers.Dense(2)),
            layers.TemporalMean(),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("layer, seen", [("first", "first_tdbn"), ("second_time", "second_tdbn")])
def test_potentials_that_are_no_numbers_stop_their_step_and_the_layer_is_named(
    layer, seen, tmp_path
):
    model = spiking_model()
    # Products with the inputs are no numbers of float32 any more, and nor is their variance.
    spoil = Spoil(model.get_layer(layer).weights[0], 3e38, step=3)
    health = HealthCheck(None, classes=2, say=print)
    x, y = np.random.default_rng(0).random((16, 3), "float32") + 0.5, np.arange(16) % 2
    with pytest.raises(RunError) as caught:
        model.fit(
            x, y, epochs=2, batch_size=2, verbose=0,
            callbacks=[spoil, health, Checkpoint(tmp_path)],
        )  # fmt: skip
    line = str(caught.value)
    assert "in step 4 of epoch 1" in line
    assert f"first seen in sequential/{seen}/moving_" in line
    assert "Try a lower `learning_rate`" in line
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_stops_its_step(tmp_path):
    model = linear_model()
    with pytest.raises(RunError, match="loss is nan in step 2 of epoch 1; first seen in .*kernel"):
        fitted(model, Spoil(model.layers[0].kernel, np.nan, step=1), HealthCheck(None, 2, print))


def test_weights_that_are_no_numbers_are_never_written_as_a_checkpoint(tmp_path):
    model = linear_model()
    fitted(model, Checkpoint(tmp_path), epochs=1)
    kernel = model.layers[0].kernel
    health = HealthCheck(type("Record", (), {"layers": []}), classes=2, say=print)
    with pytest.raises(RunError, match="not finite after epoch 1; first seen in .*dense/kernel"):
        fitted(model, Spoil(kernel, np.nan), health, Checkpoint(tmp_path))
    assert checkpoints.restore(model, tmp_path, print) == 1
    assert np.isfinite(kernel.numpy()).all()


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_potentials_that_overflow_are_named_where_no_weight_does(tmp_path):
    model = spiking_model()
    x = np.random.default_rng(0).random((4, 3), "float32")
    probe = analysis.PotentialProbe(model, x, np.zeros(4, int))
    record = EpochRecord(RunFolder(tmp_path), probe)
    # Its double, after two steps without a spike, is no number of float32.
    model.get_layer("second_tdbn").beta.assign(np.full(4, -3e38))
    health = HealthCheck(record, classes=2, say=print)
    health.set_model(model)
    with pytest.raises(RunError, match="first seen in the potentials of second_lif"):
        health.on_train_batch_end(0, {"loss": float("nan")})


# Checkpoints


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    """A model of two epochs, its checkpoints, and its weights after the first epoch."""
    folder = tmp_path_factory.mktemp("checkpoints")
    model = linear_model()
    fitted(model, Checkpoint(folder), epochs=1)
    first = model.get_weights()
    steps = int(model.optimizer.iterations)
    fitted(model, Checkpoint(folder), done=1)
    return model, folder, first, steps


def damaged(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))] if share < 1 else b"no such file" * 99)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99, 1])
def test_a_damaged_checkpoint_leaves_the_one_before(share, two_checkpoints, tmp_path):
    model, folder, first, steps = two_checkpoints
    folder = shutil.copytree(folder, tmp_path / "checkpoints")
    damaged(folder / "epoch-0002.weights.h5", share)
    said = []
    assert checkpoints.restore(model, folder, said.append) == 1
    (line,) = said
    assert "epoch-0002.weights.h5 cannot be read (" in line
    assert line.endswith("epoch-0001.weights.h5 is used.")
    for ours, theirs in zip(model.get_weights(), first, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert int(model.optimizer.iterations) == steps


def test_two_damaged_checkpoints_are_one_line(two_checkpoints, tmp_path):
    model, folder, *_ = two_checkpoints
    folder = shutil.copytree(folder, tmp_path / "checkpoints")
    for path in folder.iterdir():
        damaged(path, 0.5)
    with pytest.raises(SetupError) as caught:
        checkpoints.restore(model, folder, print)
    line = str(caught.value)
    assert "epoch-0002" in line and "epoch-0001" in line
    assert "another `run_dir`" in line
    assert "\n" not in line


def test_a_checkpoint_of_another_network_is_one_line(two_checkpoints):
    _, folder, *_ = two_checkpoints
    other = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    other.compile("sgd", "mse")
    with pytest.raises(SetupError, match="no checkpoint in .* can be read"):
        checkpoints.restore(other, folder, print)


# Other versions, and damage


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda c: c | {"format": 2}, "newer version (format 2; here at most 1)"),
        (lambda c: c | {"format": "x"}, "damaged"),
        (lambda c: c | {"flags": c["flags"] | {"spike_width": 3}}, "holds spike_width=3, which"),
        (lambda c: {"flags": [1]}, "damaged"),
        (lambda c: [c], "damaged"),
        (lambda c: c | {"flags": c["flags"] | {"eta": 9.0}}, "(`eta`=9.0, now 0.05)"),
    ],
)
def test_the_config_of_another_version_is_one_line(change, said, tmp_path):
    settings = training_settings(tmp_path / "run")
    with RunFolder.for_training(settings) as folder:
        config = read_json(folder.config_path)
        assert config["format"] == 1
    write_json(folder.config_path, change(config))
    with pytest.raises(SetupError) as caught:
        RunFolder.for_training(settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    write_json(folder.config_path, config)
    RunFolder.for_training(settings).__exit__()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null"])
def test_a_damaged_config_is_one_line(content, tmp_path):
    settings = training_settings(tmp_path / "run")
    with RunFolder.for_training(settings) as folder:
        folder.config_path.write_bytes(content)
    with pytest.raises(SetupError, match="config.json is damaged"):
        RunFolder.for_training(settings)


def test_an_older_config_without_a_format_or_a_newer_flag_is_gone_on_with(tmp_path):
    settings = training_settings(tmp_path / "run")
    with RunFolder.for_training(settings) as folder:
        config = read_json(folder.config_path)
    del config["format"], config["flags"]["weight_rule"]
    write_json(folder.config_path, config)
    RunFolder.for_training(settings).__exit__()


def test_a_kill_before_the_config_was_written_leaves_a_folder_to_begin_in(tmp_path):
    settings = training_settings(tmp_path / "run")
    for part in ("results", "checkpoints"):
        (tmp_path / "run" / part).mkdir(parents=True)
    (tmp_path / "run" / "part-config.json").write_text("{")
    (tmp_path / "run" / "lock").touch()
    RunFolder.for_training(settings).__exit__()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").touch()
    with pytest.raises(SetupError, match="not empty and holds no run"):
        RunFolder.for_training(training_settings(tmp_path / "other"))
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("end", ["1", "12", "12,0.", "12,0.25", "ep"])
def test_a_row_that_was_cut_short_is_dropped(end, tmp_path):
    table = EpochTable(tmp_path / "metrics.csv")
    for epoch in (10, 11):
        table.append([{"epoch": epoch, "loss": 0.5}])
    whole = (tmp_path / "metrics.csv").read_bytes()
    (tmp_path / "metrics.csv").write_bytes(whole + end.encode())
    table.cut(11)
    assert (tmp_path / "metrics.csv").read_bytes() == whole
    table.cut(0)
    table.append([{"epoch": 1, "loss": 0.5}])
    assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n1,0.5\n"


@pytest.mark.parametrize("content", [b"\xff\xfe\n\n", b"other,loss\n1,2\n", b"epoch,loss\none,2\n"])
def test_a_damaged_table_is_one_line(content, tmp_path):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(SetupError, match="metrics.csv is damaged"):
        EpochTable(tmp_path / "metrics.csv").cut(1)


# Disks


def test_a_full_disk_stops_a_training_and_keeps_what_was_written(tmp_path):
    model = linear_model()
    with small_disk(tmp_path / "disk", 96) as folder:
        with writing(folder):
            fitted(model, Checkpoint(folder), epochs=1)
        filler = fill(folder)
        with pytest.raises(RunError) as caught, writing(folder):
            fitted(model, Checkpoint(folder))
        # HDF5 tries again to close what it could not, and crashes at the interpreter's end.
        assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0
        line = str(caught.value)
        assert f"cannot write to {folder}: " in line
        assert os.strerror(errno.ENOSPC) in line
        assert "run the same command again" in line
        assert {path.name for path in folder.iterdir()} == {"filler", "epoch-0001.weights.h5"}
        filler.unlink()
        assert checkpoints.restore(model, folder, print) == 1
        with writing(folder):
            fitted(model, Checkpoint(folder))


def test_a_table_and_a_json_file_on_a_full_disk_stay_whole(tmp_path):
    with small_disk(tmp_path / "disk", 16) as folder:
        table = EpochTable(folder / "metrics.csv")
        table.append([{"epoch": 1, "loss": 0.5}])
        write_json(folder / "a.json", {"a": 1})
        filler = fill(folder)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            table.append([{"epoch": 2, "loss": "x" * 9000}])
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            write_json(folder / "a.json", {"a": "x" * 5000})
        filler.unlink()
        table.cut(1)
        assert table_rows(folder / "metrics.csv") == [{"epoch": "1", "loss": "0.5"}]
        assert read_json(folder / "a.json") == {"a": 1}
        assert sorted(path.name for path in folder.iterdir()) == ["a.json", "metrics.csv"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "run", pathlib.Path("/proc/run")):
        with pytest.raises(SetupError) as caught:
            RunFolder.for_training(training_settings(place))
        assert f"cannot write to the run folder {place}: " in str(caught.value)


def test_a_disk_that_can_only_be_read_is_one_line(tmp_path):
    with small_disk(tmp_path / "disk", 96) as folder:
        settings = training_settings(folder / "run")
        RunFolder.for_training(settings).__exit__()
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with pytest.raises(SetupError, match=f"cannot write to .*{os.strerror(errno.EROFS)}"):
            RunFolder.for_training(settings)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt") as beside:
        beside.write_text("new")
        raise KeyboardInterrupt
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


# Kills, in whole programs

SHORT = """--dataset digits --width 0.02 --timesteps 2 --limit_train 192 --limit_test 60
    --batch_size 32 --eval_limit 20 --eval_batch_size 20 --deterministic --eta 0.5""".split()  # noqa: SIM905
# Its epochs are short beside the start of a program, so that kills fall into the training.
LONG = [*SHORT, "--epochs", os.environ.get("MPDSGR_KILL_EPOCHS", "120")]
KILLS = int(os.environ.get("MPDSGR_KILLS", "20"))


def start(name, *given):
    return subprocess.Popen(
        [sys.executable, "-m", f"trainers.{name}", *given],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(name, *given):
    process = start(name, *given)
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err[-3000:]
    return out


def killed_until_done(name, given, progress, moments):
    """Starts a program and kills it again and again; how often it was killed while it worked.

    Args:
        name, given: The program and its flags.
        progress: Function that gives a number which grows as the program works.
        moments: Seconds after the first new progress, of each kill.
    """
    inside = 0
    for moment in moments:
        before = progress()
        process = start(name, *given)
        while progress() == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        inside += 1
    finished(name, *given)
    return inside


def newest(folder):
    names = [path.name for path in (folder / "checkpoints").glob("epoch-*.weights.h5")]
    return max(names, default="")


@pytest.mark.slow
def test_a_training_killed_at_random_moments_comes_to_the_same_end(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finished("cifar", *LONG, "--run_dir", str(whole))
    draws = random.Random(0)
    moments = [draws.uniform(0, 1) for _ in range(KILLS)]
    given = [*LONG, "--run_dir", str(broken)]
    inside = killed_until_done("cifar", given, lambda: newest(broken), moments)
    assert inside >= KILLS // 2
    for name in ("metrics.csv", "probe.csv"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    ours, theirs = (models.load(path / "model.keras") for path in (broken, whole))
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    tables = [json.loads((path / "results/final.json").read_text()) for path in (broken, whole)]
    assert tables[0]["accuracy"] == tables[1]["accuracy"]


@pytest.mark.slow
def test_an_attack_killed_at_random_moments_comes_to_the_same_end(tmp_path):
    whole, broken = (
        pathlib.Path(shutil.copytree(DIGITS, tmp_path / name)) for name in ("whole", "broken")
    )
    given = "--attacks fgsm,bim,sapgd --limit 300 --batch_size 10".split()  # noqa: SIM905
    finished("attack", "--run_dir", str(whole), *given)
    name = "fgsm-bim-sapgd"
    journal = broken / "results" / f"{name}.csv"

    def progress():
        return journal.stat().st_size if journal.is_file() else 0

    draws = random.Random(0)
    moments = [draws.uniform(0, 0.5) for _ in range(KILLS)]
    given = ["--run_dir", str(broken), *given]
    assert killed_until_done("attack", given, progress, moments) >= 1

    def samples(folder):
        with (folder / "results" / f"{name}.csv").open(newline="") as file:
            rows = [{k: v for k, v in r.items() if k != "seconds"} for r in csv.DictReader(file)]
        return sorted(rows, key=lambda row: (row["attack"], int(row["index"])))

    assert samples(broken) == samples(whole)
    ours, theirs = (
        json.loads((folder / "results" / f"{name}.json").read_text()) for folder in (broken, whole)
    )
    for figure in ("clean", "accuracy", "worst_case", "intervals"):
        assert ours[figure] == theirs[figure]


@pytest.mark.slow
def test_a_search_killed_at_random_moments_comes_to_the_same_trials(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    given = """--dataset digits --width 0.05 --timesteps 2 --epochs 3 --limit_train 800
        --batch_size 16 --noaugment --learning_rate 0.05 --eta_range 0.001,0.01
        --gamma_range 0.9,1.1 --search_images 20 --search_steps 2 --max_trials 8
        --deterministic""".split()  # noqa: SIM905
    finished("tune", *given, "--run_dir", str(whole))

    def progress():
        return sum(path.stat().st_mtime_ns for path in broken.glob("search/trial_*/trial.json"))

    draws = random.Random(0)
    moments = [draws.uniform(0, 4) for _ in range(KILLS)]
    inside = killed_until_done("tune", [*given, "--run_dir", str(broken)], progress, moments)
    assert inside >= KILLS // 4
    ours, theirs = (
        json.loads((folder / "results" / "search.json").read_text()) for folder in (broken, whole)
    )
    assert len(theirs["trials"]) == 8
    assert ours["trials"] == theirs["trials"]
    assert ours["best"] == theirs["best"]


@pytest.mark.slow
def test_a_run_whose_disk_was_full_goes_on_to_the_same_end(tmp_path):
    few = [*SHORT, "--epochs", "3"]
    whole = tmp_path / "whole"
    finished("cifar", *few, "--run_dir", str(whole))
    needed = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file()) // 1024
    with small_disk(tmp_path / "disk", needed // 2) as disk:
        process = start("cifar", *few, "--run_dir", str(disk / "run"))
        _, err = process.communicate(timeout=600)
        assert process.returncode == 1, err[-3000:]
        (line,) = [x for x in err.splitlines() if x.startswith("error:") or "Traceback" in x]
        assert "cannot write to" in line
        remount = ["mount", "-o", f"remount,size={4 * needed}k", str(disk)]
        subprocess.run(remount, check=True)
        finished("cifar", *few, "--run_dir", str(disk / "run"))
        assert (disk / "run/metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


@pytest.mark.slow
def test_of_two_trainings_in_one_folder_the_second_is_told_so(tmp_path):
    given = [*SHORT, "--epochs", "3", "--run_dir", str(tmp_path / "run")]
    first = start("cifar", *given)
    while not (tmp_path / "run" / "config.json").is_file() and first.poll() is None:
        time.sleep(0.01)
    second = start("cifar", *given)
    _, err = second.communicate(timeout=600)
    assert second.returncode == 2, err[-3000:]
    assert f"is being written by process {first.pid} on" in err
    _, err = first.communicate(timeout=600)
    assert first.returncode == 0, err[-3000:]
