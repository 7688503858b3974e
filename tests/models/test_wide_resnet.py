"""WRN16: its blocks' two branches, its first convolution once, its last pool, its files."""

import keras
import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

from keras_mpdsgr import LIFLayer, TDBatchNormalization, dynamics, layers, models
from keras_mpdsgr.models import blocks

TIMESTEPS, WIDTH = 2, 0.1
WIDTHS = [2, 6, 13, 26]  # 16, 64, 128, 256 times 0.1, rounded


def alive(model):
    """Raises tdBN's offsets: before any training hardly a deep neuron fires in inference."""
    for layer in model.layers:
        if isinstance(layer, TDBatchNormalization):
            layer.beta.assign(layer.beta + 0.5)
    return model


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    # In float32 a rounding error may flip a spike.
    keras.config.set_dtype_policy("float64")
    model = alive(models.wrn16((8, 8, 3), 4, timesteps=TIMESTEPS, width=WIDTH, tau=0.9))
    keras.config.set_dtype_policy("float32")
    return model


def images(shape=(4, 8, 8, 3), seed=0):
    return np.random.default_rng(seed).uniform(0, 1, shape).astype("float32")


def outputs(model, *names):
    wanted = [model.get_layer(name).output for name in names]
    return [out.numpy() for out in keras.Model(model.input, wanted)(images())]


# Blocks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block, strides", [("stage1_block1", 1), ("stage2_block1", 2)])
def test_where_shapes_change_the_shortcut_convolves_the_activated_input(network, block, strides):
    spikes, inner, total = outputs(
        network, *(f"{block}_{n}" for n in ("lif1", "conv2_time", "sum"))
    )
    assert set(np.unique(spikes)) == {0.0, 1.0}
    (kernel,) = network.get_layer(f"{block}_shortcut_time").get_weights()
    shortcut = spikes[:, :, ::strides, ::strides] @ kernel[0, 0]
    np.testing.assert_allclose(total, shortcut + inner, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_where_shapes_stay_the_shortcut_is_the_raw_input(network, stage):
    names = [f"stage{stage}_block{n}" for n in ("1_sum", "2_conv2_time", "2_sum")]
    raw, inner, total = outputs(network, *names)
    np.testing.assert_allclose(total, raw + inner, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (7, 9)])
@pytest.mark.parametrize("strides", [1, 2])
def test_a_convolution_is_padded_by_one_pixel_on_all_sides(shape, strides):
    x = images((1, *shape, 1))
    inputs = keras.Input((*shape, 1))
    model = keras.Model(inputs, blocks.convolved(inputs, 1, 3, "conv", strides))
    (kernel,) = model.get_weights()
    full = scipy.signal.correlate2d(np.pad(x[0, :, :, 0], 1), kernel[:, :, 0, 0], "valid")
    np.testing.assert_allclose(
        model(x)[0, :, :, 0], full[::strides, ::strides], rtol=1e-4, atol=1e-5
    )


def test_weighted_branches_start_as_their_mean_and_are_trained():
    model = models.wrn16((8, 8, 3), 4, timesteps=1, width=0.05, branch_weights=True)
    sums = [layer for layer in model.layers if isinstance(layer, layers.WeightedSum)]
    assert len(sums) == 6
    for layer in sums:
        np.testing.assert_array_equal(layer.branch_weights, [0.5, 0.5])
        assert any(layer.branch_weights is weight for weight in model.trainable_weights)
    raw, inner, total = outputs(
        model, *(f"stage2_block{n}" for n in ("1_sum", "2_conv2_time", "2_sum"))
    )
    np.testing.assert_allclose(total, (raw + inner) / 2, rtol=1e-5, atol=1e-6)


# Function -----------------------------------------------------------------------------------------


