"""Synaptic operations and energy, counted by hand and by SpikingJelly on small networks."""

import json
import pathlib
import runpy

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
    dense.set_weights([np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), np.zeros(3)])
    report = export.energy(model, np.array([[0.5, 0.5]], "float32"))
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


def test_neurobenchs_metrics_of_a_network_worked_by_hand():
    inputs = keras.Input((2,))
    x = layers.DirectEncoder(2)(keras.layers.Dense(3, name="first")(inputs))
    x = LIFLayer(name="lif")(x)
    x = layers.FoldTime(keras.layers.Dense(4), name="second")(x)
    model = keras.Model(inputs, layers.TemporalMean()(x))
    second = np.ones((3, 4))
    second[0, 1:] = 0.0
    # Currents 1, 0.5 and 0: the first neuron fires twice in two steps, the second once.
    model.set_weights(
        [np.array([[2.0, 1.0, 0.0], [3.0, 0.0, 0.0]]), np.zeros(3), second, np.ones(4)]
    )
    found = export.energy(model, np.array([[0.5, 0.0], [0.5, 0.0]], "float32")).neurobench
    assert found.to_dict() == {
        "footprint": 4 * (6 + 3 + 12 + 4),
        # Of 6 and 12 weights 3 and 3 are zeros; biases do not count.
        "connection_sparsity": 6 / 18,
        # In two steps three neurons give six values, of which three are spikes.
        "activation_sparsity": 0.5,
        "synaptic_operations": {
            # The pixel of 1/2 reaches 2 weights that are not 0; once, not at each step.
            "Effective_MACs": 2.0,
            # Two spikes of the first neuron reach 1 weight each, one of the second reaches 4.
            "Effective_ACs": 2 * 1 + 1 * 4,
            "Dense": 6 + 2 * 12,
        },
    }


def test_neurobench_counts_values_behind_an_average_pool_as_products():
    """Where SynOps count accumulates of the pool's spikes: 1/4 is not of -1, 0 and 1."""
    pool = [keras.layers.AveragePooling2D(2), keras.layers.Flatten(), keras.layers.Dense(7)]
    report = export.energy(grid_model(*pool), grid((0, 0), (2, 2)))
    assert report.synops == 7
    assert report.neurobench.synaptic_operations == export.SynapticOperations(7, 0, 7)


def test_neurobench_counts_a_convolutions_borders_and_its_weights_that_are_zero():
    conv = keras.layers.Conv2D(2, 3, padding="same", name="conv")
    model = grid_model(conv)
    kernel = np.zeros((3, 3, 1, 2))
    kernel[1, 1] = kernel[0, 0] = 1.0  # the pixel's own place, and the one to its lower right
    conv.set_weights([kernel, np.zeros(2)])
    found = export.energy(model, np.concatenate([grid((0, 0)), grid((2, 2))])).neurobench
    # The spike at (0, 0) reaches both places, that at (2, 2) its own alone, in two filters each.
    assert found.synaptic_operations == export.SynapticOperations(0, (4 + 2) / 2, 2 * 49)
    assert found.connection_sparsity == 14 / 18
    assert found.activation_sparsity == 8 / 9


def test_a_layer_that_is_called_twice_counts_its_weights_once_and_its_operations_twice():
    inputs, dense = keras.Input((2,)), keras.layers.Dense(2)
    model = keras.Model(inputs, dense(keras.layers.ReLU()(dense(inputs))))
    dense.set_weights([np.array([[1.0, -1.0], [0.0, 1.0]]), np.zeros(2)])
    found = export.energy(model, np.array([[0.5, 0.25]], "float32")).neurobench
    assert (found.footprint, found.connection_sparsity) == (4 * 6, 1 / 4)
    # 0.5 and -0.25 behind the first call; the ReLU leaves 0.5 and 0.
    assert found.activation_sparsity == 0.5
    assert found.synaptic_operations == export.SynapticOperations(3 + 2, 0, 8)


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
    assert layer.source == "averaged spikes"
    assert layer.rate == pytest.approx(2 / 4)
    assert layer.ann_operations == 7


