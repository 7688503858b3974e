"""NIR's nodes, made of Keras' layers: channels first, no batch, no time."""

import dataclasses

import keras
import numpy as np


class Unsupported(Exception):
    """Why a layer has no node in NIR, in words that follow the layer's name."""


@dataclasses.dataclass(frozen=True)
class Signal:
    """What flows along edges, for one time step.

    Attributes:
        sources: Names of the nodes it comes from, whose outputs add up.
        shape: `(channels, height, width)` or `(features,)`.
        order: Of a flattened image, which of Keras' features stands at each place; else None.
        padding: Zeros that the convolution behind it still has to add on either side, in rows and
            columns.
        shared: Whether several calls take it, so that its node must stay as it is.
    """

    sources: tuple[str, ...]
    shape: tuple[int, ...]
    order: np.ndarray | None = None
    padding: tuple[int, int] = (0, 0)
    shared: bool = False

    def taken_by(self, calls):
        """The signal as each of a number of calls takes it."""
        return dataclasses.replace(self, shared=self.shared or calls > 1)

    def matches(self, other):
        """Whether two signals can be added."""
        if (self.order is None) != (other.order is None) or self.shape != other.shape:
            return False
        same = self.order is None or np.array_equal(self.order, other.order)
        return same and self.padding == other.padding == (0, 0)

    def ordered(self, values):
        """One value a channel, or one for all, in the signal's own order."""
        values = np.broadcast_to(values, (self.shape[0],))
        return values if self.order is None else values[self.order]


