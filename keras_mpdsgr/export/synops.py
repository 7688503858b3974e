"""Synaptic operations of a network and the energy they would take, beside the same ANN's."""

import dataclasses
import math

import keras
import numpy as np

from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.export import neurobench
from keras_mpdsgr.export.graph import ENCODERS, calls_of, unwrapped
from keras_mpdsgr.export.kernels import dense_kernel
from keras_mpdsgr.export.steps import OFF_IN_INFERENCE
from keras_mpdsgr.inputs import check_fits
from keras_mpdsgr.layers import (
    LIFLayer,
    StochasticGate,
    TDBatchNormalization,
    TemporalGain,
    TemporalMean,
    WeightedSum,
)

# Picojoules of a 32-bit floating-point operation in 45 nm at 0.9 V: an addition, and a product with
# an addition (Horowitz, "Computing's energy problem", ISSCC 2014: 0.9 and 3.7).
ACCUMULATE_PICOJOULES = 0.9
MULTIPLY_ACCUMULATE_PICOJOULES = 4.6

# What moves values, adds zeros, or does nothing: an average of spikes stays one.
_MOVES = (
    *OFF_IN_INFERENCE, keras.layers.Concatenate, keras.layers.Cropping2D, keras.layers.Flatten,
    keras.layers.Permute, keras.layers.Reshape, keras.layers.ZeroPadding2D,
)  # fmt: skip
_AVERAGES = (keras.layers.AveragePooling2D, keras.layers.GlobalAveragePooling2D)
_NEURONS = (LIFLayer, keras.layers.ReLU)
_COUNTED = (keras.layers.Conv2D, keras.layers.Dense)
_NO_SYNAPSES = (
    StochasticGate, TDBatchNormalization, TemporalGain, WeightedSum,
    keras.layers.BatchNormalization, keras.layers.Normalization,
)  # fmt: skip
# Layers and operations that multiply their inputs with each other, by name.
_PRODUCTS = frozenset(
    ["AdditiveAttention", "Attention", "Conv", "Dot", "Einsum", "Matmul", "Tensordot", "Vecdot"]
)


@dataclasses.dataclass(frozen=True)
class LayerEnergy:
    """What the synapses of one layer do for one image, on average.

    Attributes:
        name: The layer's name.
        source: What feeds it: `"spikes"` (zeros and ones), `"averaged spikes"` (behind an average
            pool) or `"analog"` values.
        rate: Spikes a neuron and time step of what feeds it; None where that is analog.
        operations: Accumulates (one a spike and synapse it reaches), or multiply-accumulates where
            its input is analog (one a synapse and time step), over all time steps.
        ann_operations: Multiply-accumulates of the same layer in an ANN.
    """

    name: str
    source: str
    rate: float | None
    operations: float
    ann_operations: int

    @property
    def spiking(self):
        """Whether its operations are accumulates; else multiply-accumulates."""
        return self.source != "analog"

    @property
    def picojoules(self):
        """Energy of the spiking layer."""
        each = ACCUMULATE_PICOJOULES if self.spiking else MULTIPLY_ACCUMULATE_PICOJOULES
        return self.operations * each

    @property
    def ann_picojoules(self):
        """Energy of the same layer in an ANN."""
        return self.ann_operations * MULTIPLY_ACCUMULATE_PICOJOULES


