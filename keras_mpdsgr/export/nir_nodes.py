"""NIR's nodes, made of Keras' layers: channels first, no batch, no time."""

import dataclasses

import keras
import numpy as np

from keras_mpdsgr.export.kernels import (
    Unsupported,
    bias_of,
    dense_kernel,
    output_side,
    same_padding,
    square_kernel,
)


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
        sides = signal.shape[1:]
        padding = [(zeros, zeros) for zeros in signal.padding]
        windows = list(zip(layer.kernel_size, layer.strides, layer.dilation_rate, strict=True))
        if layer.padding == "same":
            padded = [side + sum(zeros) for side, zeros in zip(sides, padding, strict=True)]
            padding = [
                tuple(np.add(zeros, same_padding(side, *window)))
                for side, zeros, window in zip(padded, padding, windows, strict=True)
            ]
        weight, node_padding = square_kernel(layer, sides, padding)
        node = self._nir.Conv2d(
            input_shape=tuple(sides),
            weight=weight,
            stride=tuple(layer.strides),
            padding=node_padding,
            dilation=tuple(layer.dilation_rate),
            groups=1,
            bias=bias_of(layer, len(weight)),
        )
        shape = len(weight), *map(output_side, sides, padding, *zip(*windows, strict=True))
        return self._add(name, node, dataclasses.replace(signal, padding=(0, 0)), shape)

    def dense(self, name, layer, signal):
        """A `Dense` layer of vectors."""
        _check_linear(layer)
        if len(signal.shape) != 1:
            raise Unsupported("it takes vectors. Put a Flatten layer before it")
        kernel = dense_kernel(layer, signal.shape[0])
        if signal.order is not None:
            kernel = kernel[signal.order]
        node = self._nir.Affine(
            weight=np.ascontiguousarray(kernel.T), bias=bias_of(layer, layer.units)
        )
        return self._add(name, node, signal, (layer.units,))

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
            sum(same_padding(n, k, s, 1)) for n, k, s in zip(sides, size, strides, strict=True)
        ):
            raise Unsupported("Keras does not count padded pixels into the average. Use 'valid'")
        node = self._nir.AvgPool2d(
            kernel_size=np.array(size), stride=np.array(strides), padding=np.array((0, 0))
        )
        none = (0, 0)
        shape = signal.shape[0], *map(output_side, sides, (none, none), size, strides, (1, 1))
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
        name = name.replace("/", "_").replace(".", "_")  # HDF5 and PyTorch would make groups of it
        while name in self._nodes or (name == "output" and not isinstance(node, self._nir.Output)):
            name += "_"
        self._nodes[name] = node
        self._edges += [(source, name) for source in signal.sources]
        return Signal((name,), tuple(int(n) for n in shape), order)


def _check_linear(layer):
    if layer.activation is not keras.activations.linear:
        raise Unsupported("its activation must be linear")


def _check_channels_last(layer):
    if layer.data_format != "channels_last":
        raise Unsupported("its data format must be channels_last")
