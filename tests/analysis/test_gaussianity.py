"""Distances from normal against SciPy, exact distributions and the digits model."""

import pathlib

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import tensorflow as tf

from keras_mpdsgr import (
    LIFLayer,
    TDBatchNormalization,
    analysis,
    data,
    dynamics,
    layers,
    models,
    surrogates,
)
from keras_mpdsgr.analysis.captured import membranes_without_reset, predicted_moments
from keras_mpdsgr.analysis.gaussianity import kolmogorov_distance

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SAMPLES, CHANNELS, STEPS, TAU = 4000, 3, 4, 0.7
# What a Kolmogorov distance of so many draws stays under, by the DKW bound, but 1 in 10^9 times.
FAR = np.sqrt(np.log(2e9) / (2 * SAMPLES))


def pixels(*shape):
    """Normal pixels that tdBN makes standard normal."""
    return np.random.default_rng(0).normal(0.5, 0.1, shape).clip(0, 1).astype(np.float32)


def neurons_alone(constant, lambda_=1.0, beta=0.0, steps=STEPS, **neuron):
    """tdBN - LIF on images that are currents: one a time step, or one for all."""
    image = keras.Input((CHANNELS,) if constant else (steps, CHANNELS))
    norm = TDBatchNormalization()
    x = norm(image)
    x = layers.DirectEncoder(steps)(x) if constant else x
    spikes = LIFLayer(name="lif", **neuron)(x)
    model = keras.Model(image, layers.TemporalMean()(spikes))
    full = np.ones(CHANNELS)
    norm.set_weights([lambda_ * full, beta * full, 0.5 * full, (0.01 - 1e-5) * full])
    return model


@pytest.fixture(scope="module")
def independent():
    model = neurons_alone(constant=False, beta=0.3, tau=TAU)
    return analysis.measure_gaussianity(model, pixels(SAMPLES, STEPS, CHANNELS))


@pytest.fixture(scope="module")
def digits():
    model = models.load(REPOSITORY / "saved_models" / "digits" / "model.keras")
    return model, data.to_pixels(data.load("digits").x_test[:24])


@pytest.mark.parametrize("round_to", [None, 0])
def test_the_distance_is_that_of_scipys_kolmogorov_smirnov_test(round_to):
    samples = np.random.default_rng(1).gamma(2.0, size=(301, 4))
    samples = samples if round_to is None else samples.round(round_to)  # ties
    mean, std = samples.mean(axis=0), np.array([0.5, 1.0, 1.5, 3.0])
    expected = [
        scipy.stats.kstest(column, scipy.stats.norm(m, s).cdf).statistic
        for column, m, s in zip(samples.T, mean, std, strict=True)
    ]
    np.testing.assert_allclose(kolmogorov_distance(samples, mean, std), expected, atol=1e-12)


def test_without_reset_independent_normal_currents_give_theorem_1s_normal(independent):
    for t, row in enumerate(independent, start=1):
        weights = TAU ** np.arange(t)
        fit = row.without_reset["theorem"]
        assert fit.distance < FAR
        # Means of 3 channels of 4000: four deviations of each figure.
        assert fit.mean == pytest.approx(0.3 * weights.sum() - 1.0, abs=0.04)
        assert fit.std == pytest.approx(np.sqrt(np.sum(weights**2)), rel=0.03)
        assert row.without_reset["own"].distance < FAR


def after_one_reset(beta, std):
    """The exact distribution function of u(2) at tau = 1 after a hard reset; its mean and std."""
    first = scipy.stats.norm(beta, std)
    grid = np.linspace(beta - 5 * std, 1 + beta + 5 * std, 161)

    def below(function):
        return scipy.integrate.quad(lambda u: function(u) * first.pdf(u), beta - 9 * std, 1.0)[0]

    silent = [below(lambda u, x=x: scipy.stats.norm.cdf(x - u, beta, std)) for x in grid]
    cdf = first.sf(1.0) * first.cdf(grid) + silent
    kept, squares = below(lambda u: u), below(np.square)
    return grid, cdf, kept + beta, np.sqrt(squares - kept**2 + std**2)


def test_with_a_reset_the_second_step_is_as_far_from_normal_as_its_exact_law():
    model = neurons_alone(constant=False, lambda_=0.3, beta=0.9, steps=2)
    row = analysis.measure_gaussianity(model, pixels(SAMPLES, 2, CHANNELS))[-1]
    grid, cdf, mean, std = after_one_reset(beta=0.9, std=0.3)
    expected = np.abs(cdf - scipy.stats.norm.cdf(grid, mean, std)).max()
    assert expected == pytest.approx(0.034, abs=0.002)
    own, recursion = (row.with_reset[name] for name in ("own", "recursion"))
    assert own.distance == pytest.approx(expected, abs=FAR / 2)
    assert recursion.distance == pytest.approx(expected, abs=FAR / 2)
    assert recursion.mean == pytest.approx(mean - 1.0, abs=0.02)
    assert recursion.std == pytest.approx(std, abs=0.01)
    assert row.without_reset["own"].distance < FAR / 2


