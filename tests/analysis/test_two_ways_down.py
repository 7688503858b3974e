"""Omega falls in two ways; what each does to gain and spikes, against SciPy and Monte Carlo."""

import pathlib

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from keras_mpdsgr import LIFLayer, TDBatchNormalization, analysis, data, layers, models
from keras_mpdsgr.analysis import changed_normalization, rescale_normalization

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SAMPLES, CHANNELS, STEPS = 5000, 4, 8
# Four deviations of a share of 20,000 draws.
CLOSE = 4 * 0.5 / np.sqrt(SAMPLES * CHANNELS)


def expected_omega(mean, std):
    return scipy.integrate.quad(scipy.stats.norm(mean, std).pdf, -1.0, 1.0)[0]


def expected_gain(lambda_, mean, std, power=1):
    """lambda^power E[h(v)^power], h the triangle of gamma 1, v normal."""
    density = scipy.stats.norm(mean, std).pdf
    halves = (
        scipy.integrate.quad(lambda v: (1 - abs(v)) ** power * density(v), *ends)[0]
        for ends in ((-1.0, 0.0), (0.0, 1.0))
    )
    return lambda_**power * sum(halves)


@pytest.fixture(scope="module")
def model():
    """tdBN - LIF (tau 1, hard reset) on independent standard normal currents."""
    image = keras.Input((STEPS, CHANNELS))
    norm = TDBatchNormalization()
    model = keras.Model(image, layers.TemporalMean()(LIFLayer(name="lif")(norm(image))))
    ones = np.ones(CHANNELS)
    norm.set_weights([ones, 0 * ones, 0.5 * ones, (0.01 - 1e-5) * ones])
    return model


