"""StoG: gates behind all neurons, whose probabilities learn for a part of the training."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, defenses, layers

X = np.random.default_rng(0).normal(0.4, 0.8, (12, 3, 4)).astype("float32")
Y = np.arange(12) % 2


def network(defence):
    """Two layers of neurons with what the defence puts behind them."""
    behind = defence.model_options(timesteps=3)["after_neurons"]
    inputs = keras.Input((3, 4))
    x = behind("one")(LIFLayer(name="one")(layers.FoldTime(keras.layers.Dense(6))(inputs)))
    x = behind("two")(LIFLayer(name="two")(layers.FoldTime(keras.layers.Dense(5))(x)))
    model = keras.Model(inputs, keras.layers.Dense(2)(layers.TemporalMean()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9), loss)
    return model


def gates(model):
    return [model.get_layer(name) for name in ("one_gate", "two_gate")]


def probabilities(model):
    return np.concatenate([gate.probability.numpy() for gate in gates(model)])


class Watch(keras.callbacks.Callback):
    """Notes the gates' probabilities at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(probabilities(self.model))


def fit(model, defence, epochs, total_steps):
    watch = Watch()
    callbacks = [*defence.callbacks(total_steps), watch]
    history = model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=callbacks)
    return watch.seen, history.history["loss"]


def test_a_gate_with_the_defences_options_stands_behind_each_layer_of_neurons():
    defence = defenses.StochasticGating(
        minimum=0.3, temperature=0.7, prior=0.02, reduction="sum", seed=5
    )
    one, two = gates(network(defence))
    for gate in (one, two):
        options = (gate.minimum, gate.temperature, gate.prior, gate.reduction)
        assert options == (0.3, 0.7, 0.02, "sum")
    assert one.seed != two.seed


def test_probabilities_move_in_the_first_part_of_the_training_and_stay_then():
    defence = defenses.StochasticGating(prior=0.1, learning_share=0.5, seed=0)
    model = network(defence)
    seen, _ = fit(model, defence, epochs=4, total_steps=12)
    assert np.any(seen[0] != 1.0) and np.any(seen[1] != seen[0])
    np.testing.assert_array_equal(seen[2], seen[1])
    np.testing.assert_array_equal(seen[3], seen[1])
    assert all(gate.trainable for gate in gates(model))


def test_a_training_resumed_behind_that_part_goes_on_the_same():
    keras.utils.set_random_seed(1)
    defence = defenses.StochasticGating(prior=0.1, learning_share=0.5, seed=0)
    whole = network(defence)
    parts = network(defence)
    parts.set_weights(whole.get_weights())
    data = {"batch_size": 4, "verbose": 0, "shuffle": False}
    whole.fit(X, Y, epochs=4, callbacks=defence.callbacks(12), **data)
    for first, last in ((0, 3), (3, 4)):
        parts.fit(X, Y, initial_epoch=first, epochs=last, callbacks=defence.callbacks(12), **data)
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_all_of_the_training_may_be_learned_in_and_none_of_it():
    for share, moves in ((1.0, True), (0.0, False)):
        defence = defenses.StochasticGating(prior=0.1, learning_share=share, seed=0)
        seen, _ = fit(network(defence), defence, epochs=2, total_steps=6)
        assert np.any(seen[1] != seen[0]) == moves


@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_inference_the_network_is_the_one_without_gates(jit_compile):
    keras.utils.set_random_seed(1)
    gated = network(defenses.StochasticGating(seed=0))
    for gate in gates(gated):
        gate.probability.assign(np.full(gate.probability.shape, 0.2))
    plain = keras.Sequential([x for x in gated.layers if not x.name.endswith("_gate")])
    gated.compile(jit_compile=jit_compile)
    np.testing.assert_allclose(gated.predict(X, verbose=0), plain(X), rtol=1e-6)


def test_it_is_found_by_its_name():
    assert repr(defenses.get("stog", prior=1e-5)) == (
        "StochasticGating(minimum=0.1, temperature=0.5, prior=1e-05, reduction='mean', "
        "learning_share=0.5, seed=None)"
    )


@pytest.mark.parametrize(
    "options, words",
    [({"minimum": 0.0}, "`minimum`"), ({"learning_share": 1.5}, "`learning_share`.*1.5")],
    ids=str,
)
def test_a_bad_argument_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        defenses.StochasticGating(**options)
