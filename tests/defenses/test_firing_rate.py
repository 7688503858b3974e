"""The firing-rate defence, and FEEL's options."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, defenses, layers

X = np.random.default_rng(0).normal(0.4, 0.8, (12, 3, 4)).astype("float32")
Y = np.arange(12) % 2


def network(defence):
    """Two layers of neurons; with the learning rate 0, every epoch sees the same weights."""
    behind = defence.model_options(timesteps=3)["after_neurons"]
    inputs = keras.Input((3, 4))
    one = LIFLayer(name="one")(layers.FoldTime(keras.layers.Dense(6))(inputs))
    x = behind("one")(one)
    two = LIFLayer(name="two")(layers.FoldTime(keras.layers.Dense(5))(x))
    x = behind("two")(two)
    model = keras.Model(inputs, keras.layers.Dense(2)(layers.TemporalMean()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    defence.prepare(model)
    model.compile(keras.optimizers.SGD(0.0), loss)
    return model, keras.Model(inputs, [one, two])


def test_the_loss_holds_the_mean_over_layers_of_their_firing_rates_and_the_warm_up_its_share():
    defence = defenses.FiringRate(weight=0.8)
    model, spikes = network(defence)
    rates = [float(np.mean(layer)) for layer in spikes(X)]
    plain = model.evaluate(X, Y, batch_size=12, verbose=0)
    assert 0.05 < rates[0] < 0.95
    history = model.fit(
        X, Y, batch_size=12, epochs=4, verbose=0, callbacks=defence.callbacks(4, warmup_steps=2)
    ).history
    expected = plain + 0.8 * np.mean(rates) * np.array([0.0, 0.5, 1.0, 1.0])
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)


def test_preparing_twice_is_as_once():
    defence = defenses.FiringRate(weight=0.8)
    model, _ = network(defence)
    defence.prepare(model)
    assert [model.get_layer(f"{name}_rate").weight for name in ("one", "two")] == [0.4, 0.4]


def test_training_by_it_lowers_the_firing_rate():
    defence = defenses.FiringRate(weight=5.0)
    model, spikes = network(defence)
    before = np.mean([np.mean(layer) for layer in spikes(X)])
    model.compile(
        keras.optimizers.SGD(0.2), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(X, Y, batch_size=12, epochs=15, verbose=0)
    assert np.mean([np.mean(layer) for layer in spikes(X)]) < 0.6 * before


def test_a_model_without_its_layers_is_refused():
    model = keras.Sequential([keras.Input((3, 4)), LIFLayer()], name="plain")
    with pytest.raises(ValueError, match="`model` must hold a FiringRatePenalty.*'plain'"):
        defenses.FiringRate().prepare(model)


def test_it_is_found_by_its_name_and_refuses_a_bad_weight():
    assert repr(defenses.get("rate", weight=0.5)) == "FiringRate(weight=0.5)"
    with pytest.raises(ValueError, match="`weight` must be a number >= 0.*-1"):
        defenses.get("rate", weight=-1)


def test_feel_is_frequency_coding_with_leak_factors_learned_for_each_time_step():
    feel = defenses.get("feel")
    assert feel.model_options(timesteps=8) == {"coding": "frequency", "learn_tau": "time"}
    assert feel.callbacks(total_steps=10) == []
    assert not feel.own_weight_rule
