"""Synaptic operations and energy, counted by hand on networks of a few neurons."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, TDBatchNormalization, export, layers, models


def test_spikes_times_fan_out_and_the_constants_of_horowitz():
    inputs = keras.Input((2,))
    dense = keras.layers.Dense(3, name="first")
    x = layers.DirectEncoder(2)(dense(inputs))
    x = LIFLayer(name="lif")(x)
    x = layers.FoldTime(keras.layers.Dense(4), name="second")(x)
    model = keras.Model(inputs, layers.TemporalMean()(x))
    # Currents 1, 0.5 and 0: the first neuron fires twice in two steps, the second once.
    dense.set_weights([np.array([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]]), np.zeros(3)])
    report = export.energy(model, np.array([[1.0, 1.0]], "float32"))
    first, second = report.layers
    # 2 x 3 synapses, once, although there are two steps: the image stands before the encoder.
    assert (first.name, first.operations, first.spiking, first.rate) == ("first", 6, False, None)
    assert (second.operations, second.spiking, second.rate) == (3 * 4, True, pytest.approx(3 / 6))
    assert report.firing_rates == {"lif": pytest.approx(0.5)}
    assert (report.macs, report.synops) == (6, 12)
    assert (first.ann_operations, second.ann_operations) == (6, 12)
    assert report.picojoules == pytest.approx(6 * 4.6 + 12 * 0.9)
    assert report.ann_picojoules == pytest.approx(18 * 4.6)
    assert report.ratio == pytest.approx(38.4 / 82.8)


def grid_model(*behind):
    """Neurons that fire at once where the image is 1, then the layers under test."""
    inputs = keras.Input((3, 3, 1))
    x = LIFLayer(name="lif")(layers.DirectEncoder(1)(inputs))
    for layer in behind:
        x = layers.FoldTime(layer, name=layer.name)(x)
    return keras.Model(inputs, x)


def grid(*pixels):
    image = np.zeros((1, 3, 3, 1), "float32")
    for row, column in pixels:
        image[0, row, column] = 1.0
    return image


@pytest.mark.parametrize(("pixel", "reached"), [((1, 1), 9), ((0, 1), 6), ((2, 2), 4)])
def test_a_spike_at_the_border_reaches_fewer_synapses(pixel, reached):
    model = grid_model(keras.layers.Conv2D(5, 3, padding="same", name="conv"))
    (layer,) = export.energy(model, grid(pixel)).layers
    assert layer.operations == 5 * reached
    # All positions together: 9 + 4 x 6 + 4 x 4.
    assert layer.ann_operations == 5 * 49


def test_through_an_average_pool_each_spike_reaches_its_cells_synapses():
    pool = keras.layers.AveragePooling2D(2, name="pool")
    model = grid_model(pool, keras.layers.Flatten(), keras.layers.Dense(7, name="dense"))
    # The pool has one cell, of the first two rows and columns; the third pixel reaches nothing.
    (layer,) = export.energy(model, grid((0, 0), (1, 1), (2, 2))).layers
    assert layer.operations == 2 * 7
    assert layer.rate == pytest.approx(2 / 4)
    assert layer.ann_operations == 7


def test_groups_and_strides_are_counted():
    inputs = keras.Input((4, 4, 2))
    x = LIFLayer()(layers.DirectEncoder(1)(inputs))
    x = layers.FoldTime(keras.layers.Conv2D(6, 2, strides=2, groups=2))(x)
    report = export.energy(keras.Model(inputs, x), np.ones((1, 4, 4, 2), "float32"))
    # Windows do not overlap: each of 32 spikes reaches the 3 filters of its group once.
    assert report.synops == 32 * 3


def test_analog_input_is_multiplied_at_each_step_behind_an_encoder():
    inputs = keras.Input((2,))
    x = layers.DirectEncoder(4)(inputs)
    model = keras.Model(inputs, layers.FoldTime(keras.layers.Dense(3))(x))
    (layer,) = export.energy(model, np.ones((1, 2), "float32")).layers
    assert (layer.spiking, layer.operations, layer.ann_operations) == (False, 4 * 6, 6)


def test_a_sum_of_branches_is_analog():
    inputs = keras.Input((2, 3))
    spikes = LIFLayer()(inputs)
    x = keras.layers.Add()([spikes, layers.FoldTime(keras.layers.Dense(3, name="a"))(spikes)])
    model = keras.Model(inputs, layers.FoldTime(keras.layers.Dense(4), name="b")(x))
    a, b = export.energy(model, np.ones((1, 2, 3), "float32")).layers
    assert (a.spiking, a.operations) == (True, 2 * 3 * 3)
    assert (b.spiking, b.operations, b.ann_operations) == (False, 2 * 12, 12)


def test_figures_are_means_over_images_whatever_the_batch_size(digits_model, digits):
    whole = export.energy(digits_model, digits[:10])
    parts = [export.energy(digits_model, digits[i : i + 1]) for i in (0, 5)]
    for i, layer in enumerate(export.energy(digits_model, digits[:10], batch_size=3).layers):
        assert layer.operations == pytest.approx(whole.layers[i].operations, rel=1e-6)
    pair = export.energy(digits_model, digits[[0, 5]])
    assert pair.synops == pytest.approx(np.mean([part.synops for part in parts]), rel=1e-6)


def test_macs_of_vgg11_are_those_of_its_layer_list():
    model = models.vgg11((32, 32, 3), 10, timesteps=1, width=0.0625)
    channels = [3, 4, 8, 16, 32, 32, 32, 32, 32]
    sides = [32, 16, 16, 8, 8, 8, 4, 4]
    # A 3x3 window with a border of one lacks its outer row at either end: 3n - 2 of n places.
    expected = [
        a * b * (3 * n - 2) ** 2 for a, b, n in zip(channels, channels[1:], sides, strict=False)
    ]
    expected += [512 * 256, 256 * 256, 256 * 10]
    report = export.energy(model, np.zeros((1, 32, 32, 3), "float32"))
    assert [layer.ann_operations for layer in report.layers] == expected


def test_the_table_has_a_row_a_layer_and_a_sum():
    model = grid_model(keras.layers.Conv2D(5, 3, padding="same", name="conv"))
    lines = export.energy(model, grid((1, 1))).to_markdown().splitlines()
    assert lines[2] == "| conv | 0.1111 | 45 AC | 0.04 | 1.13 |"
    assert lines[3] == "| all | | 0 MAC, 45 AC | 0.04 | 1.13 |"


def test_what_cannot_be_counted_is_refused():
    model = grid_model(keras.layers.DepthwiseConv2D(3, name="depthwise"))
    with pytest.raises(ValueError, match="Received: depthwise, a DepthwiseConv2D"):
        export.energy(model, grid((0, 0)))
    model = grid_model(TDBatchNormalization(name="tdbn"))
    assert export.energy(model, grid((0, 0))).layers == ()
    with pytest.raises(ValueError, match="`x` must hold at least one image"):
        export.energy(model, np.zeros((0, 3, 3, 1)))
