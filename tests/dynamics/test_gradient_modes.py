"""Which backward pass is in force: its value, and where its scope may stand."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, dynamics, gradient_mode, layers, models, surrogates

# Currents over T = 4 of neurons with no leak, threshold 1 and hard reset, whether each fires at
# all, and their mean.
CURRENTS = np.array(
    [
        [0.4, 0.4, 0.4, 0.4],  # potentials .4 .8 1.2 .4: fires once
        [0.2, 0.2, 0.2, 0.2],  # up to .8: silent
        [2.6, 2.4, 2.5, 2.5],  # fires at each step; mean 2.5
        [-1.0, -1.0, 1.5, 0.1],  # up to -.5: silent; mean -.1
        [0.0, 0.0, 0.0, 0.0],  # mean exactly 0
        [1.5, 1.5, 1.5, 1.5],  # fires at each step; mean 1.5
    ],
    "float32",
)
UPSTREAM = np.array([0.5, -1.0, 2.0, 3.0], "float32")


def input_gradient(layer, currents=CURRENTS, upstream=UPSTREAM):
    """dL/dI of neurons along the feature axis, as (neuron, time), for the same dL/ds of each."""
    x = tf.constant(currents.T[None])
    with tf.GradientTape() as tape:
        tape.watch(x)
        spikes = layer(x)
    return tape.gradient(spikes, x, tf.constant(upstream[None, :, None] + 0 * x))[0].numpy().T


def normal_currents():
    return np.random.default_rng(0).normal(0.4, 0.8, (6, 5)).astype("float32")


def bptt_gradient(surrogate, gamma=1.0):
    layer = LIFLayer(tau=0.8, surrogate=surrogate, gamma=gamma)
    return input_gradient(layer, normal_currents(), np.arange(1.0, 6.0, dtype="float32"))


@pytest.mark.parametrize("surrogate", ["rectangular", "sigmoid", "superspike", "arctan"])
def test_bptt_with_another_surrogate_is_a_layer_built_with_it(surrogate):
    own, other = bptt_gradient("triangle"), bptt_gradient(surrogate)
    with gradient_mode("bptt", surrogate=surrogate):
        replaced = bptt_gradient("triangle")
    assert not np.allclose(own, other)
    np.testing.assert_allclose(replaced, other, rtol=1e-6)
    np.testing.assert_array_equal(bptt_gradient("triangle"), own)


def test_a_surrogate_object_keeps_its_own_width_in_the_scope():
    with gradient_mode("bptt", surrogate=surrogates.get("triangle", gamma=0.5)):
        replaced = bptt_gradient("sigmoid")
    np.testing.assert_allclose(replaced, bptt_gradient("triangle", gamma=0.5), rtol=1e-6)


def test_bptt_without_a_surrogate_is_each_layers_own():
    with gradient_mode("bptt"):
        inside = bptt_gradient("arctan")
    np.testing.assert_array_equal(inside, bptt_gradient("arctan"))


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_bptr_passes_the_gradient_of_neurons_that_fired_and_of_no_others(reset):
    fired = np.array([1, 0, 1, 0, 0, 1])
    with gradient_mode("bptr"):
        gradient = input_gradient(LIFLayer(reset=reset))
    np.testing.assert_array_equal(gradient, fired[:, None] * UPSTREAM)


# tau = 1: 1/2 for 0 <= x <= 2. tau = 1/2: .2 for 0 <= x < 1/2, .9/1.5 for 1/2 <= x <= 2.
@pytest.mark.parametrize(
    "tau, factors", [(1.0, [0.5, 0.5, 0, 0, 0.5, 0.5]), (0.5, [0.2, 0.2, 0, 0, 0.2, 0.6])]
)
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_bptr_in_rgas_form_weighs_by_the_mean_current(reset, tau, factors):
    with gradient_mode("bptr_rga"):
        gradient = input_gradient(LIFLayer(tau=tau, reset=reset))
    np.testing.assert_allclose(gradient, np.array(factors)[:, None] * UPSTREAM, rtol=1e-6)


@pytest.mark.parametrize("mode", ["bptr", "bptr_rga"])
def test_rate_gradients_leave_the_spikes_as_they_are(mode):
    x = tf.constant(CURRENTS.T[None])
    plain = LIFLayer()(x)
    with gradient_mode(mode):
        np.testing.assert_array_equal(LIFLayer()(x), plain)


def test_an_unknown_mode_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="`gradient` must be one of.*Received: 'rate'") as refusal:
        with gradient_mode("rate"):
            pass
    assert {"bptt", "bptr", "bptr_rga"} <= set(re.findall(r"\w+", str(refusal.value)))


def test_an_unknown_surrogate_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="arctan.*triangle.*'boxcar'"):
        with gradient_mode("bptt", surrogate="boxcar"):
            pass


def test_a_surrogate_beside_a_mode_object_is_refused():
    with pytest.raises(ValueError, match="`surrogate`.*Received: surrogate='arctan'"):
        with gradient_mode(dynamics.GradientMode(), surrogate="arctan"):
            pass


def test_a_refused_mode_leaves_no_scope_open():
    with pytest.raises(ValueError), gradient_mode("rate"):
        pass
    assert tf.function(LIFLayer())(tf.ones((1, 2, 3))).shape == (1, 2, 3)


def test_the_innermost_scope_is_in_force_and_the_outer_one_comes_back():
    bptr, arctan = [1, 0, 1, 0, 0, 1] * UPSTREAM[:, None], bptt_gradient("arctan")
    with gradient_mode("bptr"):
        with gradient_mode("bptt", surrogate="arctan"):
            np.testing.assert_allclose(bptt_gradient("triangle"), arctan, rtol=1e-6)
        np.testing.assert_array_equal(input_gradient(LIFLayer()), bptr.T)
    assert not np.array_equal(input_gradient(LIFLayer()), bptr.T)


def test_a_scope_that_an_error_leaves_is_closed():
    expected = bptt_gradient("triangle")
    with pytest.raises(KeyError), gradient_mode("bptr"):
        raise KeyError
    np.testing.assert_array_equal(bptt_gradient("triangle"), expected)


def test_the_scope_counts_the_layers_that_use_it():
    x = tf.ones((1, 2, 3))
    with gradient_mode("bptt") as mode:
        LIFLayer()(LIFLayer()(x))
    assert mode.calls == 2


def test_a_function_traced_inside_an_open_scope_is_refused():
    layer = LIFLayer()
    function = tf.function(lambda x: layer(x))
    with gradient_mode("bptr"), pytest.raises(RuntimeError, match="inside `gradient_mode`"):
        function(tf.ones((1, 2, 3)))
    np.testing.assert_array_equal(function(tf.ones((1, 2, 3))), np.ones((1, 2, 3)))


@pytest.mark.parametrize("jit_compile", [False, True], ids=["plain", "xla"])
def test_a_scope_inside_a_function_holds_there_and_only_there(jit_compile):
    layer = LIFLayer()

    @tf.function(jit_compile=jit_compile)
    def gradient(x, upstream):
        with gradient_mode("bptr"), tf.GradientTape() as tape:
            tape.watch(x)
            spikes = layer(x)
        return tape.gradient(spikes, x, upstream)

    x = tf.constant(CURRENTS.T[None])
    upstream = tf.constant(np.tile(UPSTREAM[None, :, None], (1, 1, 6)))
    expected = np.array([1, 0, 1, 0, 0, 1]) * upstream.numpy()
    outside = input_gradient(layer)
    for _ in range(2):
        np.testing.assert_array_equal(gradient(x, upstream), expected)
        np.testing.assert_array_equal(input_gradient(layer), outside)


def spiking_model(kind):
    inputs = keras.Input((3, 4))
    outputs = layers.TemporalMean()(LIFLayer()(keras.layers.Dense(2)(inputs)))
    model = kind(inputs, outputs)
    model.compile(optimizer="sgd", loss="mse")
    return model


DATA = np.ones((4, 3, 4), "float32"), np.ones((4, 2), "float32")
VERBS = {
    "fit": lambda model: model.fit(*DATA, verbose=0),
    "evaluate": lambda model: model.evaluate(*DATA, verbose=0),
    "predict": lambda model: model.predict(DATA[0], verbose=0),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", [models.SpikingModel, keras.Model])
def test_keras_verbs_are_refused_inside_a_scope_and_work_after_it(kind, verb):
    model = spiking_model(kind)
    with gradient_mode("bptr"), pytest.raises(RuntimeError, match="inside `gradient_mode`"):
        VERBS[verb](model)
    VERBS[verb](model)


@pytest.mark.parametrize("verb", VERBS)
def test_a_spiking_model_already_compiled_is_refused_inside_a_scope_too(verb):
    model = spiking_model(models.SpikingModel)
    VERBS[verb](model)
    with gradient_mode("bptr"), pytest.raises(RuntimeError, match="inside `gradient_mode`"):
        VERBS[verb](model)


def test_a_mode_of_ones_own_is_found_by_its_name(monkeypatch):
    registry = "keras_mpdsgr.dynamics.gradient_modes._registry"
    monkeypatch.setattr(registry, {"bptt": dynamics.GradientMode})

    @dynamics.register
    class Constant(dynamics.GradientMode):
        name = "constant"

        def derivative(self, window, t, prepared):
            return tf.ones_like(window.membranes[t])

    x = np.array([[0.3]], "float32")
    with gradient_mode("constant"):
        assert input_gradient(LIFLayer(), x, np.array([4.0], "float32")) == 4.0
    assert dynamics.mode_names() == ["bptt", "constant"]
