"""Backward passes made for attacks, against small backward passes in NumPy."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, attacks, dynamics, gradient_mode, layers, surrogates
from keras_mpdsgr.attacks.target import Target

# A of arXiv 2512.22522.
A = 2 * math.tan(0.425 * math.pi) / math.pi
TAU = 0.7


def currents(shape=(3, 4, 5), seed=0):
    return np.random.default_rng(seed).normal(0.5, 0.8, shape).astype("float32")


def upstream(shape=(3, 4, 5)):
    return np.random.default_rng(9).normal(size=shape).astype("float32")


def potentials(x, tau=TAU):
    """Membrane potentials in float64, `(batch, time, ...)`: threshold 1, hard reset."""
    carried, found = 0.0, []
    for current in np.moveaxis(np.float64(x), 1, 0):
        membrane = tau * carried + current
        carried = np.where(membrane >= 1, 0.0, membrane)
        found.append(membrane)
    return np.stack(found, axis=1)


def backward(u, spikes_gradient, slope, tau=TAU, detached=False):
    """Eq. 5-7 in NumPy, hard reset, gradient through the reset or not."""
    gradient, following = np.zeros_like(u), 0.0
    for t in reversed(range(u.shape[1])):
        kept = (u[:, t] < 1) - (0.0 if detached else u[:, t] * slope[:, t])
        following = spikes_gradient[:, t] * slope[:, t] + tau * kept * following
        gradient[:, t] = following
    return gradient


def found_gradient(mode, x, spikes_gradient, **options):
    x = tf.constant(x)
    with gradient_mode(mode, **options), tf.GradientTape() as tape:
        tape.watch(x)
        spikes = LIFLayer(tau=TAU)(x)
    return tape.gradient(spikes, x, tf.constant(spikes_gradient)).numpy()


def assg_slope(u, state):
    """Spec of ASSG: the arctan's slope, and the running mean and deviation behind it."""
    mean, deviation = state
    v = u - 1
    mean = 0.9 * mean + 0.1 * np.abs(v)
    deviation = 0.9 * deviation + 0.1 * np.abs(np.abs(v) - mean)
    a = A / (mean + 1.5 * deviation + 1e-4)
    return a / 2 / (1 + (math.pi * a * v / 2) ** 2), (mean, deviation)


def neurons_alone():
    """Neurons fed by the input itself; logits are random sums of their spikes."""
    image = keras.Input((4, 5))
    spikes = LIFLayer(tau=TAU)(image)
    return keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(spikes)))


def first_logit(logits, y):
    return logits[:, 0] + 0.0 * tf.cast(y, tf.float32)


