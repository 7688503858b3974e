"""TemporalGain: a learnable gain for each time step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, layers, models

X = np.random.default_rng(0).normal(0.6, 0.8, (4, 3, 5, 2)).astype("float32")
P = np.array([1.0, 0.5, -2.0], "float32")


def built(gains=P):
    layer = layers.TemporalGain()
    layer.build((None, *X.shape[1:]))
    if gains is not None:
        layer.gain.assign(gains)
    return layer


def test_it_starts_as_the_identity_and_has_one_weight_a_time_step():
    layer = built(gains=None)
    np.testing.assert_array_equal(layer(X), X)
    assert [weight.shape for weight in layer.trainable_weights] == [(3,)]


def test_each_time_step_is_multiplied_by_its_own_gain():
    outputs = built()(X)
    for t, gain in enumerate(P):
        np.testing.assert_array_equal(outputs[:, t], X[:, t] * gain)
    assert built().compute_output_shape((None, 3, 5, 2)) == (None, 3, 5, 2)


def test_the_gradient_of_a_gain_gathers_what_arrives_at_its_time_step():
    layer, upstream = built(), np.random.default_rng(1).normal(size=X.shape).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(X) * upstream)
    expected = (upstream * X).sum((0, 2, 3))
    np.testing.assert_allclose(tape.gradient(loss, layer.gain.value), expected, rtol=1e-5)


def test_with_neurons_behind_it_is_the_recursion_of_dlif():
    gain, neurons = built([1.0, 0.7, 1.8]), LIFLayer(tau=0.99)
    membrane = np.zeros(X.shape[:1] + X.shape[2:], "float32")
    for t, p in enumerate([1.0, 0.7, 1.8]):
        membrane = np.float32(0.99) * membrane + np.float32(p) * X[:, t]
        spikes = membrane >= 1.0
        np.testing.assert_array_equal(neurons(gain(X))[:, t], spikes)
        membrane = np.where(spikes, 0.0, membrane).astype("float32")


def test_a_saved_model_has_its_gains_again(tmp_path):
    inputs = keras.Input(X.shape[1:])
    model = keras.Model(inputs, layers.TemporalGain(name="gain")(inputs))
    model.get_layer("gain").gain.assign(P)
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(X), model(X))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_under_mixed_precision_gains_stay_in_float32(policy):
    layer = layers.TemporalGain(dtype=policy)
    assert layer(X).dtype == policy.removeprefix("mixed_")
    assert layer.gain.dtype == "float32"


def test_under_xla_it_gives_the_same():
    layer = built()
    call = tf.function(layer, jit_compile=True)
    np.testing.assert_array_equal(call(tf.constant(X)), layer(X))


@pytest.mark.parametrize(
    "shape, words", [((2, 3), "sequences of at least 3 axes"), ((2, None, 4), "must be static")]
)
def test_what_is_no_sequence_is_refused(shape, words):
    with pytest.raises(ValueError, match=f"TemporalGain.*{words}"):
        layers.TemporalGain().build(shape)
