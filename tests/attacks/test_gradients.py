"""Gradients by the image: exact in single precision, not rounded away in half precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, layers
from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.gradients import image_gradient

X = tf.constant(np.random.default_rng(0).uniform(size=(6, 5)), tf.float32)


def halved(x):
    """Logits by way of float16: 2 x and x."""
    halves = tf.cast(x, tf.float16)
    return tf.cast(tf.stack([halves[:, 0] * 2, halves[:, 0]], axis=1), tf.float32)


@pytest.mark.parametrize("factor", [1e-36, 1e-30, 3e-9, 1.0, 1e4, 1e30])
def test_a_gradient_passes_half_precision_whatever_its_size(factor):
    gradient, *_ = image_gradient(halved, X, lambda logits: factor * logits[:, 0])
    expected = np.zeros(X.shape)
    expected[:, 0] = 2 * np.float64(np.float32(factor))
    np.testing.assert_allclose(gradient, expected, rtol=2**-10)


def test_each_sample_has_a_scale_of_its_own():
    factors = tf.constant([1e-20, 0.0, 1.0, 1e-10, 1e5, 1e-5])
    gradient, *_ = image_gradient(halved, X, lambda logits: factors * logits[:, 1])
    np.testing.assert_allclose(gradient[:, 0], factors, rtol=2**-10)


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_in_single_precision_it_is_the_tapes_own_to_the_bit(loss):
    image = keras.Input((5,))
    spikes = LIFLayer()(layers.DirectEncoder(3)(keras.layers.Dense(16)(image)))
    read_out = layers.FoldTime(keras.layers.Dense(4, kernel_initializer="he_normal"))
    model = keras.Model(image, layers.TemporalMean()(read_out(spikes)))
    y = tf.constant([0, 1, 2, 3, 0, 1])
    with tf.GradientTape() as tape:
        tape.watch(X)
        logits = model(X)
        values = losses.LOSSES[loss](logits, y)
    found = image_gradient(model, X, lambda logits: losses.LOSSES[loss](logits, y))
    expected = tape.gradient(values, X)
    assert np.abs(expected).max() > 0
    for ours, theirs in zip(found, (expected, logits, values), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_does_not_depend_on_the_image_has_gradient_zero():
    gradient, *_ = image_gradient(lambda x: tf.ones((6, 2)), X, lambda logits: logits[:, 0])
    np.testing.assert_array_equal(gradient, np.zeros(X.shape))
    gradient, *_ = image_gradient(halved, X, lambda logits: tf.ones(6))
    np.testing.assert_array_equal(gradient, np.zeros(X.shape))