@dataclasses.dataclass(frozen=True)
class EnergyReport:
    """Synaptic operations of a network, layer by layer.

    Attributes:
        layers: A `LayerEnergy` for each layer with synapses, in call order.
        firing_rates: Spikes a neuron and time step of each `LIFLayer`, by name.
        n: Number of images that the counts are means over.
        neurobench: The same network by NeuroBench's metrics, a `NeuroBench`.
    """

    layers: tuple[LayerEnergy, ...]
    firing_rates: dict
    n: int
    neurobench: neurobench.NeuroBench

    @property
    def synops(self):
        """Accumulates an image: spikes times the synapses they reach."""
        return sum(layer.operations for layer in self.layers if layer.spiking)

    @property
    def macs(self):
        """Multiply-accumulates an image, of layers with analog input."""
        return sum(layer.operations for layer in self.layers if not layer.spiking)

    @property
    def picojoules(self):
        """Energy of an image."""
        return sum(layer.picojoules for layer in self.layers)

    @property
    def ann_picojoules(self):
        """Energy of an image in the same ANN."""
        return sum(layer.ann_picojoules for layer in self.layers)

    @property
    def ratio(self):
        """Energy by the ANN's: below 1 the spiking network takes less."""
        return self.picojoules / self.ann_picojoules

    def to_markdown(self):
        """The tables as Markdown, energies in nanojoules an image."""
        lines = [
            f"| {self.n} images | input | rate | operations | energy, nJ | ANN, nJ |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for layer in self.layers:
            rate = "" if layer.rate is None else f"{layer.rate:.4f}"
            kind = "AC" if layer.spiking else "MAC"
            lines.append(
                f"| {layer.name} | {layer.source} | {rate} | {layer.operations:,.0f} {kind} "
                f"| {layer.picojoules / 1e3:,.2f} | {layer.ann_picojoules / 1e3:,.2f} |"
            )
        operations = f"{self.macs:,.0f} MAC, {self.synops:,.0f} AC"
        lines.append(
            f"| all | | | {operations} | {self.picojoules / 1e3:,.2f} "
            f"| {self.ann_picojoules / 1e3:,.2f} |"
        )
        return "\n".join([*lines, "", self.neurobench.to_markdown()])


def energy(model, x, batch_size=64):
    """Counts the synaptic operations of a model on images, and what they cost beside an ANN.

    A spike costs one accumulate for each synapse it reaches, `spikes * fan-out` (SynOps), borders
    counted as they are. Spikes are zeros and ones, wherever they come from: `LIFLayer`s, a coding,
    event data, pixels that are black or white, and what a maximum pool or a reshape makes of these.
    Through an average pool without padding a spike reaches the synapses of its cell. All else is
    analog, pixels and normalized values first, and costs a multiply-accumulate for each synapse:
    once where it stands before a direct encoder, else at each time step. The ANN is the same
    layers, once, multiply-accumulates all. An accumulate takes 0.9 pJ, a multiply-accumulate 4.6 pJ
    (Horowitz, 2014: 32-bit floating point, 45 nm).

    Not counted: normalization (it folds into weights), biases, the neurons' own updates, and
    reading and moving data, which on most hardware costs more than the arithmetic. So these numbers
    compare networks; they predict no chip's consumption.

    Args:
        model: A functional or Sequential Keras model with its synapses in `Conv2D` and `Dense`
            layers.
        x: Images, `(n, ...)`.
        batch_size: Images at a time.

    Returns:
        An `EnergyReport`.

    Raises:
        ValueError: If a layer has weights whose operations cannot be counted, such as a depthwise
            convolution, or keeps a state, or the images are none of the model's.

    Example:

    >>> import numpy as np
    >>> from keras_mpdsgr import models
    >>> model = models.vgg11((8, 8, 1), 10, timesteps=4, width=0.02)
    >>> report = energy(model, np.ones((2, 8, 8, 1), "float32"))
    >>> report.layers[0].operations, report.layers[0].spiking
    (484.0, False)
    """
    batch_size = check_integer("batch_size", batch_size, "images at a time", least=1)
    graph = calls_of(model)
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.floating) or not np.isfinite(x).all():
        raise ValueError(f"`x` must hold finite floating-point numbers. Received: {_shown(x)}.")
    if x.ndim < 2 or not len(x):
        raise ValueError(f"`x` must hold at least one image, (n, ...). Received: {_shown(x)}.")
    check_fits(model, x)
    for call in graph.calls:
        _check_countable(call)
    counted = [call.name for call in graph.calls if type(unwrapped(call.layer)) in _COUNTED]
    sums, sources = {name: np.zeros(4) for name in counted}, {name: set() for name in counted}
    rates = {c.name: 0.0 for c in graph.calls if isinstance(unwrapped(c.layer), LIFLayer)}
    synapses, silent, outputs = {}, 0, 0
    for start in range(0, len(x), batch_size):
        batch = keras.ops.convert_to_tensor(x[start : start + batch_size])
        values, units = {graph.input: batch}, {graph.input: _unit(batch)}
        # Length of axis 1 where it is time, else 0. Without an encoder neurons take sequences.
        steps = {graph.input: batch.shape[1] if rates and not graph.encoded else 0}
        for call in graph.calls:
            before, name = call.inputs[0], call.name
            value = values[call.output] = call.run(call.layer, values)
            steps[call.output] = _steps(unwrapped(call.layer), steps[before], value)
            taken = {units[key] for key in call.inputs}
            units[call.output] = _unit_behind(unwrapped(call.layer), values[before], taken, value)
            if name in rates:
                rates[name] += _mean_per_image(value) / len(x)
            if isinstance(unwrapped(call.layer), _NEURONS):
                silent += int(np.sum(np.asarray(value) == 0))
                outputs += math.prod(value.shape)
            if name in sums:
                sources[name].add(units[before])
                if name not in synapses:
                    layer, given = unwrapped(call.layer), values[before]
                    kernel = _kernel(layer, given)
                    synapses[name] = neurobench.Synapses(layer, kernel, given.shape)
                synapses[name].add(values[before])
                reached = synapses[name].every
                counts = _counts(reached, values[before], units[before], steps[before])
                sums[name] += counts / len(x)
    layers = tuple(_layer_energy(name, sources[name], *sums[name]) for name in counted)
    found = neurobench.summed(model, synapses.values(), silent, outputs, len(x))
    return EnergyReport(layers, rates, len(x), found)


