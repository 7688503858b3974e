"""What the networks are made of: one set of options for all neurons, and the recurring blocks."""

import dataclasses

import keras
import numpy as np

from keras_mpdsgr.arguments import check_choice, check_count, check_non_negative, check_positive
from keras_mpdsgr.layers import DirectEncoder, FoldTime, LIFLayer, TDBatchNormalization

CODINGS = ("direct",)

# Per channel, of pixels in [0, 1], on the training images of CIFAR-10.
_CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
_CIFAR10_STD = (0.2023, 0.1994, 0.2010)


@dataclasses.dataclass(frozen=True)
class NeuronOptions:
    """The options that all `LIFLayer`s of a network share.

    Args:
        tau, surrogate, gamma, reset, detach_reset, omega_form, track_omega: As of `LIFLayer`.
        eta: Weight of one layer's Omega.
    """

    tau: float = 1.0
    surrogate: object = "triangle"
    gamma: float | None = 1.0
    reset: str = "hard"
    detach_reset: bool = False
    eta: float = 0.0
    omega_form: str = "batch"
    track_omega: bool = True

    def neurons(self, name):
        """A `LIFLayer` of its own for each call."""
        return LIFLayer(name=name, **dataclasses.asdict(self))


def check_network(input_shape, num_classes, timesteps, width, coding, eta):
    """Raises one clear ValueError for a network that cannot be built."""
    shape = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(
            "`input_shape` must be (height, width, channels), whole numbers. "
            f"Received: {input_shape!r}."
        )
    if min(shape[:2]) < 8:
        raise ValueError(
            f"`input_shape` must be at least 8 pixels high and wide. Received: {shape}."
        )
    check_count("num_classes", num_classes, "number of classes")
    check_count("timesteps", timesteps, "length of the window")
    check_positive("width", width, "multiplier of all layer widths")
    check_choice("coding", coding, CODINGS)
    check_non_negative("eta", eta, "weight of Omega in the loss")


def scaled(channels, width):
    """A layer's number of channels under a width multiplier, at least 1."""
    return max(1, round(channels * width))


def pixel_normalization(channels, mean=None, std=None):
    """The input layer that brings pixels in [0, 1] to zero mean and unit deviation.

    Args:
        channels: Number of channels.
        mean, std: Per channel; None for those of CIFAR-10 at 3 channels, else for 1/2 and 1/4.

    Raises:
        ValueError: If they do not fit the channels, or a deviation is not positive.
    """
    rgb = channels == 3
    mean = mean if mean is not None else (_CIFAR10_MEAN if rgb else (0.5,) * channels)
    std = std if std is not None else (_CIFAR10_STD if rgb else (0.25,) * channels)
    fits = all(len(np.atleast_1d(values)) == channels for values in (mean, std))
    if not fits or np.ndim(mean) != 1 or np.ndim(std) != 1 or min(std) <= 0:
        raise ValueError(
            f"`mean` and `std` must hold {channels} values, one a channel, deviations positive. "
            f"Received: mean={mean!r}, std={std!r}."
        )
    variance = [float(value) ** 2 for value in std]
    return keras.layers.Normalization(
        axis=-1, mean=[float(value) for value in mean], variance=variance, name="pixels"
    )


def convolution(filters, kernel_size, name, strides=1):
    """A convolution without bias, He normal over its fan-out."""
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        name=name,
    )


def hidden_dense(units):
    """A dense layer in front of neurons, He normal over its fan-in.

    The source says nothing of it. Keras' default leaves the neurons behind it next to silent.
    """
    return keras.layers.Dense(units, kernel_initializer="he_normal")


def first_current(image, filters, timesteps, name):
    """The first layer's current under direct coding: computed once, then repeated over time.

    tdBN's statistics over batch and space equal those over batch, time and space, as all time steps
    are the same.
    """
    current = TDBatchNormalization(name=f"{name}_tdbn")(convolution(filters, 3, name)(image))
    return DirectEncoder(timesteps, name="encoder")(current)


def normalized_current(sequence, filters, name):
    """conv - tdBN on a sequence of spikes."""
    current = FoldTime(convolution(filters, 3, name), name=f"{name}_time")(sequence)
    return TDBatchNormalization(name=f"{name}_tdbn")(current)
