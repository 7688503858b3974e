"""Synaptic operations of a network and the energy they would take, beside the same ANN's."""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.export.graph import calls_of, unwrapped
from keras_mpdsgr.inputs import check_fits
from keras_mpdsgr.layers import (
    DirectEncoder,
    FiringRatePenalty,
    FrequencyEncoder,
    LIFLayer,
    PoissonEncoder,
    SmoothingEncoder,
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

_ENCODERS = (DirectEncoder, FrequencyEncoder, PoissonEncoder, SmoothingEncoder)
_SPIKES_PASS = (
    FiringRatePenalty,
    StochasticGate,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.ZeroPadding2D,
)
_COUNTED = (LIFLayer, keras.layers.Conv2D, keras.layers.Dense)
_NO_SYNAPSES = (
    StochasticGate,
    TDBatchNormalization,
    TemporalGain,
    WeightedSum,
    keras.layers.BatchNormalization,
    keras.layers.Normalization,
)


@dataclasses.dataclass(frozen=True)
class LayerEnergy:
    """What the synapses of one layer do for one image, on average.

    Attributes:
        name: The layer's name.
        spiking: Whether it is fed by spikes; else by analog values, as the first layer is.
        rate: Spikes a neuron and time step of what feeds it; None where that is analog.
        operations: Accumulates (one a spike and synapse), or multiply-accumulates where its input
            is analog, over all time steps.
        ann_operations: Multiply-accumulates of the same layer in an ANN.
    """

    name: str
    spiking: bool
    rate: float | None
    operations: float
    ann_operations: int

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
        n: Number of images that the figures are means over.
    """

    layers: tuple[LayerEnergy, ...]
    firing_rates: dict
    n: int

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
        """The table as Markdown, energies in nanojoules an image."""
        lines = [
            f"| {self.n} images | input rate | operations | energy, nJ | ANN, nJ |",
            "| --- | --- | --- | --- | --- |",
        ]
        for layer in self.layers:
            rate = "analog" if layer.rate is None else f"{layer.rate:.4f}"
            kind = "AC" if layer.spiking else "MAC"
            lines.append(
                f"| {layer.name} | {rate} | {layer.operations:,.0f} {kind} "
                f"| {layer.picojoules / 1e3:,.2f} | {layer.ann_picojoules / 1e3:,.2f} |"
            )
        operations = f"{self.macs:,.0f} MAC, {self.synops:,.0f} AC"
        lines.append(
            f"| all | | {operations} | {self.picojoules / 1e3:,.2f} "
            f"| {self.ann_picojoules / 1e3:,.2f} |"
        )
        return "\n".join(lines) + "\n"


def energy(model, x, batch_size=64):
    """Counts the synaptic operations of a model on images, and what they cost beside an ANN.

    A spike costs one accumulate for each synapse it reaches, `spikes * fan-out` (SynOps), borders
    counted as they are; through an average pool it reaches the synapses of its cell. A layer with
    analog input (the first one, of normalized pixels) costs a multiply-accumulate for each synapse:
    once where it stands before a direct encoder, else at each time step. The ANN is the same
    layers, once, multiply-accumulates all. An accumulate takes 0.9 pJ, a multiply-accumulate 4.6 pJ
    (Horowitz, 2014: 32-bit floating point, 45 nm).

    Not counted: normalization (it folds into weights), biases, the neurons' own updates, and
    reading and moving data, which on most hardware costs more than the arithmetic. So these figures
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
            convolution, or the images are none of the model's.

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
    nature = _natures(graph)
    counted = [call for call in graph.calls if isinstance(unwrapped(call.layer), _COUNTED)]
    sums = {call.name: np.zeros(3) for call in counted}
    for start in range(0, len(x), batch_size):
        values = {graph.input: keras.ops.convert_to_tensor(x[start : start + batch_size])}
        for call in graph.calls:
            values[call.output] = call.run(call.layer, values)
            if isinstance(call.layer, LIFLayer):
                sums[call.name][0] += _mean_per_image(values[call.output])
            elif call.name in sums:
                taken = call.inputs[0]
                sums[call.name] += _synaptic(call.layer, values[taken], nature[taken])
    means = {name: total / len(x) for name, total in sums.items()}
    layers = tuple(
        _layer_energy(call.name, nature[call.inputs[0]], *means[call.name])
        for call in counted
        if not isinstance(call.layer, LIFLayer)
    )
    rates = {c.name: float(means[c.name][0]) for c in counted if isinstance(c.layer, LIFLayer)}
    return EnergyReport(layers, rates, len(x))


@dataclasses.dataclass(frozen=True)
class _Nature:
    """What a tensor's values are.

    Attributes:
        spikes: How many spikes a value of 1 stands for; None for analog values.
        timed: Whether axis 1 is time.
    """

    spikes: float | None
    timed: bool


def _natures(graph):
    encoded = any(isinstance(call.layer, _ENCODERS) for call in graph.calls)
    natures = {graph.input: _Nature(None, timed=not encoded)}
    for call in graph.calls:
        before, layer = natures[call.inputs[0]], unwrapped(call.layer)
        spikes, timed = None, before.timed
        if isinstance(layer, LIFLayer | PoissonEncoder):
            spikes, timed = 1.0, True
        elif isinstance(layer, _ENCODERS):
            timed = True
        elif isinstance(layer, TemporalMean):
            timed = False
        elif isinstance(layer, _SPIKES_PASS):
            spikes = before.spikes
        elif isinstance(layer, keras.layers.AveragePooling2D) and layer.padding == "valid":
            spikes = before.spikes and before.spikes * math.prod(layer.pool_size)
        natures[call.output] = _Nature(spikes, timed)
    return natures


def _synaptic(layer, x, nature):
    """Operations, input rate and an ANN's operations, each summed over the batch."""
    fan_out = _fan_out(unwrapped(layer), x.shape)
    maps = x.shape[0] * math.prod(x.shape[1 : -fan_out.ndim])
    every = float(maps * fan_out.sum())
    dense = every / x.shape[1] if nature.timed else every
    if nature.spikes is None:
        return np.array([every, 0.0, dense])
    events = np.asarray(x, np.float64) * nature.spikes
    return np.array([(events * fan_out).sum(), _mean_per_image(x), dense])


def _fan_out(layer, shape):
    """How many synapses each value of one time step reaches, in the shape of that step."""
    if isinstance(layer, keras.layers.Dense):
        return np.full(shape[-1], layer.units, np.float64)
    x = tf.zeros((1, *shape[-3:]))
    kernel = tf.ones(layer.kernel.shape)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = keras.ops.conv(
            x,
            kernel,
            strides=layer.strides,
            padding=layer.padding,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
        )
    return np.asarray(tape.gradient(y, x)[0], np.float64)


def _layer_energy(name, nature, operations, rate, dense):
    spiking = nature.spikes is not None
    return LayerEnergy(
        name, spiking, float(rate) if spiking else None, float(operations), round(dense)
    )


def _mean_per_image(x):
    """Mean over all but the batch, summed over the batch."""
    return float(np.mean(np.asarray(x, np.float64)) * x.shape[0])


def _shown(x):
    return f"shape={x.shape}, dtype={x.dtype}"


def _check_countable(call):
    layer = unwrapped(call.layer)
    if not getattr(layer, "weights", None) or isinstance(layer, (*_COUNTED, *_NO_SYNAPSES)):
        return
    raise ValueError(
        "`model` must have its synapses in Conv2D and Dense layers to be counted. "
        f"Received: {call.name}, a {type(layer).__name__}."
    )