def _steps(layer, before, value):
    if isinstance(layer, ENCODERS):
        return value.shape[1]
    stays = not isinstance(layer, TemporalMean) and value.shape[1:2] == (before,)
    return before if stays else 0


def _unit(x):
    """How many spikes a value of 1 stands for: 1 if all are zeros and ones; None if analog."""
    return 1.0 if np.isin(np.asarray(x), (0, 1)).all() else None


def _unit_behind(layer, x, taken, value):
    """The unit of a layer's output, from those of its inputs and from its values."""
    (unit, *others) = taken
    if unit and not others:
        if type(layer) in _MOVES:
            return unit
        if type(layer) in _AVERAGES and getattr(layer, "padding", "valid") == "valid":
            return unit * math.prod(getattr(layer, "pool_size", x.shape[-3:-1]))
    return _unit(value)


def _counts(reached, x, unit, steps):
    """Of one batch: accumulates, input rate, multiply-accumulates, an ANN's operations.

    `reached` are the synapses that each value of a time step reaches.
    """
    every = float(math.prod(x.shape[: -reached.ndim]) * reached.sum())
    events = np.asarray(x, np.float64) * (unit or 0.0)
    return np.array([(events * reached).sum(), _mean_per_image(x), every, every / (steps or 1)])


def _kernel(layer, x):
    """The kernel that a layer multiplies by."""
    # The kernel of float8 is whole, that of other types packed.
    if isinstance(layer, keras.layers.Dense) and layer.quantization_mode not in (None, "float8"):
        return dense_kernel(layer, x.shape[-1])
    return keras.ops.convert_to_numpy(layer.kernel)


def _layer_energy(name, units, accumulates, rate, every, dense):
    if None in units:
        return LayerEnergy(name, "analog", None, float(every), round(dense))
    source = "spikes" if units == {1.0} else "averaged spikes"
    return LayerEnergy(name, source, float(rate), float(accumulates), round(dense))


def _mean_per_image(x):
    """Mean over all but the batch, summed over the batch."""
    return float(np.mean(np.asarray(x, np.float64)) * x.shape[0])


def _shown(x):
    return f"shape={x.shape}, dtype={x.dtype}"


def _check_countable(call):
    layer = unwrapped(call.layer)
    if getattr(layer, "stateful", False):
        raise ValueError(
            "`model` must keep no state between calls to be counted, or each image would meet what "
            f"the one before has left. Received: {call.name}, with stateful=True."
        )
    known = type(layer) in (*_COUNTED, *_NO_SYNAPSES, LIFLayer)
    if known or not (getattr(layer, "weights", None) or type(layer).__name__ in _PRODUCTS):
        return
    raise ValueError(
        "`model` must have its synapses in Conv2D and Dense layers to be counted. "
        f"Received: {call.name}, a {type(layer).__name__}."
    )
