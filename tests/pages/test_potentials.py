"""Histograms of membrane potentials: in TensorBoard and on the page."""

import csv
import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, analysis, data, dynamics, experiments, layers, models
from keras_mpdsgr.experiments.monitors import EpochRecord
from keras_mpdsgr.experiments.run_folder import RunFolder
from keras_mpdsgr.pages import page_runs, potentials

# A current of 0.4 without leak gives u = 0.4, 0.8, 1.2 before the first spike at v_th = 1.
DISTANCES = [-0.6, -0.2, 0.2]


@pytest.fixture(scope="module")
def neurons():
    """Two neurons that take the pixels as their current for three steps."""
    image = keras.Input((2,))
    spikes = LIFLayer(name="only", gamma=0.5)(layers.DirectEncoder(3)(image))
    return keras.Model(image, layers.TemporalMean()(spikes))


@pytest.fixture(scope="module")
def probe(neurons):
    return analysis.PotentialProbe(neurons, np.full((5, 2), 0.4, np.float32), np.zeros(5, int))


def test_a_small_layers_sample_is_all_of_its_potentials(probe):
    (layer,) = probe.layers()
    np.testing.assert_allclose(np.sort(layer.sample), np.repeat(DISTANCES, 10), atol=1e-6)
    assert "sample" not in layer.over_time()


def test_a_large_layers_sample_is_bounded_and_has_its_mean(neurons):
    images = np.random.default_rng(0).uniform(0.2, 0.45, size=(10_000, 2)).astype(np.float32)
    probe = analysis.PotentialProbe(neurons, images, np.zeros(10_000, int))
    (layer,), (again,) = probe.layers(), probe.layers()
    assert layer.sample.shape == (20_000,)
    np.testing.assert_array_equal(layer.sample, again.sample)
    # No step leaks and none but the third can spike, so that v is t times the pixel less 1.
    expected = np.concatenate([t * images.ravel() - 1 for t in (1, 2, 3)])
    error = expected.std() / np.sqrt(20_000)
    assert layer.sample.mean() == pytest.approx(expected.mean(), abs=4 * error)


def test_tensorboard_holds_the_histogram_beside_omega_and_firing_rate(probe, tmp_path):
    folder = RunFolder(tmp_path)
    record = EpochRecord(folder, probe)
    for epoch in range(2):
        record.on_epoch_end(epoch, {"loss": 1.0})
    (file,) = folder.tensorboard.iterdir()
    found = {}
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
    assert set(found["only/potential"]) == {1, 2}
    buckets = found["only/potential"][1]
    assert buckets[:, 2].sum() == 30
    filled = buckets[buckets[:, 2] > 0]
    np.testing.assert_array_equal(filled[:, 2], [10, 10, 10])
    for (low, high, _), distance in zip(filled, DISTANCES, strict=True):
        assert low - 1e-6 <= distance <= high + 1e-6
    # In the window |v| <= 0.5 lie two steps of three; the third step alone fires.
    assert float(found["only/omega"][2]) == pytest.approx(2 / 3)
    assert float(found["only/firing_rate"][2]) == pytest.approx(1 / 3)
    with folder.probe_path.open(newline="") as rows:
        assert "sample" not in next(csv.DictReader(rows))


def test_the_page_draws_the_density_over_all_steps_without_the_bins_of_the_tails():
    layer = types.SimpleNamespace(
        edges=np.array([-2.0, -1.0, 0.0, 0.5, 3.0]), counts=np.array([[1, 2, 4, 1], [3, 6, 2, 1]])
    )
    edges, heights = potentials.density(layer)
    np.testing.assert_array_equal(edges, [-1.0, 0.0, 0.5])
    # Of 20 potentials 8 lie in a bin of width 1, and 6 in one of width 1/2.
    np.testing.assert_allclose(heights, [0.4, 0.6])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose model was not trained."""
    folder = tmp_path_factory.mktemp("run")
    models.vgg11((16, 16, 1), 10, timesteps=2, width=0.02).save(folder / "model.keras")
    flags = {"dataset": "digits", "limit_train": 8}
    (folder / "config.json").write_text(json.dumps({"flags": flags}))
    return experiments.Run(folder)


def test_the_page_shades_the_surrogates_window_and_says_the_share_inside(run):
    shown = page_runs.PageRun(run, 0, "run")
    layer = potentials.potentials([shown])["layers"][0]
    assert layer["name"] == "conv1_lif"
    left = layer["chart"]["window"]["left"]
    right = left + layer["chart"]["window"]["width"]
    ticks = layer["chart"]["x_ticks"]
    at, values = zip(*((x, float(text.replace("\u2212", "-"))) for x, text in ticks), strict=True)
    slope, zero = np.polyfit(values, at, 1)
    # A triangle of gamma 1 passes gradients where |v| < 1.
    assert (left, right) == pytest.approx((zero - slope, zero + slope), abs=0.5)
    inside = potentials.histograms(run)["conv1_lif"].omega.mean()
    assert layer["inside"] == [(shown, pytest.approx(inside))]


def test_histograms_of_a_run_are_those_of_its_model_on_its_training_images(run):
    found = potentials.histograms(run)
    assert next(iter(found)) == "conv1_lif"
    assert list(found)[-1] == "dense2_lif"
    model = run.model()
    images = data.load("digits", limit_train=8)
    with dynamics.capture_potentials() as captured:
        model(data.to_pixels(images.x_train))
    for layer in captured:
        distance = layer.membranes.numpy() - 1.0
        drawn = found[layer.name]
        edges, heights = potentials.density(drawn)
        middle = (distance > edges[0]) & (distance < edges[-1])
        assert (heights * np.diff(edges)).sum() == pytest.approx(middle.mean(), abs=0.01)
        assert drawn.omega.mean() == pytest.approx((np.abs(distance) <= 1).mean(), abs=1e-3)
