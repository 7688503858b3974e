"""Pixels of 0 to 255 for a model that takes [0, 1]: refused, as the answers would be wrong."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, data, fitting, layers, models

Y = np.zeros(4, int)


@pytest.fixture(scope="module")
def model():
    model = models.vgg11((8, 8, 1), 3, timesteps=1, width=0.02)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def images(low, high):
    return np.linspace(low, high, 4 * 64).reshape(4, 8, 8, 1)


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize(
    "x",
    [
        images(0, 255).astype("uint8"),
        images(0, 255).astype("float32"),
        tf.constant(images(0, 255), "float32"),
        images(-1.9, 2.1),  # normalised
    ],
)
def test_pixels_far_outside_are_refused_in_one_line(model, method, x):
    labels = () if method == "predict" else (Y,)
    with pytest.raises(
        ValueError, match=r"^`x` must hold pixels in \[0, 1\].*Received: "
    ) as caught:
        getattr(model, method)(x, *labels, verbose=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_a_training_by_an_objective_looks_at_them_too(model, method):
    defended = fitting.DefendedModel(model)
    defended.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = () if method == "predict" else (Y,)
    with pytest.raises(ValueError, match="Received: values from 0 to 255"):
        getattr(defended, method)(images(0, 255), *labels, verbose=0)


def test_validation_images_are_looked_at_too(model):
    x = images(0, 1)
    with pytest.raises(ValueError, match="Received: values from 0 to 255"):
        model.fit(x, Y, validation_data=(255 * x, Y), verbose=0)


@pytest.mark.parametrize("x", [images(0, 1), images(-0.9, 1.9), images(0, 1) > 0.5])
def test_pixels_and_noisy_pixels_are_taken(model, x):
    assert model.predict(x, verbose=0).shape == (4, 3)


def test_a_model_that_scales_pixels_itself_takes_what_it_takes():
    image = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    x = LIFLayer()(layers.DirectEncoder(2)(x))
    model = models.SpikingModel(image, layers.TemporalMean()(x))
    assert model.predict(images(0, 255), verbose=0).shape == (4, 64)


def test_the_digits_model_is_right_on_pixels_and_refuses_levels():
    digits, model = data.load("digits", limit_test=100), models.load("digits")
    right = model.predict(data.to_pixels(digits.x_test), verbose=0).argmax(axis=1) == digits.y_test
    assert right.mean() > 0.9
    with pytest.raises(ValueError, match="Received: values from 0 to 255"):
        model.predict(digits.x_test, verbose=0)