def test_assg_follows_its_running_mean_and_deviation_over_three_steps():
    model = neurons_alone()
    reading = model.layers[-1].get_weights()[0][:, 0].reshape(1, 4, 5)
    target, state = Target(model, gradient="assg"), ()
    by_hand = 1.0, 0.0
    for step in range(3):
        x = currents(seed=step)
        with gradient_mode("assg"):
            gradient, _, _, state = target.input_gradient(
                tf.constant(x), tf.zeros(3, tf.int32), first_logit, state
            )
        u = potentials(x)
        slope, by_hand = assg_slope(u, by_hand)
        expected = backward(u, np.repeat(reading, 3, axis=0), slope, detached=True)
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)
        for kept, wanted in zip(state[0], by_hand, strict=True):
            np.testing.assert_allclose(kept, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("detach_reset", ["auto", None, True, False])
@pytest.mark.parametrize("mode", ["bptt", "assg", "pdsg", "straight_through", "relu"])
def test_a_backward_is_kept_out_of_the_reset_where_asked(mode, detach_reset):
    x, to_spikes = currents(), upstream()
    u = potentials(x)
    slope = {
        "bptt": lambda: np.maximum(0.0, 1 - np.abs(u - 1)),  # the triangle of gamma 1
        "assg": lambda: assg_slope(u, (1.0, 0.0))[0],
        "pdsg": lambda: pdsg_slope(u),
        "straight_through": lambda: np.ones_like(u),
        "relu": lambda: np.float64(u > 0),
    }[mode]()
    detached = {"auto": mode == "assg", None: False}.get(detach_reset, detach_reset)
    found = found_gradient(mode, x, to_spikes, detach_reset=detach_reset)
    expected = backward(u, to_spikes, slope, detached=detached)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    other = backward(u, to_spikes, slope, detached=not detached)
    assert np.linalg.norm(other - expected) > 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize("detach_reset, trained", [(None, True), (None, False), ("auto", False)])
def test_the_reset_of_assg_is_as_trained_where_asked_else_as_published(detach_reset, trained):
    x, to_spikes = currents(), upstream()
    with (
        gradient_mode("assg", detach_reset=detach_reset),
        tf.GradientTape() as tape,
    ):
        source = tf.constant(x)
        tape.watch(source)
        spikes = LIFLayer(tau=TAU, detach_reset=trained)(source)
    found = tape.gradient(spikes, source, tf.constant(to_spikes))
    u = potentials(x)
    detached = trained or detach_reset == "auto"
    expected = backward(u, to_spikes, assg_slope(u, (1.0, 0.0))[0], detached=detached)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["bptr", "bptr_rga", "hybrid"])
@pytest.mark.parametrize("detach_reset", [True, False])
def test_a_mode_without_a_term_through_the_reset_refuses_to_cut_it(mode, detach_reset):
    with pytest.raises(ValueError, match=f"`detach_reset` is not used by gradient='{mode}'"):
        dynamics.get_mode(mode, detach_reset=detach_reset)
    with pytest.raises(ValueError, match="`detach_reset` is not used"):
        attacks.PGD(gradient=mode, detach_reset=detach_reset)


def test_sharpness_is_the_constant_of_assg_and_of_no_other_mode():
    x, to_spikes = currents(), upstream()
    u = potentials(x)
    v = np.abs(u - 1)
    mean = 0.9 + 0.1 * v
    deviation = 0.1 * np.abs(v - mean)
    a = 0.4 / (mean + 1.5 * deviation + 1e-4)
    slope = a / 2 / (1 + (math.pi * a * v / 2) ** 2)
    found = found_gradient("assg", x, to_spikes, sharpness=0.4)
    expected = backward(u, to_spikes, slope, detached=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="`sharpness` is not used by gradient='bptt'"):
        gradient_mode("bptt", sharpness=0.4).__enter__()
    with pytest.raises(ValueError, match="`sharpness` must be a positive number"):
        attacks.SAPGD(sharpness=0.0)


def test_another_sharpness_is_another_attack_and_compiles_nothing():
    model, x = neurons_alone(), np.clip(currents((6, 4, 5)), 0, 1)
    y = np.argmax(model.predict(x, verbose=0), axis=-1)
    first = attacks.SAPGD(eps=0.3, steps=3, sharpness=0.2)(model, x, y)
    known = len(model._keras_mpdsgr_compiled)
    second = attacks.SAPGD(eps=0.3, steps=3, sharpness=2.0)(model, x, y)
    assert len(model._keras_mpdsgr_compiled) == known
    assert np.abs(first - second).max() > 0.01


