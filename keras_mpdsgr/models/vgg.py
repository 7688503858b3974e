"""VGG networks of spiking neurons (layer lists as in SNN-RAT, Ding et al., 2022)."""

import keras

from keras_mpdsgr.layers import FoldTime, TemporalMean
from keras_mpdsgr.models.blocks import (
    NeuronOptions,
    check_network,
    first_current,
    hidden_dense,
    normalized_current,
    pixel_normalization,
    scaled,
)
from keras_mpdsgr.models.spiking_model import SpikingModel

_POOL = "pool"
_VGG11 = (64, _POOL, 128, 256, _POOL, 512, 512, 512, _POOL, 512, 512)
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
    mean=None,
    std=None,
    name="vgg11",
    **neuron_options,
):
    """Spiking VGG11: eight conv - tdBN - LIF blocks, two hidden dense - LIF, a linear read-out.

    3x3 convolutions of 64, pool, 128, 256, pool, 512, 512, 512, pool, 512, 512 channels, then
    dense layers of 4096 and 4096 units without normalization; 2x2 average pooling. A pool that does
    not fit the image any more is left out, and `summary()` says so.

    Args:
        input_shape: `(height, width, channels)` of the images, at least 8 pixels a side.
        num_classes: Number of classes, at least 1.
        timesteps: Length T of the window.
        width: Multiplier of all layer widths, positive.
        coding: Spike coding of the image: `"direct"`.
        surrogate: Name or object of the surrogate gradient.
        gamma: Width of a named surrogate's window; None with an object.
        tau: Leak factor in [0, 1].
        eta: Weight of Omega in the loss, of the mean over all layers (Jiang et al., 2026, Eq. 17
            and 18): each of the L layers of neurons gets `eta / L`.
        mean, std: Per channel, of pixels in [0, 1], for the normalization inside the model; None
            for CIFAR-10's at 3 channels, else for 1/2 and 1/4.
        name: Name of the model.
        **neuron_options: More arguments of `LIFLayer`, the same for all: `reset`, `detach_reset`,
            `omega_form`, `track_omega`.

    Returns:
        A `SpikingModel` that takes `(batch, height, width, channels)` in [0, 1] and gives logits
        `(batch, num_classes)`, the mean over time of the read-out.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> vgg11((16, 16, 1), 10, timesteps=2, width=0.05).output_shape
    (None, 10)
    """
    return _vgg(
        _VGG11, input_shape, num_classes, timesteps, width, coding, eta, mean, std, name,
        surrogate=surrogate, gamma=gamma, tau=tau, **neuron_options,
    )  # fmt: skip


def _vgg(
    plan, input_shape, num_classes, timesteps, width, coding, eta, mean, std, name, **neuron_options
):
    check_network(input_shape, num_classes, timesteps, width, coding, eta)
    layers = sum(step != _POOL for step in plan) + len(_HIDDEN_UNITS)
    neurons = NeuronOptions(eta=eta / layers, **neuron_options).neurons
    image = keras.Input(tuple(input_shape), name="image")
    x = pixel_normalization(input_shape[-1], mean, std)(image)
    notes, convolutions, pools = [], 0, 0
    for step in plan:
        if step == _POOL:
            pools += 1
            if min(x.shape[2:4]) < 2:
                notes.append(f"pool{pools} is left out: {x.shape[2]}x{x.shape[3]} is too small.")
                continue
            x = FoldTime(keras.layers.AveragePooling2D(2), name=f"pool{pools}")(x)
            continue
        convolutions += 1
        block, filters = f"conv{convolutions}", scaled(step, width)
        if convolutions == 1:
            x = first_current(x, filters, timesteps, block)
        else:
            x = normalized_current(x, filters, block)
        x = neurons(f"{block}_lif")(x)
    x = FoldTime(keras.layers.Flatten(), name="flatten")(x)
    for i, units in enumerate(_HIDDEN_UNITS, start=1):
        x = FoldTime(hidden_dense(scaled(units, width)), name=f"dense{i}")(x)
        x = neurons(f"dense{i}_lif")(x)
    x = FoldTime(keras.layers.Dense(num_classes, name="readout"), name="readout_time")(x)
    # Logits stay in float32 under mixed precision.
    model = SpikingModel(image, TemporalMean(dtype="float32", name="logits")(x), name=name)
    model.notes = tuple(notes)
    return model