class NodeWriter:
    """Adds nodes one by one, and makes a graph of them.

    Args:
        nir: The package.
        dt: Length of a time step in seconds.
    """

    def __init__(self, nir, dt):
        self._nir, self._dt = nir, dt
        self._nodes, self._edges = {}, []

    def input(self, shape):
        """The input node, of a shape with channels last."""
        shape = (shape[-1], *shape[:-1])
        self._nodes["input"] = self._nir.Input(np.array(shape))
        return Signal(("input",), shape)

    def graph(self, signal):
        """The graph that ends with a signal."""
        if signal.order is not None or signal.padding != (0, 0):
            raise ValueError(
                "`model` must not end in a Flatten or ZeroPadding2D layer to be a NIR graph, which "
                "has another order of values. Put a dense layer or a convolution behind it."
            )
        self._add("output", self._nir.Output(np.array(signal.shape)), signal, signal.shape)
        return self._nir.NIRGraph(self._nodes, self._edges, metadata={"dt": self._dt})

    def neurons(self, name, layer, signal):
        """A `LIFLayer`."""
        if layer.reset != "hard":
            raise Unsupported("its neurons reset to a value, not by subtraction. Use reset='hard'")
        learned = layer.tau if layer.leak is None else keras.ops.convert_to_numpy(layer.leak)
        tau = np.unique(np.asarray(learned, np.float64))
        if tau.size > 1:
            raise Unsupported("its leak must be the same at all time steps")
        leaves = 1.0 - float(tau[0])

        def everywhere(value):
            return np.full(signal.shape, value, np.float32)

        threshold = np.float32(layer.v_threshold * (leaves or 1.0))
        common = {
            "v_threshold": everywhere(np.nextafter(threshold, np.float32(-np.inf))),
            "v_reset": everywhere(0.0),
        }
        if leaves == 0.0:
            node = self._nir.IF(r=everywhere(1.0 / self._dt), **common)
        else:
            node = self._nir.LIF(
                tau=everywhere(self._dt / leaves),
                r=everywhere(1.0),
                v_leak=everywhere(0.0),
                **common,
            )
        return self._add(name, node, signal, signal.shape, signal.order)

    def convolution(self, name, layer, signal):
        """A `Conv2D`, with the zeros that a `ZeroPadding2D` before it asks for."""
        _check_linear(layer)
        _check_channels_last(layer)
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        size, strides, dilation = layer.kernel_size, layer.strides, layer.dilation_rate
        sides = signal.shape[1:]
        added = [
            _same_padding(*of_axis) if layer.padding == "same" else 0
            for of_axis in zip(
                (n + 2 * pad for n, pad in zip(sides, signal.padding, strict=True)),
                size, strides, dilation, strict=True,
            )
        ]  # fmt: skip
        padding = tuple(int(a + b) for a, b in zip(added, signal.padding, strict=True))
        node = self._nir.Conv2d(
            input_shape=tuple(sides),
            weight=kernel.transpose(3, 2, 0, 1).astype(np.float32),
            stride=tuple(strides),
            padding=padding,
            dilation=tuple(dilation),
            groups=layer.groups,
            bias=_bias(layer, kernel.shape[-1]),
        )
        shape = (kernel.shape[-1], *_output_sides(sides, padding, size, strides, dilation))
        return self._add(name, node, dataclasses.replace(signal, padding=(0, 0)), shape)

    def dense(self, name, layer, signal):
        """A `Dense` layer of vectors."""
        _check_linear(layer)
        if len(signal.shape) != 1:
            raise Unsupported("it takes vectors. Put a Flatten layer before it")
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        if signal.order is not None:
            kernel = kernel[signal.order]
        node = self._nir.Affine(
            weight=np.ascontiguousarray(kernel.T, np.float32), bias=_bias(layer, kernel.shape[-1])
        )
        return self._add(name, node, signal, (kernel.shape[-1],))

    def affine(self, name, signal, scale, shift):
        """Scale and shift of each channel, folded into the node before where that is exact.

        Args:
            name: Of the node, if one is made.
            signal: What is scaled.
            scale, shift: One value a channel, or one for all.
        """
        scale, shift = (signal.ordered(values) for values in (scale, shift))
        before = self._nodes[signal.sources[0]]
        synaptic = isinstance(before, self._nir.Conv2d | self._nir.Affine)
        exact = signal.padding == (0, 0) and len(signal.sources) == 1 and not signal.shared
        if synaptic and exact:
            per_output = scale.reshape(-1, *[1] * (before.weight.ndim - 1))
            before.weight = (before.weight * per_output).astype(np.float32)
            before.bias = (before.bias * scale + shift).astype(np.float32)
            return signal
        if signal.padding != (0, 0):
            raise Unsupported("it must not stand between zero padding and a convolution")
        weight, bias = np.diag(scale).astype(np.float32), shift.astype(np.float32)
        if len(signal.shape) == 1:
            node = self._nir.Affine(weight=weight, bias=bias)
        else:
            node = self._nir.Conv2d(
                input_shape=tuple(signal.shape[1:]), weight=weight[:, :, None, None], stride=1,
                padding=0, dilation=1, groups=1, bias=bias,
            )  # fmt: skip
        return self._add(name, node, signal, signal.shape, signal.order)

    def average_pool(self, name, layer, signal):
        """An `AveragePooling2D`."""
        _check_channels_last(layer)
        size, strides = tuple(layer.pool_size), tuple(layer.strides)
        sides = signal.shape[1:]
        if layer.padding == "same" and any(
            _same_padding(n, k, s, 1) for n, k, s in zip(sides, size, strides, strict=True)
        ):
            raise Unsupported("Keras does not count padded pixels into the average. Use 'valid'")
        node = self._nir.AvgPool2d(
            kernel_size=np.array(size), stride=np.array(strides), padding=np.array((0, 0))
        )
        shape = (signal.shape[0], *_output_sides(sides, (0, 0), size, strides, (1, 1)))
        return self._add(name, node, signal, shape)

    def zero_padding(self, name, layer, signal):
        """A `ZeroPadding2D`, kept for the convolution behind it."""
        _check_channels_last(layer)
        rows, columns = layer.padding
        if rows[0] != rows[1] or columns[0] != columns[1]:
            raise Unsupported("its padding must be the same on both sides")
        padding = (signal.padding[0] + rows[0], signal.padding[1] + columns[0])
        return dataclasses.replace(signal, padding=padding)

    def flatten(self, name, layer, signal):
        """A `Flatten` of images, or of vectors, which does nothing."""
        _check_channels_last(layer)
        if len(signal.shape) == 1:
            return signal
        channels, height, width = signal.shape
        places = np.arange(channels * height * width).reshape(height, width, channels)
        order = places.transpose(2, 0, 1).reshape(-1)
        node = self._nir.Flatten(
            input_type={"input": np.array(signal.shape)}, start_dim=0, end_dim=-1
        )
        return self._add(name, node, signal, (order.size,), order)

    def _add(self, name, node, signal, shape, order=None):
        if signal.padding != (0, 0):
            raise Unsupported("zero padding must be followed by a convolution")
        name = name.replace("/", "_")  # HDF5 would make groups of it
        self._nodes[name] = node
        self._edges += [(source, name) for source in signal.sources]
        return Signal((name,), tuple(int(n) for n in shape), order)


def _bias(layer, units):
    if not layer.use_bias:
        return np.zeros(units, np.float32)
    return keras.ops.convert_to_numpy(layer.bias).astype(np.float32)


def _check_linear(layer):
    if layer.activation is not keras.activations.linear:
        raise Unsupported("its activation must be linear")


def _check_channels_last(layer):
    if layer.data_format != "channels_last":
        raise Unsupported("its data format must be channels_last")


def _same_padding(side, size, stride, dilation):
    """Zeros on either side that Keras' padding "same" adds to one axis."""
    total = max((-(-side // stride) - 1) * stride + dilation * (size - 1) + 1 - side, 0)
    if total % 2:
        raise Unsupported("padding 'same' puts more zeros on one side than on the other here")
    return total // 2


def _output_sides(sides, padding, size, strides, dilation):
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, k, s, d in zip(sides, padding, size, strides, dilation, strict=True)
    )
