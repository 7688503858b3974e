"""The models that come with the project are what their cards say."""

import json
import pathlib

import numpy as np
import pytest

from keras_mpdsgr import data, models
from keras_mpdsgr.evaluation import evaluate

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "saved_models" / "digits"


@pytest.fixture(scope="module")
def digits():
    images = data.load("digits")
    return data.to_pixels(images.x_test), images.y_test


def test_the_digits_model_is_as_accurate_as_its_card_says(digits):
    card = json.loads((FOLDER / "results.json").read_text())
    x, y = digits
    assert card["n"] == len(x)
    model = models.load(FOLDER / "model.keras")
    accuracy = float(np.mean(model.predict(x, verbose=0).argmax(axis=1) == y))
    # A potential at the threshold may fall on its other side on another processor.
    assert accuracy == pytest.approx(card["clean"], abs=2 / len(x))
    assert f"{card['clean']:.2%}" in (FOLDER / "README.md").read_text()


def test_the_digits_model_is_as_robust_as_its_card_says(digits):
    card = json.loads((FOLDER / "results.json").read_text())
    x, y = digits
    report = evaluate(models.load(FOLDER / "model.keras"), x, y, ["fgsm"], eps=card["eps"])
    low, high = card["intervals"]["fgsm"]
    assert low <= report.accuracy["fgsm"] <= high


def test_the_model_is_small_enough_to_be_kept():
    assert (FOLDER / "model.keras").stat().st_size < 5e6
