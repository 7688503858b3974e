"""The networks at full width: their layer lists and parameter counts, worked out by hand."""

import itertools

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, TDBatchNormalization, layers, models

# The layer lists of SNN-RAT's networks: channels of the convolutions, a pool where they say so.
VGG11_PLAN = [64, "pool", 128, 256, "pool", 512, 512, 512, "pool", 512, 512]
VGG16_PLAN = [
    *[64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool"],
    *[512, 512, 512, "pool", 512, 512, 512, "pool"],
]
WRN16_WIDTHS = [16, 64, 128, 256]


@pytest.fixture(scope="module")
def vgg11():
    return models.vgg11((32, 32, 3), 10)


@pytest.fixture(scope="module")
def vgg16():
    return models.vgg16((64, 64, 3), 200)


@pytest.fixture(scope="module")
def wrn16():
    return models.wrn16((32, 32, 3), 10)


def inner(layer):
    return layer.layer if isinstance(layer, layers.FoldTime) else layer


def described(layer):
    layer = inner(layer)
    return {
        keras.layers.Conv2D: lambda: f"conv{layer.filters}",
        keras.layers.Dense: lambda: f"dense{layer.units}",
        keras.layers.AveragePooling2D: lambda: "pool",
        keras.layers.Flatten: lambda: "flatten",
        TDBatchNormalization: lambda: "tdbn",
        LIFLayer: lambda: "lif",
    }.get(type(layer), lambda: None)()


def layer_list(model):
    return [text for text in map(described, model.layers) if text]


def vgg_list(plan, classes):
    expected = []
    for step in plan:
        expected += ["pool"] if step == "pool" else [f"conv{step}", "tdbn", "lif"]
    return [*expected, "flatten", "dense4096", "lif", "dense4096", "lif", f"dense{classes}"]


def test_vgg11s_layers_are_those_of_the_source(vgg11):
    assert layer_list(vgg11) == vgg_list(VGG11_PLAN, 10)
    assert vgg11.get_layer("flatten").output.shape == (None, 8, 512 * 4 * 4)
    assert vgg11.input_shape == (None, 32, 32, 3) and vgg11.output_shape == (None, 10)


def test_vgg16s_layers_are_those_of_the_source(vgg16):
    assert layer_list(vgg16) == vgg_list(VGG16_PLAN, 200)
    assert vgg16.get_layer("flatten").output.shape == (None, 8, 512 * 2 * 2)
    assert vgg16.input_shape == (None, 64, 64, 3) and vgg16.output_shape == (None, 200)
    assert vgg16.notes == ()


def test_wrn16s_convolutions_are_those_of_wideresnet_16_4(wrn16):
    found = [inner(layer) for layer in wrn16.layers]
    found = [layer for layer in found if isinstance(layer, keras.layers.Conv2D)]
    expected = [(3, 16, 1)]
    for width, stride in [(64, 1), (128, 2), (256, 2)]:
        expected += [(3, width, stride), (3, width, 1), (1, width, stride)]  # shortcut last
        expected += [(3, width, 1), (3, width, 1)]
    assert len(found) == 16  # WideResNet-16's thirteen, and three shortcuts
    assert sorted((c.kernel_size[0], c.filters, c.strides[0]) for c in found) == sorted(expected)
    assert all(not layer.use_bias for layer in found)


def test_wrn16s_feature_maps_shrink_at_the_second_and_third_stage(wrn16):
    shapes = {
        "stage1_block1": (32, 32, 64), "stage1_block2": (32, 32, 64),
        "stage2_block1": (16, 16, 128), "stage2_block2": (16, 16, 128),
        "stage3_block1": (8, 8, 256), "stage3_block2": (8, 8, 256),
    }  # fmt: skip
    for block, shape in shapes.items():
        assert wrn16.get_layer(f"{block}_sum").output.shape == (None, 8, *shape)
    assert inner(wrn16.get_layer("pool")).pool_size == (8, 8)
    assert wrn16.get_layer("flatten").output.shape == (None, 8, 256)
    assert layer_list(wrn16)[-6:] == ["conv256", "tdbn", "lif", "pool", "flatten", "dense10"]


def test_wrn16_normalizes_before_each_of_its_thirteen_layers_of_neurons(wrn16):
    kinds = [kind for kind in layer_list(wrn16) if kind in ("tdbn", "lif")]
    assert kinds == 13 * ["tdbn", "lif"]
    norms = [layer for layer in wrn16.layers if isinstance(layer, TDBatchNormalization)]
    assert {layer.alpha for layer in norms} == {1.0}


# Convolutions without bias, tdBN's four figures a channel (two of them trained), dense layers with
# bias.
def vgg_count(plan, cells, classes, scale=1.0):
    channels = [round(step * scale) for step in plan if step != "pool"]
    hidden = round(4096 * scale)
    convolutions = 9 * sum(a * b for a, b in itertools.pairwise([3, *channels]))
    dense = itertools.pairwise([channels[-1] * cells, hidden, hidden, classes])
    trained = convolutions + 2 * sum(channels) + sum((a + 1) * b for a, b in dense)
    return trained, 2 * sum(channels)


def wrn_count(widths, classes):
    trained, normalized = 9 * 3 * widths[0], 0
    for before, after in itertools.pairwise(widths):
        trained += 9 * before * after + 9 * after * after + before * after  # with the shortcut
        trained += 2 * 9 * after * after
        normalized += before + after + 2 * after
    normalized += widths[-1]
    return trained + 2 * normalized + (widths[-1] + 1) * classes, 2 * normalized


def counts(model):
    return tuple(
        sum(int(np.prod(weight.shape)) for weight in weights)
        for weights in (model.trainable_weights, model.non_trainable_weights)
    )


def test_vgg11s_number_of_parameters_is_that_of_a_hand_count(vgg11):
    assert counts(vgg11) == vgg_count(VGG11_PLAN, 16, 10)


def test_vgg11s_number_of_parameters_is_that_of_a_hand_count_at_100_classes():
    assert counts(models.vgg11((32, 32, 3), 100)) == vgg_count(VGG11_PLAN, 16, 100)


@pytest.mark.parametrize("cells, side", [(16, 32), (64, 64)])
def test_a_width_multiplier_scales_all_layers(cells, side):
    model = models.vgg11((side, side, 3), 10, timesteps=2, width=0.25)
    assert counts(model) == vgg_count(VGG11_PLAN, cells, 10, scale=0.25)


def test_vgg16s_number_of_parameters_is_that_of_a_hand_count(vgg16):
    assert counts(vgg16) == vgg_count(VGG16_PLAN, 4, 200)


def test_vgg16_at_32_pixels_has_one_cell_left():
    model = models.vgg16((32, 32, 3), 100, timesteps=2, width=0.25)
    assert counts(model) == vgg_count(VGG16_PLAN, 1, 100, scale=0.25)


def test_wrn16s_number_of_parameters_is_that_of_a_hand_count(wrn16):
    assert counts(wrn16) == wrn_count(WRN16_WIDTHS, 10)
    # Zagoruyko and Komodakis (2016) give 2.7M for WRN-16-4 on CIFAR-10.
    assert 2.7e6 < counts(wrn16)[0] < 2.8e6


@pytest.mark.parametrize(
    "classes, width, widths, weights",
    [(100, 1.0, WRN16_WIDTHS, 0), (10, 0.25, [4, 16, 32, 64], 0), (10, 0.25, [4, 16, 32, 64], 12)],
)
def test_wrn16s_count_holds_at_other_widths_and_with_weighted_branches(
    classes, width, widths, weights
):
    model = models.wrn16((32, 32, 3), classes, width=width, branch_weights=weights > 0)
    trained, running = wrn_count(widths, classes)
    assert counts(model) == (trained + weights, running)