@keras.saving.register_keras_serializable("tests")
class Passing(keras.layers.Layer):
    def call(self, inputs):
        return inputs + 0.0

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize(
    "between",
    [
        [keras.layers.MaxPooling2D(1)],
        [keras.layers.Reshape((9, 1)), keras.layers.Permute((2, 1))],
        [keras.layers.ZeroPadding2D(1), keras.layers.Cropping2D(1)],
        [keras.layers.UpSampling2D(1)],
        [keras.layers.GaussianNoise(0.1), keras.layers.SpatialDropout2D(0.5)],
        [keras.layers.ActivityRegularization(0.1), keras.layers.Identity()],
        [keras.layers.ReLU(), Passing()],
        [],
    ],
)
def test_what_passes_spikes_on_leaves_them_spikes(between):
    dense = keras.layers.Dense(7, name="dense")
    model = grid_model(*between, keras.layers.Flatten(), dense)
    (layer,) = export.energy(model, grid((0, 0), (1, 2))).layers
    assert (layer.source, layer.operations, layer.ann_operations) == ("spikes", 2 * 7, 9 * 7)
    assert layer.rate == pytest.approx(2 / 9)


def test_a_maximum_pool_gives_one_spike_a_cell_and_upsampling_copies_each():
    pooled = [keras.layers.MaxPooling2D(2), keras.layers.Flatten(), keras.layers.Dense(7)]
    (layer,) = export.energy(grid_model(*pooled), grid((0, 0), (1, 1), (2, 2))).layers
    assert (layer.source, layer.operations) == ("spikes", 7)
    copied = [keras.layers.UpSampling2D(2), keras.layers.Flatten(), keras.layers.Dense(7)]
    (layer,) = export.energy(grid_model(*copied), grid((1, 1))).layers
    assert (layer.source, layer.operations) == ("spikes", 4 * 7)


def test_joined_spikes_are_spikes_and_joined_with_analog_values_are_not():
    inputs = keras.Input((2, 3))
    spikes = LIFLayer()(inputs)
    both = keras.layers.Concatenate()([spikes, keras.layers.Permute((1, 2))(spikes)])
    model = keras.Model(inputs, layers.FoldTime(keras.layers.Dense(4))(both))
    (layer,) = export.energy(model, np.ones((1, 2, 3), "float32")).layers
    assert (layer.source, layer.operations) == ("spikes", 2 * 6 * 4)
    both = keras.layers.Concatenate()([spikes, keras.layers.Rescaling(0.5)(spikes)])
    model = keras.Model(inputs, layers.FoldTime(keras.layers.Dense(4))(both))
    (layer,) = export.energy(model, np.ones((1, 2, 3), "float32")).layers
    assert (layer.source, layer.operations) == ("analog", 2 * 6 * 4)


def test_averages_stay_averages_where_they_are_moved_and_are_analog_behind_a_maximum():
    pool = keras.layers.AveragePooling2D((1, 3))
    moved = [pool, keras.layers.ZeroPadding2D(1), keras.layers.Flatten(), keras.layers.Dense(7)]
    (layer,) = export.energy(grid_model(*moved), grid((0, 0), (0, 1))).layers
    assert (layer.source, layer.operations) == ("averaged spikes", pytest.approx(2 * 7))
    pool = keras.layers.AveragePooling2D((1, 3))
    maximum = [pool, keras.layers.MaxPooling2D(1), keras.layers.Flatten(), keras.layers.Dense(7)]
    (layer,) = export.energy(grid_model(*maximum), grid((0, 0), (0, 1))).layers
    assert (layer.source, layer.operations) == ("analog", 3 * 7)
    glob = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(7)]
    (layer,) = export.energy(grid_model(*glob), grid((0, 0), (0, 1))).layers
    assert (layer.source, layer.operations) == ("averaged spikes", pytest.approx(2 * 7))
    assert layer.ann_operations == 7


@pytest.mark.parametrize("wrapper", [layers.FoldTime, keras.layers.TimeDistributed])
def test_zeros_and_ones_in_the_input_are_spikes_in_whichever_batch_they_come(wrapper):
    x = (np.random.default_rng(0).random((6, 4, 5)) < 0.3).astype("float32")
    model = keras.Sequential([keras.Input((4, 5)), wrapper(keras.layers.Dense(3)), LIFLayer()])
    for batch_size in (2, 64):
        (layer,) = export.energy(model, x, batch_size).layers
        assert (layer.source, layer.operations) == ("spikes", pytest.approx(x.sum() / 6 * 3))
        assert layer.ann_operations == 5 * 3
    x[5, 0, 0] = 0.5
    for batch_size in (2, 64):
        (layer,) = export.energy(model, x, batch_size).layers
        assert (layer.source, layer.rate, layer.operations) == ("analog", None, 4 * 5 * 3)