class NoisyCurrents(keras.layers.Layer):
    """Adds noise of its own on each call, at inference too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.noise = keras.random.SeedGenerator(5)

    def call(self, x):
        return x + 0.5 * keras.random.normal(keras.ops.shape(x), seed=self.noise)


def noisy_neurons():
    image = keras.Input((4, 5))
    spikes = LIFLayer(tau=TAU)(NoisyCurrents()(image))
    return keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(spikes)))


def test_extra_draws_do_not_move_the_state_of_assg():
    model, x, y = noisy_neurons(), tf.constant(currents()), tf.zeros(3, tf.int32)
    noise = model.layers[1].noise
    begun = np.array(noise.state)
    states = []
    for eot in (1, 4):
        noise.state.assign(begun)
        with gradient_mode("assg"):
            *_, state = Target(model, "assg", eot=eot).input_gradient(x, y, first_logit)
        states.append(state[0])
    for alone, among_others in zip(*states, strict=True):
        np.testing.assert_allclose(among_others, alone, rtol=1e-6)
    assert len(states) == 2
    assert np.std(states[0][1]) > 0.001


def two_layers(seed=3):
    steep = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
    image = keras.Input((12,))
    current = keras.layers.Dense(16, kernel_initializer=steep)(image)
    spikes = LIFLayer(tau=TAU)(layers.DirectEncoder(4)(current))
    hidden = layers.FoldTime(keras.layers.Dense(8, kernel_initializer=steep))(spikes)
    spikes = LIFLayer(tau=TAU)(hidden)
    readout = layers.FoldTime(keras.layers.Dense(3, kernel_initializer=steep))
    return keras.Model(image, layers.TemporalMean()(readout(spikes)))


def some_images(n=6):
    rng = np.random.default_rng(2)
    return rng.uniform(size=(n, 12)).astype(np.float32), rng.integers(3, size=n)


def bim(gradient="assg", steps=5, **options):
    return attacks.BIM(eps=0.3, steps=steps, step_size=0.05, gradient=gradient, **options)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_assg_does_not_depend_on_the_chunks(batch_size):
    model, (x, y) = two_layers(), some_images()
    whole = bim()(model, x, y, batch_size=6)
    np.testing.assert_allclose(bim()(model, x, y, batch_size=batch_size), whole, atol=1e-6)


@pytest.mark.parametrize("restarts", [1, 2])
def test_assg_starts_anew_with_each_attack(restarts):
    model, (x, y) = two_layers(), some_images()
    attack = bim(restarts=restarts)
    first = attack(model, x, y)
    np.testing.assert_array_equal(attack(model, 1 - x, y), attack(model, 1 - x, y))
    np.testing.assert_array_equal(attack(model, x, y), first)


def eager_bim(model, x, y, mode, carry):
    """Five signed steps with no compilation; the mode's state carried along, or dropped."""
    target, image, state = Target(model, mode), tf.constant(x), ()
    for _ in range(5):
        with gradient_mode(mode):
            gradient, _, _, state = target.input_gradient(
                image, tf.constant(y, tf.int32), attacks.losses.cross_entropy, state
            )
        state = state if carry else ()
        image = tf.clip_by_value(image + 0.05 * tf.sign(gradient), x - 0.3, x + 0.3)
        image = tf.clip_by_value(image, 0.0, 1.0)
    return image.numpy()


@pytest.mark.parametrize("mode", ["assg", "pdsg", "hybrid", "relu", "straight_through"])
@pytest.mark.parametrize("jit", ["off", "on"])
def test_an_eager_loop_and_the_compiled_attack_agree(mode, jit):
    model, (x, y) = two_layers(), some_images(20)
    same = np.abs(bim(mode, jit=jit)(model, x, y) - eager_bim(model, x, y, mode, True)) <= 1e-6
    assert same.mean() >= 0.95


def test_the_state_that_assg_carries_decides_the_attack():
    model, (x, y) = two_layers(), some_images(20)
    carried, dropped = (eager_bim(model, x, y, "assg", carry) for carry in (True, False))
    assert np.abs(carried - dropped).max() > 0.04


@pytest.mark.parametrize("kind", [attacks.BIM, attacks.SAPGD])
def test_a_mode_given_as_an_object_is_the_mode_of_that_name(kind):
    model, (x, _) = two_layers(), some_images()
    y = np.argmax(model(x), axis=-1)
    named = kind(eps=0.02, steps=4, gradient="assg")(model, x, y)
    assert (np.argmax(model(named), axis=-1) == y).any()  # so that the last image is looked at
    made = kind(eps=0.02, steps=4, gradient=dynamics.ASSG())(two_layers(), x, y)
    np.testing.assert_allclose(made, named, rtol=0, atol=1e-6)