def convolution(filters, size, strides):
    padding = [keras.layers.ZeroPadding2D(size // 2)]
    options = {"strides": strides, "use_bias": False}
    return layers.FoldTime(
        keras.Sequential([*padding, keras.layers.Conv2D(filters, size, **options)])
    )


def repeated_by_hand(model):
    """WRN16 with the image repeated first, so that everything runs at every time step."""
    x = inputs = keras.Input((8, 8, 3))
    pixels = model.get_layer("pixels")
    x = layers.DirectEncoder(TIMESTEPS)(type(pixels).from_config(pixels.get_config())(x))
    x = convolution(WIDTHS[0], 3, 1)(x)
    for stage, filters in enumerate(WIDTHS[1:]):
        for first in (True, False):
            strides = 2 if first and stage else 1
            activated = LIFLayer(tau=0.9)(TDBatchNormalization()(x))
            inner = convolution(filters, 3, strides)(activated)
            inner = LIFLayer(tau=0.9)(TDBatchNormalization()(inner))
            inner = convolution(filters, 3, 1)(inner)
            x = (convolution(filters, 1, strides)(activated) if first else x) + inner
    x = LIFLayer(tau=0.9)(TDBatchNormalization()(x))
    x = keras.ops.mean(x, axis=(2, 3))
    return keras.Model(inputs, layers.TemporalMean()(layers.FoldTime(keras.layers.Dense(4))(x)))


def test_the_network_is_the_one_built_by_hand_on_a_repeated_image(network):
    keras.config.set_dtype_policy("float64")
    repeated = repeated_by_hand(network)
    keras.config.set_dtype_policy("float32")
    # Both lists go from input to output, but for the layers of a block's two branches.
    own, by_hand = shape_ordered(network), shape_ordered(repeated)
    assert [w.shape for w in own] == [w.shape for w in by_hand]
    for target, source in zip(by_hand, own, strict=True):
        target.assign(source)
    x = images()
    for training in (False, True):
        with dynamics.capture_potentials() as captured:
            actual = network(x, training=training)
        with dynamics.capture_potentials() as wanted:
            expected = repeated(x, training=training)
        assert len(captured) == len(wanted) == 13
        for own, other in zip(captured, wanted, strict=True):
            assert 0.05 < np.mean(own.spikes) < 0.95
            np.testing.assert_allclose(own.membranes, other.membranes, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def shape_ordered(model):
    return sorted(model.weights, key=lambda weight: (str(weight.shape), weight.name))


def test_the_first_convolution_runs_once_and_not_once_a_time_step(network):
    assert network.get_layer("conv1").output.shape == (None, 8, 8, WIDTHS[0])
    assert network.get_layer("stage1_block1_tdbn1").output.shape == (None, 8, 8, WIDTHS[0])
    assert network.get_layer("stage1_block1_lif1").output.shape == (None, 2, 8, 8, WIDTHS[0])


def test_gradients_reach_every_trained_variable(network):
    with tf.GradientTape() as tape:
        logits = network(images(), training=True)
        loss = tf.reduce_sum(logits * images((4, 4)))
    for gradient in tape.gradient(loss, network.trainable_variables):
        assert np.isfinite(gradient).all() and np.any(gradient.numpy() != 0)


# Sizes and files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, pool, cells",
    [
        ((8, 8, 3), (2, 2), 1), ((16, 16, 1), (4, 4), 1), ((9, 13, 2), (3, 4), 1),
        ((32, 32, 3), (8, 8), 1), ((24, 40, 3), (6, 8), 1), ((64, 64, 3), (8, 8), 4),
        ((96, 64, 3), (8, 8), 6),
    ],
)  # fmt: skip
def test_the_last_pool_shrinks_to_what_is_there_and_the_summary_says_so(shape, pool, cells, capsys):
    model = models.wrn16(shape, 4, timesteps=1, width=0.02)
    assert model.get_layer("pool").layer.pool_size == pool
    assert model.get_layer("flatten").output.shape == (None, 1, 5 * cells)
    model.summary()
    notes = [line for line in capsys.readouterr().out.splitlines() if "Note" in line]
    shrunk = pool != (8, 8)
    assert len(notes) == len(model.notes) == shrunk
    assert not shrunk or f"pool is {pool[0]}x{pool[1]}" in notes[0]


def test_a_saved_model_loads_as_the_same_model(tmp_path):
    model = models.wrn16((8, 8, 3), 4, timesteps=2, width=0.05, eta=0.26, branch_weights=True)
    alive(model).get_layer("stage1_block1_sum").branch_weights.assign([0.75, 0.25])
    model(images(), training=True)
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras")
    assert isinstance(loaded, models.SpikingModel) and loaded.notes == model.notes
    np.testing.assert_array_equal(loaded(images()), model(images()))
    neurons = [layer for layer in loaded.layers if isinstance(layer, LIFLayer)]
    assert [layer.eta for layer in neurons] == pytest.approx(13 * [0.02])


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"branch_weights": 2}, "`branch_weights`.*2"),
        ({"input_shape": (4, 8, 3)}, "`input_shape`.*at least 8"),
        ({"width": 0}, "`width`.*0"),
        ({"eta": -1}, "`eta`.*-1"),
    ],
    ids=str,
)
def test_an_argument_out_of_its_range_is_refused_by_name_and_value(arguments, words):
    with pytest.raises(ValueError, match=words):
        models.wrn16(**{"input_shape": (8, 8, 3), "num_classes": 4, "width": 0.02, **arguments})
