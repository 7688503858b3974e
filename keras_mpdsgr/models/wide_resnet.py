"""Wide residual network of spiking neurons (Zagoruyko and Komodakis, 2016; as in SNN-RAT)."""

import functools

import keras

from keras_mpdsgr.arguments import check_flag
from keras_mpdsgr.layers import WeightedSum
from keras_mpdsgr.models.blocks import check_network, convolved, named, scaled
from keras_mpdsgr.models.plain import blocks_of

_STEM = 16
_STAGES = ((64, 1), (128, 2), (256, 2))  # channels at widening factor 4, stride
_BLOCKS_A_STAGE = 2
_FINAL_POOL = 8


def wrn16(
    input_shape,
    num_classes,
    timesteps=8,
    width=1.0,
    coding="direct",
    surrogate="triangle",
    gamma=1.0,
    tau=1.0,
    eta=0.0,
    *,
    neuron="lif",
    mean=None,
    std=None,
    name="wrn16",
    coding_options=None,
    before_neurons=None,
    after_neurons=None,
    branch_weights=False,
    recompute=False,
    **neuron_options,
):
    """Spiking WRN16: WideResNet-16-4 of pre-activation blocks, a linear read-out.

    A 3x3 convolution of 16 channels; three stages of 64, 128 and 256 channels and strides 1, 2, 2
    with two blocks each; tdBN - LIF, 8x8 average pooling, the read-out. A block is
    tdBN - LIF - conv - tdBN - LIF - conv, and to it is added

    - in the first block of a stage, where shapes change: a 1x1 convolution of the *activated*
      input, the spikes behind the block's first tdBN - LIF;
    - in the others: the raw input, before tdBN.

    No convolution has a bias. tdBN's alpha is 1 throughout: nothing is summed behind the
    normalization. Where the last feature map has fewer than 8 pixels a side, the final pool shrinks
    to what is there, and `summary()` says so; from 64 pixels a side on, the read-out sees the
    several cells that it leaves.

    Args:
        input_shape, num_classes, timesteps, width, coding, surrogate, gamma, tau, eta, neuron,
            mean, std, name, coding_options, before_neurons, after_neurons, recompute,
            **neuron_options: As of `vgg11`.
        branch_weights: Whether a block's two branches are combined by two learnable weights that
            start at 1/2 (Ding et al., 2022), a `WeightedSum`; else by a plain sum.

    Returns:
        A `SpikingModel` that takes `(batch, height, width, channels)` in [0, 1] and gives logits
        `(batch, num_classes)`, the mean over time of the read-out.

    Raises:
        ValueError: If an argument is out of its range or an option unknown.

    Example:

    >>> wrn16((32, 32, 3), 10, timesteps=2, width=0.1).get_layer("pool").output.shape
    (None, 2, 1, 1, 26)
    """
    check_network(input_shape, num_classes, timesteps, width)
    check_flag("branch_weights", branch_weights)
    blocks = blocks_of(neuron)(
        2 * _BLOCKS_A_STAGE * len(_STAGES) + 1, timesteps, coding=coding, surrogate=surrogate,
        gamma=gamma, tau=tau, eta=eta, coding_options=coding_options,
        before_neurons=before_neurons, after_neurons=after_neurons, recompute=recompute,
        **neuron_options,
    )  # fmt: skip
    image = keras.Input(tuple(input_shape), name="image")
    x = convolved(blocks.pixels(image, mean, std), scaled(_STEM, width), 3, "conv1")
    for stage, (channels, strides) in enumerate(_STAGES, start=1):
        for number in range(1, _BLOCKS_A_STAGE + 1):
            combined = WeightedSum if branch_weights else keras.layers.Add
            block = functools.partial(
                _residual_block, blocks, filters=scaled(channels, width),
                strides=strides if number == 1 else 1, projects=number == 1, combined=combined,
                name=f"stage{stage}_block{number}",
            )  # fmt: skip
            x = blocks.block(x, block, f"stage{stage}_block{number}")
    x = blocks.neurons(blocks.normalized(x, "final_tdbn"), "final")
    x = _pooled(x, blocks.notes)
    x = named(keras.layers.Flatten, x, "flatten")
    return blocks.model(image, x, num_classes, name)


def _residual_block(blocks, x, filters, strides, projects, combined, name):
    activated = blocks.neurons(blocks.normalized(x, f"{name}_tdbn1"), name, 1)
    inner = convolved(activated, filters, 3, f"{name}_conv1", strides)
    inner = blocks.neurons(blocks.normalized(inner, f"{name}_tdbn2"), name, 2)
    inner = convolved(inner, filters, 3, f"{name}_conv2")
    if projects:
        x = convolved(activated, filters, 1, f"{name}_shortcut", strides)
    return combined(name=f"{name}_sum")([x, inner])


def _pooled(x, notes):
    size = tuple(min(_FINAL_POOL, side) for side in x.shape[-3:-1])
    if min(size) < _FINAL_POOL:
        notes.append(
            f"pool is {size[0]}x{size[1]}: there are no {_FINAL_POOL}x{_FINAL_POOL} pixels."
        )
    return named(functools.partial(keras.layers.AveragePooling2D, size), x, "pool")
