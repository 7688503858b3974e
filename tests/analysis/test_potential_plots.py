"""Histograms against NumPy and SciPy, a training's rows, correlations, and pictures on disk."""

import dataclasses

import keras
import matplotlib.image
import numpy as np
import pytest
import scipy.stats

from keras_mpdsgr import LIFLayer, TDBatchNormalization, analysis, layers
from keras_mpdsgr.analysis import Evolution, LayerPotentials, correlate, potential_plots
from keras_mpdsgr.analysis.evolution import LAYER_METRICS

STEPS, CHANNELS, TAU, GAMMA = 3, 2, 0.8, 0.7


@pytest.fixture(scope="module")
def images():
    drawn = np.random.default_rng(0).normal(0.5, 0.1, (2000, STEPS, CHANNELS))
    return drawn.clip(0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def found(images):
    return analysis.potential_histograms(build(), images, bins=20)


def build(beta=(0.0, 0.5), names=("lif",)):
    """tdBN - LIF, and further neurons behind it."""
    image = keras.Input((STEPS, CHANNELS))
    norm = TDBatchNormalization()
    x = norm(image)
    for name in names:
        x = LIFLayer(tau=TAU, gamma=GAMMA, name=name)(x)
    model = keras.Model(image, layers.TemporalMean()(x))
    ones = np.ones(CHANNELS)
    norm.set_weights([np.array([1.0, 2.0]), np.array(beta), 0.5 * ones, (0.01 - 1e-5) * ones])
    return model


def potentials(images):
    """v of all neurons at each step, in NumPy: currents of N(0, 1) and N(.5, 2)."""
    currents = (np.float64(images) - 0.5) / 0.1 * [1.0, 2.0] + [0.0, 0.5]
    potential, found = 0.0, []
    for current in np.moveaxis(currents, 1, 0):
        potential = TAU * potential + current
        found.append(potential - 1.0)
        potential = np.where(potential >= 1.0, 0.0, potential)
    return np.stack(found)


def test_counts_moments_and_omega_are_those_of_numpys_potentials(found, images):
    (layer,) = found
    expected = potentials(images)
    assert layer.counts.shape == (STEPS, 20)
    assert layer.counts.sum(axis=1).tolist() == [2000 * CHANNELS] * STEPS
    inner = [np.histogram(v, layer.edges[1:-1])[0] for v in expected]
    # A potential or two may lie so near to an edge that rounding decides.
    assert np.abs(layer.counts[:, 1:-1] - inner).max() <= 2
    np.testing.assert_allclose(layer.mean, expected.mean(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(layer.std, expected.std(axis=(1, 2)), atol=1e-5)
    omega = (np.abs(expected) <= GAMMA).mean(axis=(1, 2))
    np.testing.assert_allclose(layer.omega, omega, atol=1e-3)
    assert layer.half_width == GAMMA
    np.testing.assert_allclose(layer.shares.sum(axis=1), 1.0)


def test_bins_reach_past_the_window_and_hold_but_a_percent_at_either_end(found, images):
    edges, flat = found[0].edges, potentials(images).ravel()
    assert edges[0] <= -1.5 * GAMMA < 1.5 * GAMMA <= edges[-1]
    assert np.mean(flat < edges[0]) < 0.006
    assert np.mean(flat > edges[-1]) < 0.006


def test_predicted_shares_are_the_mean_of_the_channels_normals(found, images):
    layer = found[0]
    first, recursion = layer.predicted["theorem"], layer.predicted["recursion"]
    currents = (np.float64(images) - 0.5) / 0.1 * [1.0, 2.0] + [0.0, 0.5]
    normals = [
        scipy.stats.norm(currents[..., c].mean() - 1.0, currents[..., c].std()) for c in range(2)
    ]
    ends = np.concatenate([[-np.inf], layer.edges[1:-1], [np.inf]])
    expected = np.mean([np.diff(normal.cdf(ends)) for normal in normals], axis=0)
    for prediction in (first, recursion):
        np.testing.assert_allclose(prediction.shares[0], expected, atol=1e-4)
        np.testing.assert_allclose(prediction.shares.sum(axis=1), 1.0)
    # Here the current is normal, so that the first step's counts follow it.
    np.testing.assert_allclose(layer.shares[0], expected, atol=0.02)
    # Theorem 1's mean, its S measured, is the true one; its deviation is that of no reset.
    np.testing.assert_allclose(first.mean, layer.mean, atol=0.05)
    widths = np.sqrt(np.cumsum(TAU ** (2 * np.arange(STEPS))))
    np.testing.assert_allclose(first.std, widths * np.mean([n.std() for n in normals]), rtol=1e-4)


def test_a_second_model_is_counted_in_the_bins_of_the_first(found, images):
    edges = {layer.name: layer.edges for layer in found}
    (other,) = analysis.potential_histograms(build(beta=(3.0, 3.0)), images, edges=edges)
    np.testing.assert_array_equal(other.edges, found[0].edges)
    assert other.counts.sum(axis=1).tolist() == [2000 * CHANNELS] * STEPS
    assert other.counts[0, -1] > found[0].counts[0, -1]


@pytest.mark.parametrize("bins", [2, 2.5, True])
def test_bins_that_are_no_number_of_bins_are_refused(images, bins):
    with pytest.raises(ValueError, match="`bins` must be a whole number >= 3"):
        analysis.potential_histograms(build(), images[:2], bins=bins)


def metrics(epochs=5, more=0):
    """As a run gives them: NaN where a layer has no norm."""
    epoch = np.arange(1, epochs + 1)
    named = {"epoch": epoch, "loss": epoch * 0 + 2.0, "cross_entropy": 2.0 / epoch}
    named["input_gradient_l1"] = 10.0 / epoch + more
    for number, name in enumerate(("conv1_lif", "dense1_lif")):
        named |= {f"{name}/{figure}": epoch + number + more for figure in LAYER_METRICS}
    named["dense1_lif/lambda"] = named["dense1_lif/beta"] = np.full(epochs, np.nan)
    return {name: list(values) for name, values in named.items()}


def test_metrics_become_arrays_by_epoch_and_layer():
    run = Evolution.from_metrics(metrics())
    assert run.layers == ("conv1_lif", "dense1_lif")
    assert run.epochs.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(run.input_gradient_l1, 10 / run.epochs)
    np.testing.assert_allclose(run.cross_entropy, 2 / run.epochs)
    np.testing.assert_allclose(run.over_layers("omega"), run.epochs + 0.5)
    np.testing.assert_allclose(run.over_layers("lambda"), run.epochs)  # of the one that has it
    assert np.isnan(run.metrics["lambda"][:, 1]).all()


def test_the_figures_read_are_those_that_the_probe_gives_the_trainers():
    arrays = {field.name: np.ones(2) for field in dataclasses.fields(LayerPotentials)}
    layer = LayerPotentials(**{**arrays, "name": "lif", "lambda_": 1.0, "beta": 0.0})
    assert set(layer.over_time()) == set(LAYER_METRICS)


@pytest.mark.parametrize(
    "given", [{}, {"epoch": [1], "input_gradient_l1": [2.0]}, {"a/omega": [1]}]
)
def test_metrics_of_something_else_are_refused(given):
    with pytest.raises(ValueError, match="`metrics` must hold, for each epoch"):
        Evolution.from_metrics(given)


def test_correlations_are_scipys_over_pairs_without_a_gap():
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 30))
    y = x**3 + noise
    x[3], y[7] = np.nan, np.nan
    kept = np.isfinite(x) & np.isfinite(y)
    found = correlate(x, y)
    pearson, spearman = (
        scipy.stats.pearsonr(x[kept], y[kept]),
        scipy.stats.spearmanr(x[kept], y[kept]),
    )
    assert found.n == 28
    assert (found.pearson, found.pearson_p) == pytest.approx((pearson.statistic, pearson.pvalue))
    assert (found.spearman, found.spearman_p) == pytest.approx(
        (spearman.statistic, spearman.pvalue)
    )


@pytest.mark.parametrize("x, y", [([1, 2], [3, 4]), ([1, 1, 1], [1, 2, 3]), ([], [])])
def test_too_few_or_constant_series_have_no_correlation(x, y):
    assert np.isnan([correlate(x, y).pearson, correlate(x, y).spearman_p]).all()


def test_series_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="`first` and `second` must be of one length"):
        correlate([1, 2, 3], [1, 2])


