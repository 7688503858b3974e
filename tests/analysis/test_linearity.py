"""Eq. 8 against NumPy on a linear model, in cases worked out by hand, and on the digits model."""

import pathlib

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, analysis, data, layers, models
from keras_mpdsgr.analysis import Linearity, measure_linearity

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
EPS = (2 / 255, 0.1)


@pytest.fixture(scope="module")
def softmax_regression():
    """A linear model, its images and labels, and loss and gradient of it in NumPy."""
    rng = np.random.default_rng(0)
    weights, x, y = rng.normal(size=(6, 3)), rng.uniform(size=(50, 6)), rng.integers(3, size=50)
    dense = keras.layers.Dense(3, use_bias=False)
    model = keras.Sequential([keras.Input((6,)), dense])
    dense.set_weights([np.float32(weights)])

    def loss(images):
        logits = images @ weights
        return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]

    shares = np.exp(x @ weights)
    shares /= shares.sum(axis=1, keepdims=True)
    return model, x, y, loss, (shares - np.eye(3)[y]) @ weights.T


def test_both_sides_are_those_of_numpy(softmax_regression):
    model, x, y, loss, gradient = softmax_regression
    rows = measure_linearity(model, x, y, EPS, perturbations=["fgsm"], batch_size=20)
    for eps, row in zip(EPS, rows, strict=True):
        moved = np.clip(x + eps * np.sign(gradient), 0, 1)
        change, terms = loss(moved) - loss(x), (moved - x) * gradient
        np.testing.assert_allclose(row.change, change, atol=1e-6)
        np.testing.assert_allclose(row.first_order, terms.sum(axis=1), atol=1e-6)
        np.testing.assert_allclose(row.bound, np.abs(terms).sum(axis=1), atol=1e-6)
        np.testing.assert_allclose(row.residual, np.abs(change - terms.sum(axis=1)), atol=2e-6)


def test_a_smooth_loss_is_foretold_the_better_the_smaller_the_step(softmax_regression):
    model, x, y, *_ = softmax_regression
    small, large = measure_linearity(model, x, y, EPS, perturbations=["fgsm"])
    assert small.quantiles([0.9])[0] < 0.05 < large.quantiles([0.9])[0] < 1.0
    assert small.share_foretold == large.share_foretold == 1.0


def test_random_signs_are_of_full_length_and_depend_on_seed_and_image_alone(softmax_regression):
    model, x, y, *_ = softmax_regression
    common = {"eps": [0.01], "perturbations": ["signs"]}
    (row,) = measure_linearity(model, x, y, **common)
    (cut,) = measure_linearity(model, x, y, batch_size=7, **common)
    (other,) = measure_linearity(model, x, y, seed=1, **common)
    np.testing.assert_allclose(row.change, cut.change, atol=1e-6)
    assert np.abs(row.first_order - other.first_order).max() > 1e-3
    # Half of the signs are against the gradient's.
    assert np.mean(row.first_order > 0) == pytest.approx(0.5, abs=0.3)


def test_a_network_that_does_not_change_is_not_foretold():
    # A current of .5 lies in the window, .5 below the threshold: a gradient, but no spike near.
    image = keras.Input((1,))
    spikes = LIFLayer()(layers.DirectEncoder(1)(image))
    readout = keras.layers.Dense(2, kernel_initializer="ones", bias_initializer="zeros")
    model = keras.Model(image, layers.TemporalMean()(layers.FoldTime(readout)(spikes)))
    readout.set_weights([np.float32([[1.0, -1.0]]), np.float32([0.0, 0.0])])
    x, y = np.full((3, 1), 0.5, np.float32), np.array([0, 1, 1])
    (row,) = measure_linearity(model, x, y, [1 / 255], ["fgsm"])
    # d loss / d logits is -+1/2; by both logits 1; times h(-.5) = .5.
    np.testing.assert_allclose(row.bound, 0.5 / 255, rtol=1e-5)
    np.testing.assert_array_equal(row.change, 0.0)
    assert np.isinf(row.ratio).all()
    assert row.share_foretold == 0.0
    assert row.share_within_bound == 1.0
    # Farther off, outside of the window, there is no gradient either, and no ratio.
    (dead,) = measure_linearity(model, 0 * x, y, [1 / 255], ["signs"])
    assert np.isnan(dead.ratio).all()
    assert np.isnan(dead.quantiles()).all()


def test_ratio_and_quantiles_of_a_case_by_hand():
    change, first_order = np.array([1.0, -2.0, 0.0, 4.0]), np.array([0.5, 2.0, 1.0, 4.0])
    row = Linearity("fgsm", 0.1, change, first_order, bound=np.array([0.5, 3.0, 1.0, 5.0]))
    assert row.residual.tolist() == [0.5, 4.0, 1.0, 0.0]
    assert row.ratio.tolist() == [0.5, 2.0, float("inf"), 0.0]
    assert row.quantiles([0.25, 0.5, 0.75, 1.0]) == [0.0, 0.5, 2.0, float("inf")]
    assert row.share_foretold == 0.5
    assert row.share_within_bound == 0.75


def test_eq_8_holds_for_every_image_of_the_digits_model():
    model = models.load(REPOSITORY / "saved_models" / "digits" / "model.keras")
    images = data.load("digits")
    x, y = data.to_pixels(images.x_test[:20]), images.y_test[:20]
    rows = measure_linearity(model, x, y, [1 / 255, 8 / 255])
    for row in rows:
        assert (np.abs(row.change) <= row.bound + row.residual + 1e-12).all()
        assert (np.abs(row.first_order) <= row.bound + 1e-12).all()
        assert row.bound.max() > 0
    fgsm = rows[0]
    np.testing.assert_allclose(fgsm.first_order, fgsm.bound, rtol=1e-6)  # along the signs
    # The L1 norm that the probe takes bounds what any sign could do.
    norm = analysis.PotentialProbe(model, x, y).input_gradient_norm()
    assert fgsm.bound.mean() <= norm / 255 * (1 + 1e-5)


@pytest.mark.parametrize(
    "arguments, name",
    [
        ({"eps": [-0.1]}, "eps"),
        ({"perturbations": ["cw"]}, "perturbations"),
        ({"seed": -1}, "seed"),
    ],
)
def test_impossible_arguments_are_refused_by_name(softmax_regression, arguments, name):
    model, x, y, *_ = softmax_regression
    with pytest.raises(ValueError, match=f"`{name}`"):
        measure_linearity(model, x, y, **arguments)
