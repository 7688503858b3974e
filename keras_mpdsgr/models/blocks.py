"""What the networks are made of: options that all layers share, and the recurring blocks."""

import functools
import inspect

import keras
import numpy as np

from keras_mpdsgr.arguments import check_choice, check_flag, check_integer, check_number
from keras_mpdsgr.fitting.spiking_model import PIXEL_NORMALIZATION, SpikingModel
from keras_mpdsgr.layers import (
    DirectEncoder,
    FoldTime,
    FrequencyEncoder,
    LIFLayer,
    PoissonEncoder,
    Recompute,
    SmoothingEncoder,
    TDBatchNormalization,
    TemporalMean,
)

_ENCODERS = {
    "direct": DirectEncoder,
    "poisson": PoissonEncoder,
    "smoothing": SmoothingEncoder,
    "frequency": FrequencyEncoder,
}
CODINGS = tuple(_ENCODERS)

# Per channel, of pixels in [0, 1], on the training images of CIFAR-10.
_CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
_CIFAR10_STD = (0.2023, 0.1994, 0.2010)


class Blocks:
    """Blocks of one network: they share its coding, its neurons and what is put around those.

    Under direct coding the image stays without a time axis, and so do convolution and tdBN, until
    the first neurons: equal time steps have equal currents, and tdBN's statistics over batch and
    space equal those over batch, time and space.

    Args:
        layers: Number of layers of neurons, each of which gets its part of `eta`.
        timesteps, coding, eta: As of the builders.
        coding_options: More arguments of the coding's encoder.
        before_neurons, after_neurons: Functions from a `LIFLayer`'s name to a layer to be put right
            before or behind it; None for none.
        recompute: Whether `block` keeps only a block's input for the backward pass.
        neuron_options: Arguments of `LIFLayer`. Its `v_threshold` is also tdBN's.

    Raises:
        ValueError: If an argument is out of its range or an option unknown.
    """

    def __init__(
        self,
        layers,
        timesteps,
        /,
        *,
        coding="direct",
        eta=0.0,
        coding_options=None,
        before_neurons=None,
        after_neurons=None,
        recompute=False,
        **neuron_options,
    ):
        self._recompute = check_flag("recompute", recompute)
        self._coding = check_choice("coding", coding, CODINGS)
        if not isinstance(coding_options, dict | None):
            raise ValueError(
                "`coding_options` must be None or a dictionary of the encoder's arguments. "
                f"Received: {coding_options!r}."
            )
        options = dict(coding_options or {})
        _check_options("coding_options", options, _ENCODERS[coding], {"timesteps"})
        _check_options("neuron_options", neuron_options, LIFLayer, {"eta"})
        for name, hook in [("before_neurons", before_neurons), ("after_neurons", after_neurons)]:
            if hook is not None and not callable(hook):
                raise ValueError(
                    f"`{name}` must be None or a function from a name to a Keras layer. "
                    f"Received: {hook!r}."
                )
        eta = check_number("eta", eta, "weight of Omega in the loss", least=0) / layers
        if coding != "direct":
            options["dtype"] = _pixel_policy()  # it takes pixels; the direct one, currents
        self._encoder = _ENCODERS[coding](timesteps, name="encoder", **options)
        self._before, self._after = before_neurons, after_neurons
        self._neuron_options = {"track_omega": True, **neuron_options, "eta": eta}
        self._v_threshold = neuron_options.get("v_threshold", 1.0)
        self.notes: list[str] = []

    def pixels(self, image, mean=None, std=None):
        """Coded and normalized pixels; with a time axis, unless coding is direct."""
        x = image if self._coding == "direct" else self._encoder(image)
        return pixel_normalization(image.shape[-1], mean, std)(x)

    def normalized(self, x, name):
        """TdBN, with or without a time axis."""
        return TDBatchNormalization(v_threshold=self._v_threshold, name=name)(x)

    def neurons(self, x, name, number=""):
        """A `LIFLayer`, `{name}_lif{number}`, between what the network puts around it."""
        name = f"{name}_lif{number}"
        repeated = len(x.shape) == 4
        if repeated:
            x = self._encoder(x)
        x = _hooked(x, self._before, "before_neurons", name)
        # What stands before the neurons may tell the time steps apart.
        constant = {"constant_input": True} if repeated and self._before is None else {}
        x = LIFLayer(name=name, **{**self._neuron_options, **constant})(x)
        return _hooked(x, self._after, "after_neurons", name)

    def block(self, x, build, name):
        """Applies `build`, a function from a tensor to a tensor, by a `Recompute` if asked for."""
        if not self._recompute:
            return build(x)
        entry = keras.Input(batch_shape=x.shape, dtype=x.dtype, name=f"{name}_input")
        inside = keras.Model(entry, build(entry), name=f"{name}_layers")
        return Recompute(inside, name=name)(x)

    def logits(self, x):
        """The read-out's outputs averaged over time, in float32 under mixed precision too."""
        return TemporalMean(dtype="float32", name="logits")(x)

    def model(self, image, x, num_classes, name):
        """The model that ends in a linear read-out."""
        x = folded(keras.layers.Dense(num_classes, name="readout"), x, axes=2)
        model = SpikingModel(image, self.logits(x), name=name)
        model.notes = tuple(self.notes)
        return model


