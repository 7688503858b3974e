"""FiringRatePenalty: the mean firing rate in the loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, layers, models

SPIKES = (np.random.default_rng(0).random((4, 3, 5, 2)) < 0.3).astype("float32")


def test_in_training_the_loss_grows_by_weight_times_the_share_of_spikes():
    layer = layers.FiringRatePenalty(0.7)
    np.testing.assert_array_equal(layer(SPIKES, training=True), SPIKES)
    assert float(sum(layer.losses)) == pytest.approx(0.7 * SPIKES.sum() / SPIKES.size, rel=1e-6)


@pytest.mark.parametrize("weight, training", [(0.7, False), (0.7, None), (0.0, True)])
def test_otherwise_it_adds_nothing(weight, training):
    layer = layers.FiringRatePenalty(weight)
    np.testing.assert_array_equal(layer(SPIKES, training=training), SPIKES)
    assert layer.losses == []


def test_the_factor_of_a_warm_up_scales_it_and_is_no_weight():
    layer = layers.FiringRatePenalty(0.7)
    layer.eta_factor.assign(0.25)
    layer(SPIKES, training=True)
    assert float(sum(layer.losses)) == pytest.approx(0.7 * 0.25 * SPIKES.mean(), rel=1e-6)
    assert layer.weights == []


def test_its_gradient_reaches_the_weights_through_the_surrogate():
    # One step of one neuron, I = w x: the rate's slope is the mean of h(w x - 1) x.
    x = np.random.default_rng(1).normal(1.0, 0.5, (64, 1, 1)).astype("float32")
    weight = tf.Variable(0.9)
    neurons, penalty = LIFLayer(gamma=1.0), layers.FiringRatePenalty(2.0)
    with tf.GradientTape() as tape:
        penalty(neurons(weight * x, training=True), training=True)
        loss = tf.add_n(penalty.losses)
    surrogate = np.maximum(1.0 - np.abs(0.9 * x - 1.0), 0.0)
    assert float(tape.gradient(loss, weight)) == pytest.approx(
        2.0 * float((surrogate * x).mean()), rel=1e-5
    )


def test_a_saved_model_keeps_the_weight(tmp_path):
    inputs = keras.Input(SPIKES.shape[1:])
    model = keras.Model(inputs, layers.FiringRatePenalty(0.7, name="rate")(inputs))
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras")
    assert loaded.get_layer("rate").weight == 0.7
    np.testing.assert_array_equal(loaded(SPIKES), SPIKES)


def test_in_half_precision_the_rate_is_exact():
    # 2.4 million spikes: their sum is far beyond float16.
    spikes = tf.ones((30, 2, 200, 200), "float16")
    layer = layers.FiringRatePenalty(1.0, dtype="float16")
    assert layer(spikes, training=True).dtype == "float16"
    assert float(sum(layer.losses)) == pytest.approx(1.0, rel=1e-6)


def test_under_xla_the_loss_is_the_same():
    layer = layers.FiringRatePenalty(0.7)

    @tf.function(jit_compile=True)
    def loss(spikes):
        layer(spikes, training=True)
        return tf.add_n(layer.losses)

    assert float(loss(tf.constant(SPIKES))) == pytest.approx(0.7 * SPIKES.mean(), rel=1e-6)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), None, "much"])
def test_a_bad_weight_is_refused(weight):
    with pytest.raises(ValueError, match=f"`weight` must be a number >= 0.*{weight!r}"):
        layers.FiringRatePenalty(weight)
