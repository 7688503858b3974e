"""What tests of experiments share."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import data


@pytest.fixture(scope="session")
def linear_digits():
    """A function that makes a linear map of the digits' pixels, fitted by least squares."""
    images = data.load("digits")
    x = data.to_pixels(images.x_train).reshape(len(images.x_train), -1)
    fitted, *_ = np.linalg.lstsq(np.c_[x, np.ones(len(x))], np.eye(10)[images.y_train], rcond=0.01)

    def linear_digits():
        layers = [keras.Input(images.input_shape), keras.layers.Flatten(), keras.layers.Dense(10)]
        model = keras.Sequential(layers)
        model.layers[-1].set_weights([10 * fitted[:-1], 10 * fitted[-1]])
        return model

    return linear_digits
