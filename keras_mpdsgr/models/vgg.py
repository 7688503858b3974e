"""VGG networks of spiking neurons (layer lists as in SNN-RAT, Ding et al., 2022)."""

import functools
import itertools

import keras

from keras_mpdsgr.models.blocks import check_network, convolved, hidden_dense, named, scaled
from keras_mpdsgr.models.plain import blocks_of

_POOL = "pool"
_VGG11 = (64, _POOL, 128, 256, _POOL, 512, 512, 512, _POOL, 512, 512)
_VGG16 = (
    64, 64, _POOL, 128, 128, _POOL, 256, 256, 256, _POOL, 512, 512, 512, _POOL, 512, 512, 512, _POOL
)  # fmt: skip
_HIDDEN_UNITS = (4096, 4096)


def vgg11(
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
    name="vgg11",
    coding_options=None,
    before_neurons=None,
    after_neurons=None,
    recompute=False,
    **neuron_options,
):
    """Spiking VGG11: eight conv - tdBN - LIF blocks, two hidden dense - LIF, a linear read-out.

    3x3 convolutions of 64, pool, 128, 256, pool, 512, 512, 512, pool, 512, 512 channels, then
    dense layers of 4096 and 4096 units without normalization; 2x2 average pooling. A pool that does
    not fit the image any more is left out, and `summary()` says so.

    Args:
        input_shape: `(height, width, channels)` of the images, at least 8 pixels a side.
        num_classes: Number of classes, at least 2.
        timesteps: Length T of the window.
        width: Multiplier of all layer widths, positive.
        coding: Spike coding of the image: `"direct"` (the image at every time step), `"poisson"`,
            `"smoothing"` or `"frequency"`; see the encoders of `keras_mpdsgr.layers`. All but
            `"direct"` run the first convolution once a time step.
        surrogate: Name or object of the surrogate gradient.
        gamma: Width of a named surrogate's window; None with an object.
        tau: Leak factor in [0, 1].
        eta: Weight of Omega in the loss, of the mean over all layers (Jiang et al., 2026, Eq. 17
            and 18): each of the L layers of neurons gets `eta / L`.
        neuron: `"lif"`, or `"relu"` for the plain twin: the same network with ReLU for its spiking
            neurons, no encoder and no time axis, at the cost of any such network. tdBN is plain
            batch normalization there. All that only spiking neurons have must be left at its
            default: `timesteps`, `coding`, `surrogate`, `gamma`, `tau`, `eta`, `coding_options`,
            `before_neurons`, `after_neurons` and `neuron_options`.
        mean, std: Per channel, of pixels in [0, 1], for the normalization inside the model; None
            for CIFAR-10's at 3 channels, else for 1/2 and 1/4.
        name: Name of the model.
        coding_options: Dictionary of more arguments of the coding's encoder, as `seed`, `std` or
            `half_widths`.
        before_neurons: Function that is called with the name of each `LIFLayer` (`"conv1_lif"`,
            ...) and returns a layer of its own name to be put right before it, on its input current
            `(batch, time, ...)`; None for none.
        after_neurons: The same, for a layer right behind it, on its spikes.
        recompute: Whether training keeps only the input of each convolution's block for the
            backward pass, and computes the rest again there, by a `Recompute`.
        **neuron_options: More arguments of `LIFLayer`, the same for all. Unlike there, Omega is
            tracked unless `track_omega=False`; `v_threshold` is also tdBN's.

    Returns:
        A `SpikingModel` that takes `(batch, height, width, channels)` in [0, 1] and gives logits
        `(batch, num_classes)`, the mean over time of the read-out.

    Raises:
        ValueError: If an argument is out of its range or an option unknown.

    Example:

    >>> vgg11((16, 16, 1), 10, timesteps=2, width=0.05).output_shape
    (None, 10)
    """
    return _vgg(
        _VGG11, input_shape, num_classes, timesteps, width, mean, std, name,
        neuron=neuron, coding=coding, surrogate=surrogate, gamma=gamma, tau=tau, eta=eta,
        coding_options=coding_options, before_neurons=before_neurons, after_neurons=after_neurons,
        recompute=recompute, **neuron_options,
    )  # fmt: skip


def vgg16(
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
    name="vgg16",
    coding_options=None,
    before_neurons=None,
    after_neurons=None,
    recompute=False,
    **neuron_options,
):
    """Spiking VGG16: thirteen conv - tdBN - LIF blocks, two hidden dense - LIF, a linear read-out.

    3x3 convolutions of 64, 64, pool, 128, 128, pool, 256, 256, 256, pool, 512, 512, 512, pool, 512,
    512, 512, pool channels, then as `vgg11`. At 64 pixels a side the source gives the first
    convolution stride 2; here it has stride 1 at any size.

    Args:
        input_shape, num_classes, timesteps, width, coding, surrogate, gamma, tau, eta, neuron,
            mean, std, name, coding_options, before_neurons, after_neurons, recompute,
            **neuron_options: As of `vgg11`.

    Returns:
        A `SpikingModel`, as `vgg11`.

    Raises:
        ValueError: If an argument is out of its range or an option unknown.

    Example:

    >>> vgg16((32, 32, 3), 10, timesteps=2, width=0.02).get_layer("flatten").output.shape
    (None, 2, 10)
    """
    return _vgg(
        _VGG16, input_shape, num_classes, timesteps, width, mean, std, name,
        neuron=neuron, coding=coding, surrogate=surrogate, gamma=gamma, tau=tau, eta=eta,
        coding_options=coding_options, before_neurons=before_neurons, after_neurons=after_neurons,
        recompute=recompute, **neuron_options,
    )  # fmt: skip


def _vgg(
    plan, input_shape, num_classes, timesteps, width, mean, std, name, /, neuron="lif", **options
):
    check_network(input_shape, num_classes, timesteps, width)
    layers = sum(step != _POOL for step in plan) + len(_HIDDEN_UNITS)
    blocks = blocks_of(neuron)(layers, timesteps, **options)
    image = keras.Input(tuple(input_shape), name="image")
    x = blocks.pixels(image, mean, std)
    for number, (filters, pool) in enumerate(_pooled_convolutions(plan), start=1):
        block = functools.partial(
            _block, blocks, filters=scaled(filters, width), pool=pool, name=f"conv{number}"
        )
        x = blocks.block(x, block, f"block{number}")
    x = named(keras.layers.Flatten, x, "flatten")
    for i, units in enumerate(_HIDDEN_UNITS, start=1):
        x = blocks.neurons(hidden_dense(x, scaled(units, width), f"dense{i}"), f"dense{i}")
    return blocks.model(image, x, num_classes, name)


def _block(blocks, x, filters, pool, name):
    x = blocks.normalized(convolved(x, filters, 3, name), f"{name}_tdbn")
    x = blocks.neurons(x, name)
    return _pooled(x, pool, blocks.notes) if pool else x


def _pooled_convolutions(plan):
    """Pairs of a convolution's filters and the name of the pool behind it, or None."""
    pairs, pools = [], 0
    for step, following in itertools.zip_longest(plan, plan[1:]):
        if step != _POOL:
            pools += following == _POOL
            pairs.append((step, f"pool{pools}" if following == _POOL else None))
    return pairs


def _pooled(x, name, notes):
    height, width = x.shape[-3:-1]
    if min(height, width) < 2:
        notes.append(f"{name} is left out: {height}x{width} is too small.")
        return x
    return named(functools.partial(keras.layers.AveragePooling2D, 2), x, name)