def pdsg_slope(u):
    """Spec of PDSG: s over batch, space and the steps so far; the last axis kept for images."""
    slope = np.zeros_like(u)
    for t in range(u.shape[1]):
        axes = tuple(range(u.ndim - 1)) if u.ndim > 3 else None
        s = np.asarray(u[:, : t + 1].std(axis=axes))
        filled = np.where(s > 0, s, 1.0)
        v = u[:, t] - 1
        peak = np.exp(-(((v - filled / 2) / (math.sqrt(2) * filled)) ** 2))
        slope[:, t] = np.where(s > 0, peak / (math.sqrt(2 * math.pi) * filled), 1.0)
    return slope


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 4, 3)], ids=["dense", "conv"])
def test_pdsg_is_a_gaussian_as_wide_as_the_potentials_so_far(shape):
    x, to_spikes = currents(shape), upstream(shape)
    x *= np.linspace(0.5, 2.0, shape[-1], dtype="float32")  # channels of unlike deviations
    u = potentials(x)
    expected = backward(u, to_spikes, pdsg_slope(u))
    np.testing.assert_allclose(found_gradient("pdsg", x, to_spikes), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("current", [0.0, 0.5, 0.7])
def test_pdsg_has_slope_one_where_all_potentials_are_the_same(current):
    x = np.full((6, 1, 2, 2, 3), current, "float32")
    gradient = found_gradient("pdsg", x, np.ones_like(x))
    np.testing.assert_allclose(gradient, np.ones_like(x), rtol=1e-6)


def test_pdsg_has_slope_one_in_a_dead_channel_alone():
    x = currents((2, 3, 4, 4, 3))
    x[..., 1] = 0.0
    to_spikes = upstream(x.shape)
    u = potentials(x)
    found = found_gradient("pdsg", x, to_spikes)
    expected = backward(u, to_spikes, pdsg_slope(u))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    # No reset: dL/dI(2) is the last step's gradient, unchanged by slope 1.
    np.testing.assert_allclose(found[:, -1, ..., 1], to_spikes[:, -1, ..., 1], rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_hybrid_is_the_mean_over_time_with_no_path_through_the_membrane(gamma):
    x, to_spikes = currents(), upstream()
    slope = np.maximum(gamma - np.abs(potentials(x) - 1), 0) / gamma**2
    expected = np.repeat((to_spikes * slope).mean(axis=1, keepdims=True), 4, axis=1)
    triangle = surrogates.get("triangle", gamma=gamma)
    found = found_gradient("hybrid", x, to_spikes, surrogate=triangle)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_straight_through_has_slope_one_everywhere():
    x, to_spikes = currents(), upstream()
    u = potentials(x)
    expected = backward(u, to_spikes, np.ones_like(u))
    np.testing.assert_allclose(
        found_gradient("straight_through", x, to_spikes), expected, rtol=1e-4, atol=1e-5
    )


def test_relu_has_slope_one_above_zero_and_none_below():
    x, to_spikes = currents(), upstream()
    u = potentials(x)
    assert 0.1 < (u > 0).mean() < 0.9
    expected = backward(u, to_spikes, np.float64(u > 0))
    np.testing.assert_allclose(found_gradient("relu", x, to_spikes), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["assg", "pdsg", "hybrid", "relu", "straight_through"])
def test_the_spikes_are_left_as_they_are(mode):
    x = tf.constant(currents())
    plain = LIFLayer(tau=TAU)(x)
    with gradient_mode(mode):
        np.testing.assert_array_equal(LIFLayer(tau=TAU)(x), plain)
