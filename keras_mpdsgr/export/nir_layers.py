"""Keras' layers, made of NIR's nodes: channels last, with batch and time."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_mpdsgr.export.kernels import Unsupported, same_padding
from keras_mpdsgr.export.nir_neurons import constants
from keras_mpdsgr.layers import FoldTime, LIFLayer

_CONVOLUTIONS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D}
_PADDINGS = {1: keras.layers.ZeroPadding1D, 2: keras.layers.ZeroPadding2D}


@dataclasses.dataclass(frozen=True)
class Flow:
    """What flows along an edge.

    Attributes:
        tensor: Keras' symbolic tensor, channels last.
        shape: Of one time step, as NIR has it: channels first.
        timed: Whether the tensor has a time axis, behind the batch.
        order: Of a flattened image, which of the tensor's features stands at each of NIR's places;
            else None.
    """

    tensor: Any
    shape: tuple[int, ...]
    timed: bool
    order: np.ndarray | None = None


class LayerMaker:
    """Makes layers of nodes, one by one.

    Args:
        nir: The package.
        dt: Length of a time step in seconds.
        encoder: The layer that makes a sequence of an image.
        neuron_options: Arguments of every `LIFLayer`.
    """

    def __init__(self, nir, dt, encoder, neuron_options):
        self._nir, self._dt, self._encoder = nir, dt, encoder
        self._neuron_options = neuron_options
        self._taken = set()

    def encoded(self, flow):
        """The flow with a time axis: before the neurons one step is as another."""
        if flow.timed:
            return flow
        return dataclasses.replace(flow, tensor=self._encoder(flow.tensor), timed=True)

    def sum(self, name, flows):
        """Several edges into one node."""
        if len(flows) == 1:
            return flows[0]
        if any(flow.timed for flow in flows):
            flows = [self.encoded(flow) for flow in flows]
        first = flows[0]
        orders = [np.arange(1) if flow.order is None else flow.order for flow in flows]
        same = all(np.array_equal(order, orders[0]) for order in orders)
        if not same or any(flow.shape != first.shape for flow in flows):
            shapes = ", ".join(str(flow.shape) for flow in flows)
            raise Unsupported(f"the edges into it must carry signals of one shape, not {shapes}")
        added = keras.layers.Add(name=self._name(f"{name}_sum"))
        return dataclasses.replace(first, tensor=added([flow.tensor for flow in flows]))

    def layer(self, name, node, flow):
        """The flow behind a node."""
        nir = self._nir
        makers = {
            nir.Affine: self._dense,
            nir.Linear: self._dense,
            nir.Scale: self._scale,
            nir.Conv1d: self._convolution,
            nir.Conv2d: self._convolution,
            nir.AvgPool2d: self._pool,
            nir.SumPool2d: self._pool,
            nir.Flatten: self._flatten,
            nir.IF: self._neurons,
            nir.LIF: self._neurons,
            nir.Threshold: self._neurons,
        }
        if type(node) not in makers:
            raise Unsupported(_REASONS.get(type(node).__name__, "there is no layer for it"))
        return makers[type(node)](name, node, flow)

    def _dense(self, name, node, flow):
        weight = _float32("weight", node.weight)
        if len(flow.shape) != 1 or weight.ndim != 2 or weight.shape[1] != flow.shape[0]:
            raise Unsupported(
                f"its weight has shape {weight.shape}, which does not fit its input {flow.shape}"
            )
        kernel = np.empty_like(weight.T)
        kernel[flow.order if flow.order is not None else slice(None)] = weight.T
        bias = getattr(node, "bias", None)
        layer = keras.layers.Dense(len(weight), use_bias=bias is not None)
        weights = [kernel] if bias is None else [kernel, _bias(bias, len(weight))]
        return self._applied(name, layer, flow, (len(weight),), weights)

    def _convolution(self, name, node, flow):
        weight = _float32("weight", node.weight)
        rank = weight.ndim - 2
        groups = int(node.groups)
        if len(flow.shape) != rank + 1 or weight.shape[1] * groups != flow.shape[0]:
            raise Unsupported(
                f"its weight has shape {weight.shape}, in {groups} groups, which does not fit its "
                f"input {flow.shape}"
            )
        size, sides = weight.shape[2:], flow.shape[1:]
        strides, dilation = (_each(node, key, rank) for key in ("stride", "dilation"))
        same = [same_padding(*axis) for axis in zip(sides, size, strides, dilation, strict=True)]
        if isinstance(node.padding, str):
            if node.padding == "same" and max(strides) > 1:
                raise Unsupported("its padding must not be 'same' with a stride, as in PyTorch")
            padding = same if node.padding == "same" else [(0, 0)] * rank
        else:
            padding = [(zeros, zeros) for zeros in _each(node, "padding", rank)]
        by_keras = padding == same
        if not by_keras:
            flow = self._padded(name, flow, padding)
        layer = _CONVOLUTIONS[rank](
            len(weight), size, strides, "same" if by_keras else "valid",
            dilation_rate=dilation, groups=groups,
        )  # fmt: skip
        weights = [np.moveaxis(weight, (0, 1), (-1, -2)), _bias(node.bias, len(weight))]
        return self._applied(name, layer, flow, None, weights)

    def _padded(self, name, flow, padding):
        if not np.any(padding):
            return flow
        layer = _PADDINGS[len(padding)](padding if len(padding) > 1 else padding[0])
        return self._applied(f"{name}_padding", layer, flow, None)

    def _pool(self, name, node, flow):
        if len(flow.shape) != 3:
            raise Unsupported(f"it takes images, and its input is {flow.shape}")
        size, strides, padding = (_each(node, k, 2) for k in ("kernel_size", "stride", "padding"))
        if isinstance(node, self._nir.AvgPool2d):
            if any(padding):
                raise Unsupported(
                    "its padding must be 0: NIR does not say whether it counts into the average"
                )
            return self._applied(name, keras.layers.AveragePooling2D(size, strides), flow, None)
        flow = self._padded(name, flow, [(zeros, zeros) for zeros in padding])
        # A sum of spikes is a whole number, which an average times the size of the window may miss.
        layer = keras.layers.DepthwiseConv2D(
            size, strides, depthwise_initializer="ones", use_bias=False
        )
        if strides[0] != strides[1]:
            raise Unsupported("its strides must be equal")
        return self._applied(name, layer, flow, None)

    def _flatten(self, name, node, flow):
        first, last, rank = int(node.start_dim), int(node.end_dim), len(flow.shape)
        declared = (node.input_type or {}).get("input")
        batch = declared is not None and len(declared) == rank + 1 and first == 1
        last = last + rank if last < 0 else last - batch
        if first - batch > 0 or last != rank - 1:
            raise Unsupported(f"it must flatten all of its input {flow.shape}, without the batch")
        if rank == 1:
            return flow
        size = int(np.prod(flow.shape))
        # NIR's features have channels first.
        places = np.arange(size).reshape(*flow.shape[1:], flow.shape[0])
        order = np.moveaxis(places, -1, 0).reshape(-1)
        flat = self._applied(name, keras.layers.Flatten(), flow, (size,))
        if np.array_equal(order, np.arange(size)):
            return flat
        return dataclasses.replace(flat, order=order)

    def _scale(self, name, node, flow):
        return self._rescaled(name, flow, _float32("scale", node.scale))

    def _neurons(self, name, node, flow):
        found = constants(self._nir, node, flow.shape, self._dt)
        if np.any(found.scale != 1.0) or np.any(found.shift != 0.0):
            flow = self._rescaled(f"{name}_current", flow, found.scale, found.shift)
        flow = self.encoded(flow)
        layer = LIFLayer(
            found.tau, found.v_threshold, name=self._name(name), **self._neuron_options
        )
        return dataclasses.replace(flow, tensor=layer(flow.tensor))

    def _rescaled(self, name, flow, scale, shift=0.0):
        values = [self._channels_last(part, flow) for part in (scale, shift)]
        layer = keras.layers.Rescaling(*values, name=self._name(name))
        return dataclasses.replace(flow, tensor=layer(flow.tensor))

    def _channels_last(self, values, flow):
        """A number, or an array of the signal's shape, as `Rescaling` takes and saves it."""
        values = np.asarray(values)
        if values.size == 1:
            return float(values.reshape(()))
        if values.ndim != len(flow.shape) or any(
            n not in (1, m) for n, m in zip(values.shape, flow.shape, strict=True)
        ):
            raise Unsupported(f"its scale has shape {values.shape}, and its input {flow.shape}")
        if flow.order is not None:
            ordered = np.empty_like(values)
            ordered[flow.order] = values
            return ordered.tolist()
        values = np.moveaxis(values, 0, -1)
        # One value a channel, where that is all.
        return values.reshape(-1).tolist() if values[..., 0].size == 1 else values.tolist()

    def _applied(self, name, layer, flow, shape, weights=()):
        """The flow behind a layer that knows no time; `shape` of None is the layer's own."""
        if flow.timed:
            wrapped = FoldTime(layer, name=self._name(name))
        else:
            layer.name = self._name(name)
            wrapped = layer
        tensor = wrapped(flow.tensor)
        if weights:
            layer.set_weights(weights)
        if shape is None:
            *sides, channels = tensor.shape[2 if flow.timed else 1 :]
            shape = (channels, *sides)
        return Flow(tensor, tuple(shape), flow.timed)

    def _name(self, name):
        name = name.replace("/", "_")
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


_REASONS = {
    "CubaLIF": "its synaptic current is a second state, which a LIFLayer does not have",
    "CubaLI": "there are no neurons without spikes here",
    "LI": "there are no neurons without spikes here. Export the network without its read-out",
    "I": "there are no neurons without spikes here. Export the network without its read-out",
    "Delay": "there are no delays here",
    "NIRGraph": "it is a graph inside the graph, as of recurrent neurons",
    "Input": "a graph must have one input and one output",
    "Output": "a graph must have one input and one output",
}


def _each(node, key, rank):
    """One whole number for each axis."""
    values = np.asarray(getattr(node, key)).reshape(-1)
    if values.size not in (1, rank) or not np.array_equal(values, values.astype(int)):
        raise Unsupported(f"its {key} must be {rank} whole numbers")
    return tuple(int(n) for n in np.broadcast_to(values, (rank,)))


def _bias(bias, units):
    bias = _float32("bias", bias)
    return np.ascontiguousarray(np.broadcast_to(bias, (units,)))


def _float32(name, values):
    values = np.asarray(values, np.float32)
    if not np.isfinite(values).all():
        raise Unsupported(f"its {name} must hold finite numbers")
    return values
