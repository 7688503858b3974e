"""`trainers.attack --model_file`: a model that no run has trained, judged as a run's is."""

import functools
import json
import shlex
import shutil

import keras
import numpy as np
import pytest

from keras_mpdsgr import experiments, models
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import AttackConfig
from keras_mpdsgr.experiments.model_file import ModelFile

ASKED = {"attacks": ("fgsm", "uniform"), "eps": 16 / 255, "limit": 10, "batch_size": 4}
NAME = "fgsm-uniform-eps16"


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """One model a file, so that its attacks are compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load", functools.lru_cache(models.load))
        yield


def linear(shape=(16, 16, 1), classes=10):
    return keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)]
    )


@pytest.fixture(scope="module")
def folder(linear_digits, tmp_path_factory):
    """net.keras, a linear map of the digits' pixels, and the same model as a run."""
    folder = tmp_path_factory.mktemp("models")
    model = linear_digits()
    model.save(folder / "net.keras")
    run = folder / "run"
    run.mkdir()
    shutil.copy(folder / "net.keras", run / "model.keras")
    (run / "config.json").write_text(json.dumps({"flags": {"dataset": "digits"}}))
    return folder


def of_file(path, **given):
    return AttackConfig(model_file=path, dataset="digits", **{**ASKED, **given})


@pytest.fixture(scope="module")
def report(folder):
    return experiments.attack(of_file(folder / "net.keras"), verbose=False)


def test_a_file_is_judged_as_the_same_model_of_a_run_is(folder, report):
    of_run = experiments.attack(AttackConfig(run_dir=folder / "run", **ASKED), verbose=False)
    assert 0.0 < report.worst_case < report.clean
    assert report.images == of_run.images
    for label, record in of_run.records.items():
        np.testing.assert_array_equal(report.records[label].prediction, record.prediction)
    written = {path.name for path in (folder / "net-results").iterdir()}
    assert written >= {f"{NAME}.json", f"{NAME}.csv", f"{NAME}.md"}


def test_the_command_of_the_report_makes_it_again_from_the_rows_that_are_there(folder, report):
    python, dash, program, *words = shlex.split(report.command)
    assert (python, dash, program) == ("python", "-m", "trainers.attack")
    config = AttackConfig.from_words(words)
    assert config == of_file(folder / "net.keras")
    rows = (folder / "net-results" / f"{NAME}.csv").read_text()
    again = experiments.attack(config, verbose=False)
    assert again.worst_case == report.worst_case
    assert (folder / "net-results" / f"{NAME}.csv").read_text() == rows


def test_shards_of_a_file_are_merged_into_the_report_of_all(folder, report, tmp_path):
    asked = {"results_dir": tmp_path / "some" / "where"}
    for shard in ("1/2", "2/2"):
        experiments.attack(of_file(folder / "net.keras", shard=shard, **asked), verbose=False)
    merged = experiments.attack(of_file(folder / "net.keras", merge=True, **asked), verbose=False)
    assert merged.accuracy == report.accuracy
    assert (tmp_path / "some" / "where" / f"{NAME}.json").is_file()


def test_checks_and_sweeps_are_made_of_a_file_too(folder, tmp_path):
    config = of_file(
        folder / "net.keras", attacks=("fgsm",), limit=6, checks=True, checks_limit=4,
        sweep_eps=(0, 16 / 255), sweep_attack="fgsm", results_dir=tmp_path,
    )  # fmt: skip
    assert experiments.attack(config, verbose=False).checks
    assert (tmp_path / "sweep-fgsm-eps.json").is_file()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"run_dir": "a", "model_file": "b"}, "`run_dir` and `model_file` cannot be combined"),
        ({"model_file": "net.keras"}, "`model_file` needs `dataset`, one of cifar10"),
        ({"model_file": "net.keras", "dataset": "digit"}, "`dataset` must be .*mean digits"),
        ({"run_dir": "a", "dataset": "digits"}, "`dataset` is used only with `model_file`"),
        ({"run_dir": "a", "results_dir": "b"}, "`results_dir` is used only with `model_file`"),
        (
            {"model_file": "net.keras", "dataset": "digits", "substitute": "train"},
            "`substitute` train cannot be combined with `model_file`",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given, said):
    with pytest.raises(SetupError, match=said):
        AttackConfig(**given)


def named(names):
    built = models.vgg11((16, 16, 1), 10, timesteps=1, width=0.02)
    built.class_names = names
    return built


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: linear((8, 8, 1)), r"shape that the model takes, \(8, 8, 1\)"),
        (lambda: linear((16, 16, 3)), r"shape that the model takes, \(16, 16, 3\)"),
        (lambda: linear(classes=100), "the 10 classes of the data set. Received: .* of 100"),
        (lambda: linear(classes=1), "of at least two"),
        (
            lambda: named(tuple("1023456789")),
            "in another order. Received: class 0 is 1, and 0 in the data set",
        ),
    ],
)
def test_a_model_that_does_not_fit_the_data_set_is_refused_before_anything_runs(
    make, said, tmp_path
):
    make().save(tmp_path / "net.keras")
    with pytest.raises(SetupError, match=f"net.keras does not fit the data set digits: .*{said}"):
        experiments.attack(of_file(tmp_path / "net.keras"), verbose=False)
    assert [path.name for path in tmp_path.iterdir()] == ["net.keras"]


def test_a_path_that_is_no_file_and_results_that_are_one_are_refused(tmp_path, folder):
    for path, said in ((tmp_path / "no.keras", "there is none at"), (tmp_path, "a folder")):
        with pytest.raises(SetupError, match=f"`model_file` must be .*{said}"):
            experiments.attack(of_file(path), verbose=False)
    (tmp_path / "no.keras").write_text("text")
    with pytest.raises(SetupError, match="is not a .keras model"):
        experiments.attack(of_file(tmp_path / "no.keras"), verbose=False)
    config = of_file(folder / "net.keras", results_dir=tmp_path / "no.keras")
    with pytest.raises(SetupError, match="is a file. Name another by `results_dir`"):
        experiments.attack(config, verbose=False)


def test_images_of_a_folder_get_the_size_that_the_model_takes(tmp_path):
    for split in ("train", "test"):
        for name, level in (("dark", 20), ("light", 200)):
            (tmp_path / split / name).mkdir(parents=True)
            image = np.full((12, 10, 3), level, np.uint8)
            keras.utils.save_img(tmp_path / split / name / "a.png", image, scale=False)
    linear((6, 5, 3), classes=2).save(tmp_path / "net.keras")
    file = ModelFile.checked(tmp_path / "net.keras", "folder")
    assert file.images(tmp_path, limit_train=1).x_test.shape == (2, 6, 5, 3)
