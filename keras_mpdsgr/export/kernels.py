"""Kernels of dense layers and convolutions, in the numbers and shapes that NIR can hold."""

import keras
import numpy as np

# Of a quantized kernel, asked for at a time: what the layer computes with beside them stays small.
_ROWS = 1024


class Unsupported(Exception):
    """Why a layer has no node in NIR, in words that follow the layer's name."""


def dense_kernel(layer, features):
    """The kernel that a linear `Dense` layer multiplies by, with LoRA and scales of quantization.

    Args:
        layer: The layer.
        features: Number of its inputs.

    Returns:
        A float32 array, `(features, units)`.
    """
    if layer.quantization_mode is None:
        return _float32(layer.kernel)
    if layer.quantization_mode == "float8":
        raise Unsupported("its inputs are rounded to float8. Use int8 or int4")
    # Each way to quantize packs its numbers otherwise, but the layer itself can always be asked.
    asked = np.split(np.eye(features, dtype=np.float32), range(_ROWS, features, _ROWS))
    return np.concatenate([_float32(layer(rows)) for rows in asked]) - bias_of(layer, layer.units)


def bias_of(layer, units):
    """The bias of a layer, zeros if it has none, `(units,)` in float32."""
    if not layer.use_bias:
        return np.zeros(units, np.float32)
    return _float32(layer.bias)


def square_kernel(layer, sides, padding):
    """The kernel of a `Conv2D`, square and of one group, and its padding, equal on both sides.

    nir 1.0.8 takes each kernel for square and of one group when it infers shapes, also on reading a
    file. Another kernel is completed by zeros, as is one whose padding is longer on one side.

    Args:
        layer: The layer.
        sides: Height and width of its input.
        padding: Zeros before and behind each of them.

    Returns:
        Float32 weights `(filters, channels, side, side)`, and the padding of rows and of columns.
    """
    kernel = _float32(layer.kernel).transpose(3, 2, 0, 1)
    size = max(layer.kernel_size)
    axes = list(
        zip(sides, padding, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    )
    for side in range(size, size + 3):
        shifts = [_shift(side, *axis) for axis in axes]
        if None not in shifts:
            break
    else:
        raise Unsupported(
            f"its kernel {layer.kernel_size} cannot be made square by zeros, as sides or padding "
            "differ by an odd number. Use sides that are both odd or both even"
        )
    filters, inputs, *_ = kernel.shape
    square = np.zeros((filters, inputs * layer.groups, side, side), np.float32)
    rows, columns = (
        slice(shift, shift + k) for shift, k in zip(shifts, layer.kernel_size, strict=True)
    )
    for group, own in enumerate(np.split(np.arange(filters), layer.groups)):
        square[own, group * inputs : (group + 1) * inputs, rows, columns] = kernel[own]
    before = (
        low + dilation * shift
        for (_, (low, _), _, _, dilation), shift in zip(axes, shifts, strict=True)
    )
    return square, tuple(int(n) for n in before)


def same_padding(side, size, stride, dilation):
    """Zeros that Keras' padding "same" adds before and behind one axis."""
    total = max((-(-side // stride) - 1) * stride + dilation * (size - 1) + 1 - side, 0)
    return total // 2, total - total // 2


def output_side(side, padding, size, stride, dilation):
    """Length of one axis behind a convolution or a pool."""
    return (side + sum(padding) - dilation * (size - 1) - 1) // stride + 1


def _float32(values):
    return np.asarray(keras.ops.convert_to_numpy(values), np.float32)


def _shift(longer, side, padding, size, stride, dilation):
    """Zeros before one axis of a kernel that make it `longer`, so that equal padding serves."""
    wanted = output_side(side, padding, size, stride, dilation)
    for shift in range(longer - size + 1):
        equal = (padding[0] + dilation * shift,) * 2
        if output_side(side, equal, longer, stride, dilation) == wanted:
            return shift
    return None
