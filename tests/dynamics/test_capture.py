"""Which tdBN a layer of neurons is said to be fed by: the one whose output it integrates."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, TDBatchNormalization, analysis, dynamics, layers

X = np.random.default_rng(0).uniform(size=(6, 4)).astype("float32")


def normalized(x, name):
    return TDBatchNormalization(name=name)(keras.layers.Dense(5)(x))


def residual_model():
    """A block whose shortcut is normalized between the main branch's tdBN and its neurons."""
    image = keras.Input((4,))
    sequence = layers.DirectEncoder(3)(image)
    main = normalized(sequence, "main_tdbn")
    shortcut = normalized(sequence, "shortcut_tdbn")
    fired = LIFLayer(name="main")(main)
    total = keras.layers.Add()([fired, shortcut])
    bare = LIFLayer(name="bare")(keras.layers.Dense(5)(total))
    return keras.Model(image, layers.TemporalMean()(bare))


class Subclassed(keras.Model):
    """The same block by calls of its own, in the order in which the shortcut comes last."""

    def __init__(self):
        super().__init__()
        self.norms = [TDBatchNormalization(name=f"{name}_tdbn") for name in ("main", "shortcut")]
        self.neurons = LIFLayer(name="main")

    def call(self, inputs):
        main, shortcut = (norm(inputs[:, None] * tf.ones((1, 3, 1))) for norm in self.norms)
        return self.neurons(main) + shortcut


def pairs(captured):
    return {layer.name: getattr(layer.normalization, "name", None) for layer in captured}


def captured_of(model, x=X):
    with dynamics.capture_potentials() as captured:
        model(x)
    return captured


def test_a_shortcuts_tdbn_is_not_taken_for_the_main_branchs():
    assert pairs(captured_of(residual_model())) == {"main": "main_tdbn", "bare": None}
    assert pairs(captured_of(Subclassed())) == {"main": "main_tdbn"}


def test_it_is_not_while_a_function_is_traced():
    model, found = residual_model(), {}

    @tf.function
    def run(x):
        with dynamics.capture_potentials() as captured:
            outputs = model(x)
        found.update(pairs(captured))
        return outputs

    run(X)
    assert found == {"main": "main_tdbn", "bare": None}


def test_a_sum_of_two_normalized_branches_is_neithers():
    image = keras.Input((3, 4))
    total = keras.layers.Add()([normalized(image, "a"), normalized(image, "b")])
    model = keras.Model(image, LIFLayer(name="sum")(total))
    assert pairs(captured_of(model, np.ones((2, 3, 4), "float32"))) == {"sum": None}


def test_neurons_that_two_calls_share_have_each_calls_own():
    image, neurons = keras.Input((3, 4)), LIFLayer(name="shared")
    a, b = normalized(image, "a"), normalized(image, "b")
    model = keras.Model(image, keras.layers.Add()([neurons(b), neurons(a)]))
    captured = captured_of(model, np.ones((2, 3, 4), "float32"))
    assert sorted(layer.normalization.name for layer in captured) == ["a", "b"]
    for layer in captured:
        expected = model.get_layer(layer.normalization.name).output
        one = keras.Model(image, expected)(np.ones((2, 3, 4), "float32"))
        np.testing.assert_array_equal(layer.currents, one)


@pytest.mark.parametrize(
    "between",
    [
        lambda: [layers.DirectEncoder(3)],
        lambda: [layers.DirectEncoder(3), layers.TemporalGain()],
        lambda: [layers.DirectEncoder(3), keras.layers.Dropout(0.5)],
    ],
    ids=["encoder", "gain", "dropout in inference"],
)
def test_it_is_found_through_what_repeats_or_scales_the_current(between):
    image = keras.Input((4,))
    x = normalized(image, "tdbn")
    for layer in between():
        x = layer(x)
    model = keras.Model(image, LIFLayer(name="neurons")(x))
    assert pairs(captured_of(model)) == {"neurons": "tdbn"}


def test_it_is_found_inside_folded_time():
    image = keras.Input((3, 4))
    folded = layers.FoldTime(TDBatchNormalization(name="tdbn"))(image)
    model = keras.Model(image, LIFLayer(name="neurons")(folded))
    assert pairs(captured_of(model, np.ones((2, 3, 4), "float32"))) == {"neurons": "tdbn"}


def test_rescaling_changes_the_tdbn_that_feeds_the_neurons_alone():
    model = residual_model()
    weights = {name: model.get_layer(f"{name}_tdbn").lambda_ for name in ("main", "shortcut")}
    with analysis.changed_normalization(model, X, lambda_factor=2.0):
        assert np.asarray(weights["main"]).tolist() == [2.0] * 5
        assert np.asarray(weights["shortcut"]).tolist() == [1.0] * 5