def read_picture(path):
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]  # no part file
    assert path.stat().st_size < 200_000
    return matplotlib.image.imread(path)[..., :3]


def test_potentials_are_drawn_a_row_a_layer_and_a_column_a_step(tmp_path, images):
    many = build(names=("a", "b", "c", "d", "e"))
    before = analysis.potential_histograms(many, images, bins=20)
    potential_plots.plot_potentials(tmp_path / "all.png", before)
    assert read_picture(tmp_path / "all.png").shape == (660, 830, 3)  # 3 layers, 3 steps
    (tmp_path / "all.png").unlink()
    chosen = {"layers": ["b"], "steps": [3]}
    potential_plots.plot_potentials(tmp_path / "one.png", before, before, **chosen)
    pixels = read_picture(tmp_path / "one.png")
    assert pixels.shape == (280 + 4 * 20, 330, 3)  # the legend is a column of five
    red = (pixels[..., 0] > 0.7) & (pixels[..., 1:].max(axis=-1) < 0.4)
    gray = (np.abs(pixels - 0.88) < 0.01).all(axis=-1)
    assert red.sum() > 100  # the second model's outline
    assert gray.sum() > 500  # the surrogate's window


@pytest.mark.parametrize("steps", [[1], [1, 2], [1, 2, 3]], ids=len)
def test_the_legend_is_not_cut_off_however_few_steps_are_drawn(tmp_path, found, steps):
    labels = ("without regularization", "with MPD-SGR")
    potential_plots.plot_potentials(tmp_path / "x.png", found, found, labels, steps=steps)
    pixels = read_picture(tmp_path / "x.png")
    for rim in (pixels[:, :2], pixels[:, -2:], pixels[:2], pixels[-2:]):
        assert (rim == 1).all()


@pytest.mark.parametrize("chosen", [{"layers": ["dense9"]}, {"steps": [4]}, {"layers": []}])
def test_a_layer_or_a_step_that_is_not_there_is_refused(tmp_path, found, chosen):
    with pytest.raises(ValueError, match=f"`{next(iter(chosen))}` must be of"):
        potential_plots.plot_potentials(tmp_path / "x.png", found, **chosen)


@pytest.mark.parametrize("draw", [potential_plots.plot_omega_evolution, potential_plots.plot_link])
def test_trainings_are_drawn_one_colour_a_run(tmp_path, draw):
    runs = {
        "one": Evolution.from_metrics(metrics()),
        "two": Evolution.from_metrics(metrics(5, more=2)),
    }
    draw(tmp_path / "runs.png", runs)
    pixels = read_picture(tmp_path / "runs.png")
    blue = (pixels[..., 2] > 0.6) & (pixels[..., 0] < 0.3)
    orange = (pixels[..., 0] > 0.9) & (pixels[..., 2] < 0.2)
    assert blue.sum() > 200
    assert orange.sum() > 200
    with pytest.raises(ValueError, match="`runs` must hold at least one run"):
        draw(tmp_path / "none.png", {})
