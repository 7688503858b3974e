"""Settings changed between fits reach every Keras model that holds the layer."""

import functools

import keras
import numpy as np
import pytest

from keras_mpdsgr import (
    LIFLayer,
    TDBatchNormalization,
    defenses,
    layers,
    models,
    set_regularization,
)

X = np.random.default_rng(0).normal(0.4, 0.8, (12, 3, 4)).astype("float32")
Y = np.arange(12) % 2


def inner_model(penalty=0.0):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((3, 4)),
            layers.FoldTime(keras.layers.Dense(6)),
            TDBatchNormalization(name="tdbn"),
            LIFLayer(name="lif"),
            layers.FiringRatePenalty(penalty, name="rate"),
            layers.TemporalMean(),
            keras.layers.Dense(2),
        ]
    )


class Subclassed(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs, training=None):
        return self.inner(inputs, training=training)


def functional(inner):
    inputs = keras.Input((3, 4))
    return keras.Model(inputs, inner(inputs))


OUTER = {
    "itself": lambda inner: inner,
    "defended": defenses.DefendedModel,
    "sequential": lambda inner: keras.Sequential([keras.Input((3, 4)), inner]),
    "functional": functional,
    "spiking": lambda inner: models.SpikingModel(*(t := keras.Input((3, 4)), inner(t))),
    "subclassed": Subclassed,
    "recomputed": lambda inner: keras.Sequential([keras.Input((3, 4)), layers.Recompute(inner)]),
    "twice": lambda inner: defenses.DefendedModel(functional(Subclassed(functional(inner)))),
}


def compiled(model, **options):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, **options)
    return model


def fitted(model, **options):
    return model.fit(X, Y, batch_size=12, verbose=0, **options).history["loss"][0]


@functools.cache
def fresh(*changes):
    """The loss of a model that no function was compiled for before."""
    inner = inner_model()
    for change in changes:
        CHANGES[change](inner)
    return fitted(compiled(inner, run_eagerly=True))


CHANGES = {
    "eta": lambda inner: set_regularization(inner, 3.0),
    "half_width": lambda inner: set_regularization(inner, 3.0, half_width=0.2),
    "form": lambda inner: set_regularization(inner, 3.0, half_width=0.2, form="scale_free"),
    "eta of one layer": lambda inner: setattr(inner.get_layer("lif"), "eta", 1.0),
    "rate": lambda inner: setattr(inner.get_layer("rate"), "weight", 2.0),
    "less rate": lambda inner: setattr(inner.get_layer("rate"), "weight", 0.5),
    "threshold": lambda inner: setattr(inner.get_layer("lif"), "v_threshold", 0.3),
    "scale": lambda inner: setattr(inner.get_layer("tdbn"), "alpha", 0.4),
    "off": lambda inner: set_regularization(inner, 0.0),
}


@pytest.mark.parametrize("kind", OUTER)
def test_each_change_reaches_the_next_fit_of_the_model_around(kind):
    inner = inner_model()
    outer = compiled(OUTER[kind](inner))
    seen, done = [fitted(outer)], []
    # Each change costs a trace; one kind of ours and one of Keras' see all.
    names = CHANGES if kind in ("defended", "functional") else ("eta", "form", "off")
    for name in names:
        CHANGES[name](inner)
        done.append(name)
        seen.append(fitted(outer))
        assert seen[-1] == pytest.approx(fresh(*done), rel=1e-5)
    assert min(np.abs(np.diff(seen))) > 1e-3


def test_a_change_by_a_callback_holds_from_the_next_step_on():
    inner = inner_model()
    outer = compiled(defenses.DefendedModel(inner))
    change = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: set_regularization(inner, 3.0 if epoch == 1 else 0.0)
    )
    first, second, third = outer.fit(
        X, Y, batch_size=12, epochs=3, verbose=0, callbacks=[change]
    ).history["loss"]
    assert first == third == pytest.approx(fresh(), rel=1e-5)
    assert second == pytest.approx(fresh("eta"), rel=1e-5)


def test_evaluate_and_predict_follow_a_change_too():
    inner = inner_model()
    outer = compiled(functional(inner))
    before = outer.predict(X, verbose=0), outer.evaluate(X, Y, verbose=0)
    inner.get_layer("lif").v_threshold = 0.3
    np.testing.assert_allclose(outer.predict(X, verbose=0), outer(X), rtol=1e-5)
    assert np.abs(outer.predict(X, verbose=0) - before[0]).max() > 1e-3
    assert abs(outer.evaluate(X, Y, verbose=0) - before[1]) > 1e-3


class Renamed(LIFLayer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)


@pytest.mark.parametrize(
    "layer, name, value",
    [
        (Renamed(v_threshold=0.7), "v_threshold", 0.2),
        (TDBatchNormalization(), "v_threshold", 0.2),
        (layers.SmoothingEncoder(2, std=0.0, seed=0), "std", 5.0),
        (layers.DirectEncoder(2), "timesteps", 3),
    ],
    ids=["a subclass of neurons", "tdBN", "a coding", "a length"],
)
def test_a_setting_of_any_layer_reaches_predict(layer, name, value):
    model = keras.Sequential([keras.Input((3, 4)), layer])
    before = model.predict(X, verbose=0)
    setattr(layer, name, value)
    after = model.predict(X, verbose=0)
    assert after.shape != before.shape or np.abs(after - before).max() > 0.1
    if name != "std":
        np.testing.assert_allclose(after, layer(X), rtol=1e-6)


def test_a_gate_follows_its_settings_in_training():
    gate = layers.StochasticGate(seed=0)
    model = keras.Sequential([keras.Input((3, 4)), gate, layers.TemporalMean()])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    steps = []
    for temperature in (0.5, 0.5, 0.05):
        gate.temperature = temperature
        gate.set_weights([np.full(4, 0.5, "float32")])
        gate.seed_generator.state.assign([0, 0])
        model.fit(X, X[:, 0], batch_size=12, verbose=0)
        steps.append(gate.get_weights()[0])
    np.testing.assert_array_equal(steps[0], steps[1])
    assert np.abs(steps[2] - steps[1]).max() > 1e-4


def test_setting_what_is_set_already_traces_nothing_anew():
    inner = inner_model()
    outer = compiled(functional(inner))
    set_regularization(inner, 3.0)
    fitted(outer)
    kept = outer.train_function
    set_regularization(inner, 3.0)
    assert outer.train_function is kept
