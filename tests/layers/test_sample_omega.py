"""Omega of the form "sample": the mean nearness of the potentials to the threshold."""

import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer

RNG = np.random.default_rng(0)
# Soft reset kept out of the gradient: potentials are linear in the currents while no spike flips.
EXACT = {"tau": 0.8, "reset": "soft", "detach_reset": True, "dtype": "float64"}


def loss_of(neurons, currents):
    neurons(currents, training=True)
    return tf.add_n(neurons.losses)


def test_it_is_the_mean_of_what_is_left_of_a_triangle_over_the_deviation():
    # One step, so that u is the current; two channels, of which each has its own deviation.
    currents = RNG.normal([0.7, 1.5], [0.5, 2.0], (40, 1, 3, 2))
    neurons = LIFLayer(eta=2.0, omega_form="sample", half_width=0.8, dtype="float64")
    sigma = currents.std(axis=(0, 2), keepdims=True)
    expected = np.mean(np.maximum(0, 1 - np.abs(currents - 1.0) / (0.8 * sigma)))
    assert float(loss_of(neurons, currents)) == pytest.approx(2.0 * expected, rel=1e-9)


def test_of_many_normal_potentials_it_is_the_integral_of_the_triangle():
    # With v / sigma standard normal about m: the integral of (1 - |x| / kappa) p(x - m).
    x = np.linspace(-0.5, 0.5, 20001)
    triangle = (1 - np.abs(x) / 0.5) * np.exp(-((x + 0.4) ** 2) / 2) / np.sqrt(2 * np.pi)
    expected = np.sum((triangle[1:] + triangle[:-1]) / 2) * (x[1] - x[0])
    currents = 1.0 + 3.0 * RNG.normal(-0.4, 1.0, (200_000, 1, 1))
    neurons = LIFLayer(eta=1.0, omega_form="sample", half_width=0.5)
    assert float(loss_of(neurons, currents.astype("float32"))) == pytest.approx(expected, rel=0.02)


def test_its_gradient_goes_through_the_potentials_and_their_deviation():
    currents = RNG.normal(0.6, 0.5, (3, 4, 5))
    neurons = LIFLayer(eta=1.0, omega_form="sample", half_width=1.5, **EXACT)
    with tf.GradientTape() as tape:
        x = tf.constant(currents)
        tape.watch(x)
        value = loss_of(neurons, x)
    gradient = tape.gradient(value, x).numpy()
    for place in [(0, 0, 0), (1, 2, 3), (2, 3, 4), (0, 3, 1), (2, 0, 2)]:
        moved = np.zeros_like(currents)
        moved[place] = 1e-6
        slope = float(loss_of(neurons, currents + moved) - loss_of(neurons, currents - moved))
        assert gradient[place] == pytest.approx(slope / 2e-6, rel=1e-5, abs=1e-9)


def test_it_stays_the_same_where_potential_and_threshold_are_scaled_together():
    currents = RNG.normal(0.6, 0.5, (20, 3, 5))
    both = [
        loss_of(
            LIFLayer(eta=1.0, omega_form="sample", v_threshold=c, gamma=1.0, dtype="float64"),
            c * currents,
        )
        for c in (1.0, 7.0)
    ]
    assert float(both[0]) == pytest.approx(float(both[1]), rel=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_channel_without_variance_has_a_finite_value_and_gradient(value):
    neurons = LIFLayer(eta=1.0, omega_form="sample")
    with tf.GradientTape() as tape:
        x = tf.fill((4, 2, 3), value)
        tape.watch(x)
        loss = loss_of(neurons, x)
    assert np.isfinite(loss) and np.isfinite(tape.gradient(loss, x)).all()