def test_noise_is_the_mean_distance_of_draws_from_their_own_law(independent):
    draws = np.random.default_rng(2).normal(size=(SAMPLES, 400))
    distances = kolmogorov_distance(draws, np.zeros(400), np.ones(400))
    # The distance's deviation is 0.26 / sqrt(n); of the mean of 400 a twentieth of that.
    assert independent[0].noise == pytest.approx(
        distances.mean(), abs=4 * 0.26 / np.sqrt(SAMPLES) / 20
    )


def test_a_constant_current_widens_the_potentials_by_d_of_tau_not_of_its_square():
    # spec figures at tau = .99, T = 8: 7.7 against 2.7.
    model = neurons_alone(constant=True, steps=8, tau=0.99)
    row = analysis.measure_gaussianity(model, pixels(SAMPLES, CHANNELS))[-1]
    weights = 0.99 ** np.arange(8)
    assert weights.sum() == pytest.approx(7.7, abs=0.05)
    assert np.sqrt(np.sum(weights**2)) == pytest.approx(2.7, abs=0.05)
    free = row.without_reset
    assert free["own"].std == pytest.approx(weights.sum(), rel=0.03)
    assert free["theorem_constant"].std == pytest.approx(weights.sum(), rel=0.03)
    assert free["theorem"].std == pytest.approx(np.sqrt(np.sum(weights**2)), rel=0.03)
    assert free["theorem_constant"].distance < FAR < 0.2 < free["theorem"].distance
    # Resets narrow it, and Theorem 1's deviation knows nothing of that.
    assert row.with_reset["own"].std < 0.8 * free["own"].std
    assert row.with_reset["theorem_constant"].std == free["theorem_constant"].std


def test_a_constant_current_keeps_the_same_potentials_in_the_window_at_all_steps():
    # tau = 1, hard reset, v_th = gamma = 1: u stays in [0, 2] where the current is in [0, 2], and
    # out of it elsewhere. No normal knows: that of equal moments loses half of them.
    model = neurons_alone(constant=True, lambda_=1.3, beta=-0.2)
    rows = analysis.measure_gaussianity(model, pixels(SAMPLES, CHANNELS))
    expected = np.diff(scipy.stats.norm(-0.2, 1.3).cdf([0.0, 2.0]))[0]
    assert [row.omega for row in rows] == pytest.approx([rows[0].omega] * STEPS, abs=1e-3)
    assert rows[0].omega == pytest.approx(expected, abs=0.02)
    assert rows[-1].with_reset["own"].omega < 0.6 * rows[-1].omega


def test_theorem_1s_mean_is_the_true_one_where_its_s_is_what_resets_took():
    model = neurons_alone(constant=True, tau=0.8, reset="soft", beta=0.4)
    for row in analysis.measure_gaussianity(model, pixels(SAMPLES, CHANNELS)):
        assert row.with_reset["theorem"].mean == pytest.approx(row.with_reset["own"].mean, abs=1e-5)


def test_a_channel_without_variance_is_left_out():
    model = neurons_alone(constant=True)
    norm = next(layer for layer in model.layers if isinstance(layer, TDBatchNormalization))
    norm.lambda_.assign([1.0, 0.0, 1.0])
    rows = analysis.measure_gaussianity(model, pixels(50, CHANNELS))
    assert [row.channels for row in rows] == [2] * STEPS
    norm.lambda_.assign([0.0, 0.0, 0.0])
    assert analysis.measure_gaussianity(model, pixels(50, CHANNELS)) == []


def test_a_leak_that_changes_over_time_is_that_of_each_step():
    currents = tf.constant(pixels(5, 3, 2))
    neuron = dynamics.Neuron()
    leaks = tf.constant([0.3, 0.5, 0.9])
    with dynamics.capture_potentials() as captured:
        dynamics.lif(currents, surrogates.get("triangle"), leaks, neuron)
    (layer,) = captured
    mu, sigma = (f(np.asarray(currents, float), axis=(0, 1)) for f in (np.mean, np.std))
    mean, std = predicted_moments(layer, reset=False)["theorem"]
    np.testing.assert_allclose(mean[2], 0.9 * (0.5 * mu + mu) + mu, rtol=1e-6)
    np.testing.assert_allclose(std[2], sigma * np.sqrt(0.81 * (0.25 + 1) + 1), rtol=1e-6)
    first, second, third = np.moveaxis(np.asarray(currents), 1, 0)
    expected = 0.9 * (0.5 * first + second) + third
    np.testing.assert_allclose(membranes_without_reset(layer)[:, 2], expected, rtol=1e-5)


def test_every_layer_and_step_of_the_digits_model_has_a_row(digits):
    rows = analysis.measure_gaussianity(*digits)
    names = [*(f"conv{i}_lif" for i in range(1, 9)), "dense1_lif", "dense2_lif"]
    assert [(row.layer, row.t) for row in rows] == [(n, t) for n in names for t in (1, 2, 3, 4)]
    constant = {row.layer for row in rows if "theorem_constant" in row.with_reset}
    assert constant == {"conv1_lif"}
    for row in rows[::4]:  # before any reset
        assert row.with_reset["own"] == row.without_reset["own"]
        assert row.omega == row.omega_without_reset


def test_a_model_without_neurons_is_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`model` must have layers of spiking neurons"):
        analysis.measure_gaussianity(model, pixels(4, 3))
