"""The trained digits model and its test images."""

import pathlib

import pytest

from keras_mpdsgr import data, models

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "saved_models" / "digits"


@pytest.fixture(scope="session")
def digits_model():
    return models.load(FOLDER / "model.keras")


@pytest.fixture(scope="session")
def digits():
    """The first 64 test images, in [0, 1]."""
    return data.to_pixels(data.load("digits").x_test[:64])
