"""DLIF's loss: the recursion of y by hand, the current it is about, which gradients flow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, dynamics, layers
from keras_mpdsgr.defenses import DLIF, AdversarialTraining
from keras_mpdsgr.defenses.dlif import perturbation_energy
from keras_mpdsgr.fitting import TaskLoss

TAU, TIMESTEPS = 0.9, 3
RANDOM = np.random.default_rng(1)
WEIGHTS = RANDOM.normal(size=(4, 5)).astype("float32")
X = RANDOM.uniform(size=(6, 4)).astype("float32")
Y = np.arange(6) % 2


class Gain(keras.layers.Layer):
    """A gain as a defence may put it before neurons: it tells what it was given."""

    def call(self, inputs):
        scaled = 3.0 * inputs
        dynamics.note_gain(inputs, scaled)
        return scaled


def network(*before_neurons):
    """Two layers of neurons; the last gets the current x W at every step, next to the first."""
    image = keras.Input((4,))
    other = LIFLayer()(layers.DirectEncoder(TIMESTEPS)(keras.layers.Dense(2)(image)))
    current = keras.layers.Dense(5, use_bias=False, name="last")(image)
    current = layers.DirectEncoder(TIMESTEPS)(current)
    for layer in before_neurons:
        current = layer(current)
    spikes = keras.layers.Concatenate()([other, LIFLayer(tau=TAU)(current)])
    model = keras.Model(image, keras.layers.Dense(2)(layers.TemporalMean()(spikes)))
    model.get_layer("last").set_weights([WEIGHTS])
    return model


no_loss = TaskLoss(lambda y, logits: tf.zeros(()))


def energy_by_hand(x, perturbed):
    """y(t) = (1 + tau + ... + tau^(t-1)) (x - x') W, as the current is the same at all steps."""
    growth = np.cumsum(TAU ** np.arange(TIMESTEPS))
    difference = (x.astype("float64") - perturbed) @ WEIGHTS
    return np.mean(growth**2) * np.mean(difference**2)


def test_y_decays_and_adds_up_the_difference_of_the_currents():
    # With tau = 1/2, y is 1, 2.5, 0.25 for one neuron and 0, 2, 1 for the other.
    difference = tf.constant([[[1.0, 0.0], [2.0, 2.0], [-1.0, 0.0]]])
    expected = [(1 + 2.5**2 + 0.25**2 + 0 + 2**2 + 1) / 6]
    assert perturbation_energy(difference, 0.5).numpy() == pytest.approx(expected)
    absolute = [(1 + 2.5 + 0.25 + 0 + 2 + 1) / 6]
    assert perturbation_energy(difference, 0.5, norm="l1").numpy() == pytest.approx(absolute)


@pytest.mark.parametrize("gains", [[], [Gain()]], ids=["plain", "with a gain"])
def test_the_energy_is_that_of_the_last_layers_current_before_its_gain(gains):
    model = network(*gains)
    adversary = AdversarialTraining(eps=0.1)
    perturbed = adversary.fast_examples(model, X, Y).numpy()
    assert np.abs(perturbed - X).max() == pytest.approx(0.1, abs=1e-6)
    objective = DLIF(tau=TAU, alpha=2.0).objective(adversary)
    _, loss = objective(model, tf.constant(X), tf.constant(Y), no_loss)
    assert float(loss) == pytest.approx(2.0 * energy_by_hand(X, perturbed), rel=1e-4)


def test_the_librarys_own_gain_does_not_change_the_energy_either():
    gain = DLIF().model_options(TIMESTEPS)["before_neurons"]("last_lif")
    model, adversary = network(gain), AdversarialTraining(eps=0.1)
    assert gain.name == "last_lif_gain"
    gain.set_weights([np.array([3.0, 0.0, -2.0])])
    perturbed = adversary.fast_examples(model, X, Y).numpy()
    objective = DLIF(tau=TAU).objective(adversary)
    _, loss = objective(model, tf.constant(X), tf.constant(Y), no_loss)
    assert float(loss) == pytest.approx(energy_by_hand(X, perturbed), rel=1e-4)


def test_by_the_l1_norm_the_loss_holds_the_mean_of_its_size():
    model, adversary = network(), AdversarialTraining(eps=0.1)
    perturbed = adversary.fast_examples(model, X, Y).numpy()
    objective = DLIF(tau=TAU, alpha=2.5, norm="l1").objective(adversary)
    _, loss = objective(model, tf.constant(X), tf.constant(Y), no_loss)
    growth = np.cumsum(TAU ** np.arange(TIMESTEPS))
    difference = np.abs((X.astype("float64") - perturbed) @ WEIGHTS)
    assert float(loss) == pytest.approx(2.5 * np.mean(growth) * np.mean(difference), rel=1e-4)
    with pytest.raises(ValueError, match="`norm` must be one of 'l2', 'l1'. Received: 'linf'"):
        DLIF(norm="linf")


def test_kappa_weighs_the_losses_of_clean_and_perturbed_images():
    model, adversary = network(), AdversarialTraining(eps=0.2)
    perturbed = adversary.fast_examples(model, X, Y)
    clean_logits, perturbed_logits = model(X), model(perturbed)
    assert np.abs(clean_logits - perturbed_logits).max() > 0.01
    objective = DLIF(tau=TAU, kappa=0.25, alpha=0.0).objective(adversary)
    logits, loss = objective(model, tf.constant(X), Y, TaskLoss(lambda y, z: tf.reduce_sum(z)))
    np.testing.assert_array_equal(logits, clean_logits)
    expected = 0.25 * np.sum(clean_logits) + 0.75 * np.sum(perturbed_logits)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("detach_clean", [False, True])
def test_the_gradient_flows_through_both_currents_or_the_perturbed_one_alone(detach_clean):
    model, adversary = network(), AdversarialTraining(eps=0.1)
    perturbed = adversary.fast_examples(model, X, Y).numpy().astype("float64")
    objective = DLIF(tau=TAU, detach_clean=detach_clean).objective(adversary)
    with tf.GradientTape() as tape:
        _, loss = objective(model, tf.constant(X), tf.constant(Y), no_loss)
    gradient = tape.gradient(loss, model.get_layer("last").kernel)
    growth = np.mean(np.cumsum(TAU ** np.arange(TIMESTEPS)) ** 2)
    through = -perturbed if detach_clean else X - perturbed
    expected = 2 * growth / (6 * 5) * through.T @ ((X - perturbed) @ WEIGHTS)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)


def test_without_an_adversary_the_images_get_gaussian_noise_and_stay_valid():
    x = np.full((400, 50), 0.5, "float32")
    first, second = (DLIF(seed=3).objective().examples(None, x, None) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    noise = np.asarray(first) - 0.5
    assert noise.mean() == pytest.approx(0, abs=1e-3)
    assert noise.std() == pytest.approx(8 / 255, rel=0.02)
    objective = DLIF(noise=0.5).objective()
    wide = np.asarray(objective.examples(None, x, None))
    assert (wide.min(), wide.max()) == (0, 1)
    assert np.any(wide != np.asarray(objective.examples(None, x, None)))


def test_a_model_without_spiking_layers_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="DLIF needs a model with at least one LIFLayer"):
        DLIF().objective()(model, tf.constant(X), Y, no_loss)


def test_its_networks_leak_by_its_tau():
    assert DLIF(tau=0.8).model_options(timesteps=4)["tau"] == 0.8
