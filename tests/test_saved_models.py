"""The models that come with the project are what their cards say."""

import pathlib

import numpy as np
import pytest

from keras_mpdsgr import data, models
from keras_mpdsgr.evaluation import evaluate
from keras_mpdsgr.experiments import Run, model_folder, verification
from keras_mpdsgr.pages import card

HOME = pathlib.Path(__file__).resolve().parent.parent / "saved_models"


@pytest.fixture(scope="module")
def digits():
    images = data.load("digits")
    return data.to_pixels(images.x_test), images.y_test


@pytest.fixture(scope="module")
def model():
    return models.load("digits")


@pytest.fixture(scope="module")
def reports():
    return model_folder.card_reports(Run(HOME / "digits"))


@pytest.mark.parametrize("name", models.available(HOME))
def test_a_card_is_what_is_made_of_its_files(name):
    assert card.differs(HOME / name) is None
    assert (HOME / name / "model.keras").stat().st_size <= model_folder.LARGEST
    assert len(models.load(name).class_names) == models.load(name).output_shape[-1]


@pytest.mark.parametrize("name", [n for n in models.available(HOME) if n.startswith("cifar10")])
def test_a_cifar_model_is_as_accurate_as_its_card_says(name, shared_data_dir):
    n = 100
    images = data.load("cifar10", shared_data_dir, limit_train=1, limit_test=n)
    model = models.load(name, dtype="float32")
    predicted = model.predict(data.to_pixels(images.x_test), verbose=0)
    for report in model_folder.card_reports(Run(HOME / name)).values():
        said = report.clean_correct[:n]
        assert np.count_nonzero((predicted.argmax(axis=1) == images.y_test) != said) <= 2


def test_the_digits_model_is_as_accurate_as_its_card_says(model, digits, reports):
    x, y = digits
    accuracy = float(np.mean(model.predict(x, verbose=0).argmax(axis=1) == y))
    for report in reports.values():
        assert report.n == len(x)
        # A potential at the threshold may fall on its other side on another processor.
        assert accuracy == pytest.approx(report.clean, abs=2 / len(x))


def test_the_digits_model_is_as_robust_as_its_card_says(model, digits, reports):
    n = 60
    said = verification.first(reports["final"], n)
    report = evaluate(model, digits[0][:n], digits[1][:n], ["fgsm"], eps=said.eps)
    assert said.accuracy["fgsm"] < said.clean
    assert report.accuracy["fgsm"] == pytest.approx(said.accuracy["fgsm"], abs=1 / n)


@pytest.mark.parametrize("name", ["final", "strongest"])
def test_the_digits_model_was_attacked_as_this_version_attacks(model, digits, reports, name):
    config = model_folder.attack_config(name, reports[name])
    folder, x = Run(HOME / "digits"), digits[0][:10]
    attacks = verification.attacks_of(folder, name, reports[name], config, model, x)
    assert list(attacks) == list(reports[name].records)
