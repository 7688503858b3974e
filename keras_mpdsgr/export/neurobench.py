"""The figures of NeuroBench (Yik et al., Nature Communications 2025, "Metrics") for a network."""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

# NeuroBench's classes of activations: of these it counts accumulates.
_SPIKES = (-1, 0, 1)


@dataclasses.dataclass(frozen=True)
class SynapticOperations:
    """What synapses do for one image, on average, over all time steps.

    Attributes:
        effective_macs: Multiply-accumulates: values that are not 0, each by the weights that are
            not 0 which it reaches, of layers whose input is not of -1, 0 and 1 alone.
        effective_acs: The same of layers whose input is: accumulates.
        dense: All products of both kinds of layers, zeros too.
    """

    effective_macs: float
    effective_acs: float
    dense: float

    def __add__(self, other):
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return SynapticOperations(*(one + two for one, two in pairs))


@dataclasses.dataclass(frozen=True)
class NeuroBench:
    """A network by NeuroBench's metrics.

    Attributes:
        footprint: Bytes of the weights, those that are not trained too.
        connection_sparsity: Share of zeros among the weights of synapses, without biases.
        activation_sparsity: Share of zeros among the outputs of neurons (`LIFLayer`, `ReLU`), over
            all of them, images and time steps; NaN without neurons.
        synaptic_operations: The `SynapticOperations` of an image.
    """

    footprint: int
    connection_sparsity: float
    activation_sparsity: float
    synaptic_operations: SynapticOperations

    def to_dict(self):
        """The figures under NeuroBench's own names."""
        operations = self.synaptic_operations
        return {
            "footprint": self.footprint,
            "connection_sparsity": self.connection_sparsity,
            "activation_sparsity": self.activation_sparsity,
            "synaptic_operations": {
                "Effective_MACs": operations.effective_macs,
                "Effective_ACs": operations.effective_acs,
                "Dense": operations.dense,
            },
        }

    def to_markdown(self):
        """The figures as a table."""
        operations = self.synaptic_operations
        rows = [
            ("footprint, bytes", f"{self.footprint:,}"),
            ("connection sparsity", f"{self.connection_sparsity:.4f}"),
            ("activation sparsity", f"{self.activation_sparsity:.4f}"),
            ("effective MACs", f"{operations.effective_macs:,.0f}"),
            ("effective ACs", f"{operations.effective_acs:,.0f}"),
            ("dense", f"{operations.dense:,.0f}"),
        ]
        lines = ["| NeuroBench | |", "| --- | --- |"]
        return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows)]) + "\n"


class Synapses:
    """Counts the operations of one layer over batches of images.

    Args:
        layer: A `Conv2D` or a `Dense`.
        kernel: What it multiplies by, an array.
        shape: Of its input.

    Attributes:
        layer: The layer.
        zeros, weights: How many of its weights are 0, and how many it has.
        every: Synapses that each value of one time step reaches, in the shape of that step.
    """

    def __init__(self, layer, kernel, shape):
        there = np.asarray(kernel) != 0
        self.layer, self.zeros, self.weights = layer, int((~there).sum()), there.size
        self.every = _fan_out(layer, shape, np.ones_like(there))
        self._reached = _fan_out(layer, shape, there) if self.zeros else self.every
        self._effective = self._dense = 0.0
        self._spikes = True

    def add(self, x):
        """Counts what an input, `(n, ...)` or `(n, time, ...)`, makes the layer do."""
        x = np.asarray(x)
        self._effective += float(((x != 0) * self._reached).sum())
        self._dense += float(math.prod(x.shape[: -self.every.ndim]) * self.every.sum())
        self._spikes &= bool(np.isin(x, _SPIKES).all())

    def operations(self, n):
        """The `SynapticOperations` of each of n images."""
        effective = self._effective / n
        macs, acs = (0.0, effective) if self._spikes else (effective, 0.0)
        return SynapticOperations(macs, acs, self._dense / n)


def summed(model, synapses, silent, outputs, n):
    """The `NeuroBench` of a model.

    Args:
        model: A Keras model.
        synapses: The `Synapses` of each call of a layer.
        silent, outputs: How many outputs of neurons were 0, and how many there were.
        n: Images that all was counted on.
    """
    layers = {id(one.layer): one for one in synapses}.values()
    zeros, weights = sum(one.zeros for one in layers), sum(one.weights for one in layers)
    return NeuroBench(
        sum(math.prod(w.shape) * tf.as_dtype(w.dtype).size for w in model.weights),
        zeros / weights if weights else math.nan,
        silent / outputs if outputs else math.nan,
        sum((one.operations(n) for one in synapses), start=SynapticOperations(0.0, 0.0, 0.0)),
    )


def _fan_out(layer, shape, there):
    """How many synapses each value of one time step reaches, in the shape of that step.

    Args:
        layer: A `Conv2D` or a `Dense`.
        shape: Of its input.
        there: Which weights count, booleans in the shape of the kernel.
    """
    if isinstance(layer, keras.layers.Dense):
        return there.sum(axis=1, dtype=np.float64)
    x = tf.zeros((1, *shape[-3:]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = keras.ops.conv(
            x,
            tf.constant(there, tf.float32),
            strides=layer.strides,
            padding=layer.padding,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
        )
    return np.asarray(tape.gradient(y, x)[0], np.float64)