def test_a_random_coding_gives_spikes():
    model = keras.Sequential(
        [keras.Input((5,)), layers.PoissonEncoder(4), layers.FoldTime(keras.layers.Dense(3))]
    )
    (layer,) = export.energy(model, np.full((50, 5), 0.3, "float32")).layers
    assert layer.source == "spikes"
    assert layer.operations == pytest.approx(0.3 * 4 * 5 * 3, rel=0.2)
    assert layer.operations == pytest.approx(layer.rate * 4 * 5 * 3)


def test_spikingjelly_counts_the_same_operations():
    path = pathlib.Path(__file__).with_name("spikingjelly_counts.py")
    network = runpy.run_path(str(path))
    counted = json.loads(path.with_suffix(".json").read_text())
    options = {"use_bias": False}
    of_layers = {
        "conv1": keras.layers.Conv2D(6, 3, padding="same", **options),
        "conv2": keras.layers.Conv2D(4, (3, 2), strides=2, groups=2, **options),
        "dense1": keras.layers.Dense(12, **options),
        "dense2": keras.layers.Dense(5, **options),
    }
    folded = {name: layers.FoldTime(layer, name=name) for name, layer in of_layers.items()}
    x = network["events"]()
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            folded["conv1"],
            LIFLayer(name="lif1"),
            layers.FoldTime(keras.layers.MaxPooling2D(2)),
            layers.FoldTime(keras.layers.ZeroPadding2D((1, 0))),
            folded["conv2"],
            LIFLayer(name="lif2"),
            layers.FoldTime(keras.layers.Flatten()),
            folded["dense1"],
            LIFLayer(name="lif3"),
            folded["dense2"],
        ]
    )
    for name, kernel in network["kernels"]().items():
        of_layers[name].set_weights([kernel])
    report = export.energy(model, x)
    ours = {layer.name: round(layer.operations * len(x), 6) for layer in report.layers}
    assert ours == counted["synaptic_operations"]
    assert list(report.firing_rates.values()) == pytest.approx(counted["firing_rates"])
    assert {layer.source for layer in report.layers} == {"spikes"}


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
    (layer,) = export.energy(model, np.full((1, 2), 0.5, "float32")).layers
    assert (layer.source, layer.operations, layer.ann_operations) == ("analog", 4 * 6, 6)


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


def test_a_network_with_recomputation_counts_like_one_without(digits):
    plain = models.vgg11((16, 16, 1), 10, timesteps=3, width=0.03)
    for weight in plain.weights:
        if weight.name == "beta":
            weight.assign(np.full(weight.shape, 0.6))
    recomputed = models.vgg11((16, 16, 1), 10, timesteps=3, width=0.03, recompute=True)
    recomputed.set_weights(plain.get_weights())
    first, second = (export.energy(model, digits[:4]) for model in (plain, recomputed))
    assert first.layers == second.layers
    assert first.firing_rates == second.firing_rates
    assert min(first.firing_rates.values()) > 0


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
    assert lines[2] == "| conv | spikes | 0.1111 | 45 AC | 0.04 | 1.13 |"
    assert lines[3] == "| all | | | 0 MAC, 45 AC | 0.04 | 1.13 |"
    assert "| effective ACs | 45 |" in lines
    assert "| footprint, bytes | 200 |" in lines  # 3 x 3 x 5 weights and 5 biases
    lines = export.energy(model, 0.5 * grid((1, 1))).to_markdown().splitlines()
    assert lines[2].startswith("| conv | spikes | 0.0000 | 0 AC ")  # 1/2 is below the threshold


def test_what_cannot_be_counted_is_refused():
    model = grid_model(keras.layers.DepthwiseConv2D(3, name="depthwise"))
    with pytest.raises(ValueError, match="Received: depthwise, a DepthwiseConv2D"):
        export.energy(model, grid((0, 0)))
    inputs = keras.Input((2, 3))
    product = keras.layers.Dot(axes=2, name="product")([inputs, inputs])
    with pytest.raises(ValueError, match="Received: product, a Dot"):
        export.energy(keras.Model(inputs, product), np.ones((1, 2, 3), "float32"))
    model = grid_model(TDBatchNormalization(name="tdbn"))
    assert export.energy(model, grid((0, 0))).layers == ()
    with pytest.raises(ValueError, match="`x` must hold at least one image"):
        export.energy(model, np.zeros((0, 3, 3, 1)))
    stream = export.streaming(keras.Sequential([inputs, LIFLayer(name="kept")]), timesteps=2)
    with pytest.raises(ValueError, match="must keep no state.*Received: kept, with stateful=True"):
        export.energy(stream, np.ones((1, 2, 3), "float32"), batch_size=1)