@pytest.fixture(scope="module")
def images():
    drawn = np.random.default_rng(0).normal(0.5, 0.1, (SAMPLES, STEPS, CHANNELS))
    return drawn.clip(0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def digits():
    model = models.load(REPOSITORY / "saved_models" / "digits" / "model.keras")
    return model, data.to_pixels(data.load("digits").x_test[:16])


@pytest.mark.parametrize(
    "lambda_, omega, gain", [(1, 0.477, 0.241), (2, 0.341, 0.347), (8, 0.099, 0.395)]
)
def test_omega_falls_and_gain_rises_with_lambda(model, images, lambda_, omega, gain):
    assert scipy.stats.norm.cdf(2 / lambda_) - 0.5 == pytest.approx(omega, abs=5e-4)
    assert expected_omega(-1.0, lambda_) == pytest.approx(omega, abs=5e-4)
    assert expected_gain(lambda_, -1.0, lambda_) == pytest.approx(gain, abs=5e-4)
    (found,) = rescale_normalization(model, images, lambda_factor=float(lambda_))
    assert found.lambda_ == pytest.approx(lambda_)
    assert found.omega[0] == pytest.approx(omega, abs=CLOSE)
    assert found.omega_batch[0] == pytest.approx(omega, abs=CLOSE)
    assert found.omega_analytic[0] == pytest.approx(omega, abs=CLOSE)
    assert found.gain[0] == pytest.approx(gain, abs=lambda_ * CLOSE / 2)


@pytest.mark.parametrize("c", [2.0, 4.0, 8.0])
def test_omega_falls_by_scale_alone_without_a_spike_or_a_flip_of_the_first_step(model, images, c):
    moved = (images + 0.002).clip(0, 1)
    (before,) = rescale_normalization(model, images, perturbed=moved)
    (after,) = rescale_normalization(model, images, c, c, perturbed=moved)
    assert after.beta == pytest.approx(1 - c)
    assert after.omega[0] == pytest.approx(expected_omega(-c, c), abs=CLOSE)
    assert after.differing[0] == 0
    assert after.flips[0] == before.flips[0] > 0
    assert after.omega_scale_free[0] == pytest.approx(before.omega_scale_free[0], abs=1e-4)
    assert after.gain[0] == pytest.approx(expected_gain(c, -c, c), abs=c * CLOSE / 2)
    # The mean gain goes to the density of potentials at the threshold; its mean square grows as c.
    assert after.gain[0] == pytest.approx(scipy.stats.norm.pdf(1.0), abs=c * CLOSE)
    squares = [expected_gain(k, -k, k, power=2) for k in (1.0, c)]
    assert squares[1] / squares[0] == pytest.approx(c, rel=0.05)
    assert after.gain_rms[0] == pytest.approx(np.sqrt(squares[1]), rel=0.08)
    # A reset leads to 0 whatever the scale: later steps differ.
    assert (after.differing[1:] > 0).all()


def test_the_scale_free_form_is_normal_theorys_at_the_first_step(model, images):
    (found,) = rescale_normalization(model, images, kappa=0.5)
    expected = np.diff(scipy.stats.norm.cdf([-1.5, -0.5]))[0]
    assert found.omega_scale_free[0] == pytest.approx(expected, abs=CLOSE)


def flip_density(beta, shift=0.02):
    """Flips a neuron and step for each unit by which all currents are shifted; NumPy, T = 8."""
    currents = np.random.default_rng(1).normal(beta, 1.0, (STEPS, 400_000))

    def spikes(currents):
        potential, fired = 0.0, []
        for current in currents:
            potential = potential + current
            fired.append(potential >= 1.0)
            potential = np.where(fired[-1], 0.0, potential)
        return np.stack(fired)

    return np.mean(spikes(currents) != spikes(currents + shift)) / shift


def test_a_falling_beta_cuts_omega_gain_firing_and_flips(model, images):
    # The figures of T = 8 independent currents, all shifted alike: .66 and .17.
    densities = [flip_density(beta) for beta in (0.0, -0.5)]
    assert densities == pytest.approx([0.66, 0.17], abs=0.01)
    moved = (images + 0.002).clip(0, 1)  # by .02 in units of the current
    before, after = (
        rescale_normalization(model, images, shift=shift, perturbed=moved)[0]
        for shift in (0.0, -0.5)
    )
    found = [layer.flips.mean() / 0.02 for layer in (before, after)]
    assert found == pytest.approx(densities, abs=0.04)
    for layer, mean in ((before, -1.0), (after, -1.5)):
        assert layer.omega[0] == pytest.approx(expected_omega(mean, 1.0), abs=CLOSE)
        assert layer.gain[0] == pytest.approx(expected_gain(1.0, mean, 1.0), abs=CLOSE / 2)
        assert layer.firing_rate[0] == pytest.approx(scipy.stats.norm.sf(-mean), abs=CLOSE)
    assert after.differing[0] > 0


def test_in_the_digits_model_omega_falls_to_an_eighth_and_no_spike_of_the_first_step_moves(digits):
    model, x = digits
    weights = model.get_weights()
    before = rescale_normalization(model, x)
    after = rescale_normalization(model, x, 8.0, 8.0)
    assert [layer.layer for layer in after] == [f"conv{i}_lif" for i in range(1, 9)]
    neurons = sum(layer.neurons for layer in after)
    assert (
        neurons
        == 16 * 16 * 16 * 8 + 16 * 8 * 8 * (16 + 32) + 16 * 4 * 4 * 3 * 64 + 16 * 2 * 2 * 128
    )
    # None, but where a rounding decides.
    assert sum(layer.differing[0] for layer in after) <= 1e-5 * neurons
    for old, new in zip(before, after, strict=True):
        assert new.omega[0] < 0.3 * old.omega[0]
        assert new.omega_scale_free[0] == pytest.approx(old.omega_scale_free[0], abs=1e-4)
        assert new.gain_rms[0] > 2 * old.gain_rms[0]
        assert new.flips is None
    for value, held in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(value, held)


def test_only_the_layers_named_are_changed_and_all_is_as_before_after_an_error(digits):
    model, x = digits
    weights = model.get_weights()
    with pytest.raises(RuntimeError, match="inside"):
        with changed_normalization(model, x, shift=-1.0, layers=["conv2_lif"]):
            changed = [np.any(a != b) for a, b in zip(model.get_weights(), weights, strict=True)]
            raise RuntimeError("inside")
    assert sum(changed) == 1
    for value, held in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(value, held)


@pytest.mark.parametrize(
    "arguments, name",
    [
        ({"lambda_factor": 0.0}, "lambda_factor"),
        ({"distance_factor": -1.0}, "distance_factor"),
        ({"shift": float("nan")}, "shift"),
        ({"layers": ["dense1_lif"]}, "layers"),
        ({"layers": []}, "layers"),
        ({"kappa": 0.0}, "kappa"),
    ],
)
def test_impossible_changes_are_refused_by_name(model, images, arguments, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        rescale_normalization(model, images[:2], **arguments)


def test_neurons_without_a_norm_are_refused():
    image = keras.Input((3, 2))
    model = keras.Model(image, layers.TemporalMean()(LIFLayer()(image)))
    with pytest.raises(ValueError, match="`model` must have neurons that a TDBatchNormalization"):
        analysis.rescale_normalization(model, np.zeros((1, 3, 2), np.float32))
