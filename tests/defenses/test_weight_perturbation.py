"""AWP against its formula in numpy; what leaves no trace; on two replicas; what is refused."""

import keras
import numpy as np
import pytest
import scipy.special

from keras_mpdsgr import LIFLayer, TDBatchNormalization, defenses, layers, models
from keras_mpdsgr.defenses import AdversarialTraining, AdversarialWeightPerturbation, DefendedModel
from keras_mpdsgr.defenses.weight_perturbation import _kernels

RANDOM = np.random.default_rng(5)
X = RANDOM.uniform(size=(16, 6)).astype("float32")
Y = np.arange(16) % 3
L2, GAMMA, RATE = 0.01, 0.3, 0.5


def compiled(model, rate=RATE):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss)
    return model


def fit(model, **options):
    return model.fit(X, Y, **{"batch_size": 8, "shuffle": False, "verbose": 0, **options}).history


def spiking_network():
    keras.utils.set_random_seed(0)
    image = keras.Input((6,))
    hidden = keras.layers.Dense(7, kernel_regularizer=keras.regularizers.L2(L2))(image)
    hidden = TDBatchNormalization()(layers.DirectEncoder(2)(hidden))
    spikes = LIFLayer(eta=0.1)(hidden)
    gated = layers.StochasticGate(seed=1)(spikes)
    return models.SpikingModel(image, keras.layers.Dense(3)(layers.TemporalMean()(gated)))


def linear_network():
    regularizer = keras.regularizers.L2(L2)
    dense = keras.layers.Dense(3, kernel_regularizer=regularizer)
    return keras.Sequential([keras.Input((6,)), dense])


def test_a_step_takes_the_gradient_where_a_step_of_the_kernel_has_raised_the_loss():
    model = linear_network()
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    adversary = AdversarialTraining(eps=0.2, step_size=0.1, random_start=False)
    # Made with the weights as they are.
    examples = adversary.examples(model, X, Y).numpy().astype("float64")

    def errors(kernel):
        return (scipy.special.softmax(examples @ kernel + bias, axis=1) - np.eye(3)[Y]) / 16

    ascent = examples.T @ errors(kernel)  # of the loss alone, without the regularizer
    moved = kernel + GAMMA * np.linalg.norm(kernel) / np.linalg.norm(ascent) * ascent
    slope = examples.T @ errors(moved) + 2 * L2 * moved
    expected = kernel - RATE * slope, bias - RATE * errors(moved).sum(0)
    objective = AdversarialWeightPerturbation(adversary.objective(), GAMMA)
    fit(compiled(DefendedModel(model, objective)), batch_size=16)
    for weight, other in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-6)
    unmoved = examples.T @ errors(kernel) + 2 * L2 * kernel
    assert np.abs(RATE * (slope - unmoved)).max() > 1e-3


def test_weights_come_back_to_the_last_bit():
    model = spiking_network()
    before = [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]
    fit(compiled(DefendedModel(model, AdversarialWeightPerturbation(gamma=0.5)), rate=0.0))
    for weight, value in zip(model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_the_pass_that_leads_the_step_leaves_no_trace():
    plain, perturbed = spiking_network(), spiking_network()
    expected = fit(compiled(DefendedModel(plain)), epochs=2)
    objective = AdversarialWeightPerturbation(gamma=0.0)
    found = fit(compiled(DefendedModel(perturbed, objective)), epochs=2)
    assert found == expected  # Omega and firing rates among them
    # Moving statistics and random states among them.
    for weight, other in zip(perturbed.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(weight, other, err_msg=weight.path)


def test_kernels_alone_are_moved():
    model = spiking_network()
    assert [w.path.rpartition("/")[2] for w in _kernels(model)] == ["kernel", "kernel"]


def test_it_goes_around_every_objective():
    for defense in ("sr", "dlif"):
        objective = defenses.get(defense).objective(AdversarialTraining(eps=0.1, steps=1, seed=0))
        objective = AdversarialWeightPerturbation(objective)
        losses = fit(compiled(DefendedModel(spiking_network(), objective), rate=0.2), epochs=4)
        assert losses["loss"][-1] < losses["loss"][0]


class Whole(defenses.Objective):
    def __call__(self, model, x, y, task_loss):
        logits = model(x, training=True)
        return logits, task_loss(y, logits)


def test_an_objective_in_one_piece_is_refused():
    with pytest.raises(ValueError, match="defines `loss` and leaves `__call__`.*Whole"):
        AdversarialWeightPerturbation(Whole())
    with pytest.raises(ValueError, match="`gamma` must be.*-1"):
        AdversarialWeightPerturbation(gamma=-1)


def test_float16_is_refused():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)], name="half")
    model.dtype_policy = keras.DTypePolicy("mixed_float16")
    model = compiled(DefendedModel(model, AdversarialWeightPerturbation()))
    with pytest.raises(ValueError, match="AWP cannot be combined with float16"):
        fit(model)


REPLICAS = """
import json
import keras
import numpy as np
import tensorflow as tf

from keras_mpdsgr import LIFLayer, TDBatchNormalization, defenses, layers, models

x = np.random.default_rng(0).uniform(size=(8, 6)).astype("float32")
y = np.arange(8) % 3

def fit(strategy):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        image = keras.Input((6,))
        hidden = TDBatchNormalization()(layers.DirectEncoder(2)(keras.layers.Dense(7)(image)))
        spikes = LIFLayer(eta=0.1)(hidden)
        logits = keras.layers.Dense(3)(layers.TemporalMean()(spikes))
        adversary = defenses.AdversarialTraining(
            0.1, random_start=False, gradient="assg", warmup_steps=3)
        model = defenses.DefendedModel(
            models.SpikingModel(image, logits),
            defenses.AdversarialWeightPerturbation(adversary.objective(), 0.1),
            defenses.WeightAverage(0.9),
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss)
    options = {"batch_size": 8, "shuffle": False, "verbose": 0}
    history = model.fit(x, y, epochs=3, validation_data=(x, y), **options).history
    weights = {weight.path: keras.ops.convert_to_numpy(weight).tolist() for weight in model.weights}
    return {**history, **weights}

strategies = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
print(json.dumps([fit(strategy) for strategy in strategies]))
"""


def test_two_replicas_perturb_and_average_as_one_does(on_two_cpus):
    one, two = on_two_cpus(REPLICAS)
    assert {"val_loss", "weight_average/updates"} <= set(one)
    for figure, values in one.items():
        np.testing.assert_allclose(two[figure], values, rtol=1e-5, atol=1e-6, err_msg=figure)