def _check_options(argument, options, layer, reserved):
    allowed = set(inspect.signature(layer.__init__).parameters) - {"self", "kwargs"} - reserved
    unknown = sorted(set(options) - allowed)
    if unknown:
        known = ", ".join(sorted(allowed)) or "none"
        raise ValueError(
            f"`{argument}` must be arguments of {layer.__name__}: {known}. "
            f"Received: {', '.join(unknown)}."
        )


def _hooked(x, hook, argument, name):
    if hook is None:
        return x
    layer = hook(name)
    if not isinstance(layer, keras.layers.Layer):
        raise ValueError(
            f"`{argument}` must return a Keras layer. Received: {layer!r} for {name!r}."
        )
    return layer(x)


def check_network(input_shape, num_classes, timesteps, width):
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
    check_integer(
        "num_classes", num_classes, "number of classes: two for a binary classifier", least=2
    )
    check_integer("timesteps", timesteps, "length of the window", least=1)
    check_number("width", width, "multiplier of all layer widths", above=0)


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
    fits = all(_holds_numbers(values, channels) for values in (mean, std))
    if not fits or min(std) <= 0:
        raise ValueError(
            f"`mean` and `std` must hold {channels} values, one a channel, deviations positive. "
            f"Received: mean={mean!r}, std={std!r}."
        )
    variance = [float(value) ** 2 for value in std]
    return keras.layers.Normalization(
        axis=-1,
        mean=[float(value) for value in mean],
        variance=variance,
        dtype=_pixel_policy(),
        name=PIXEL_NORMALIZATION,
    )


def _pixel_policy():
    """The policy of layers that take pixels: single precision in place of half.

    An image of 8 bits of mantissa hides small perturbations, which would be a defence by accident.
    """
    policy = keras.config.dtype_policy()
    return "float32" if policy.compute_dtype in ("float16", "bfloat16") else policy


def _holds_numbers(values, count):
    array = np.asarray(values)
    return array.shape == (count,) and array.dtype.kind in "iuf" and np.isfinite(array).all()


def folded(layer, x, axes=4):
    """A layer of inputs of so many axes, batch included, applied to one or to each of a sequence.

    Around a sequence there is a `FoldTime`, named after the layer with `_time` behind it.
    """
    if len(x.shape) == axes:
        return layer(x)
    return FoldTime(layer, name=f"{layer.name}_time")(x)


def named(kind, x, name, axes=4):
    """As `folded`, of a layer `kind()`; the name is that of what stands in the network itself."""
    if len(x.shape) == axes:
        return kind(name=name)(x)
    return FoldTime(kind(), name=name)(x)


def convolved(x, filters, kernel_size, name, strides=1):
    """A convolution without bias, padded, He normal over its fan-out."""
    padding = "same"
    if strides > 1:
        # Padded by one side's worth on all sides, as in the source: Keras' "same" would pad an even
        # image on the right alone, a pixel off the 1x1 shortcut of the same stride.
        padding = "valid"
        if kernel_size > 1:
            x = folded(keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad"), x)
    layer = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        name=name,
    )
    return folded(layer, x)


def hidden_dense(x, units, name):
    """A dense layer in front of neurons, He normal over its fan-in.

    The source says nothing of it. Keras' default leaves the neurons behind it next to silent.
    """
    kind = functools.partial(keras.layers.Dense, units, kernel_initializer="he_normal")
    return named(kind, x, name, axes=2)
