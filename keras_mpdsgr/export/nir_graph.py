"""A trained network as a graph of the Neuromorphic Intermediate Representation (NIR)."""

import keras

from keras_mpdsgr.arguments import check_number, check_path
from keras_mpdsgr.export.affine import channel_affine
from keras_mpdsgr.export.graph import ENCODERS, calls_of, unwrapped
from keras_mpdsgr.export.kernels import Unsupported
from keras_mpdsgr.export.nir_nodes import NodeWriter, Signal
from keras_mpdsgr.export.steps import OFF_IN_INFERENCE
from keras_mpdsgr.layers import (
    DirectEncoder,
    LIFLayer,
    TemporalMean,
    WeightedSum,
)
from keras_mpdsgr.requirements import require


def to_nir(model, path=None, dt=1e-4):
    """Turns a trained model into a NIR graph, for neuromorphic hardware and other simulators.

    NIR (Pedersen et al., 2024) describes a network in continuous time by nodes and edges, channels
    first, without batch and time. One time step of the graph, integrated by the forward Euler
    method with step `dt`, is one of the model:

    - A `LIFLayer` with `tau = 1` is a `nir.IF` with `r = 1 / dt`. With `tau < 1` it is a `nir.LIF`
      with time constant `dt / (1 - tau)`, `r = 1`, and the threshold times `1 - tau`: its potential
      is `1 - tau` times ours. Both reset to 0. NIR fires above the threshold, we at it: a threshold
      in the graph is the next float32 below.
    - tdBN (its running statistics) is folded into the convolution or dense layer before it.
      Elsewhere it is a convolution of its own, 1x1 and without padding, and so is the normalization
      of pixels: folded into a padded convolution behind it, it would be wrong at the borders.
    - A dense layer behind `Flatten` has its columns in channels-first order.
    - Kernels are written as they act: LoRA added, int8 and int4 times their scales (an int8 layer
      also rounds its inputs, which the graph does not), a convolution of several groups or of a
      kernel that is not square with zeros around its weights, as nir takes all for square.
    - A sum of branches is several edges into one node, as NIR adds them.

    The graph takes one time step of what comes behind the encoder: with direct coding the image, at
    every step; with another coding, which must stand first, the encoder's output of that step. It
    gives the read-out of that step; the mean over time is the caller's.

    Needs the extra `nir`.

    Args:
        model: A functional or Sequential Keras model of `LIFLayer`s with hard reset, `Conv2D`,
            `Dense`, `AveragePooling2D`, `Flatten`, normalizations, and sums of these.
        path: Path of the `.nir` file (HDF5) to write; None writes none.
        dt: Length of a time step in seconds, positive; the simulator must use the same. The default
            is snnTorch's and SpikingJelly's.

    Returns:
        The `nir.NIRGraph`. Its metadata holds `dt`.

    Raises:
        ImportError: If `nir` is not installed.
        ValueError: If the model has a layer that NIR cannot express, as soft reset, gains or leaks
            that differ between time steps.
    """
    nir = require("nir", "nir", "to_nir")
    check_path("path", path)
    dt = check_number("dt", dt, "length of a time step in seconds", above=0)
    graph = calls_of(model)
    writer = NodeWriter(nir, dt)
    signals = {graph.input: writer.input(_image_shape(graph))}
    for call in graph.calls:
        taken = [signals[key].taken_by(graph.consumers(key)) for key in call.inputs]
        try:
            signals[call.output] = _translated(writer, call, taken, graph)
        except Unsupported as error:
            raise ValueError(
                f"NIR cannot express layer {call.name} ({_kind(call.layer)}): {error}."
            ) from None
    written = writer.graph(signals[graph.output])
    if path is not None:
        nir.write(str(path), written)
    return written


def _translated(writer, call, taken, graph):
    """The signal behind one call; nodes are added to the writer."""
    layer = unwrapped(call.layer)
    signal = taken[0]
    axes = len(call.shapes[0]) - 1 - len(signal.shape)
    if isinstance(layer, LIFLayer) and (layer is not call.layer or axes != 1):
        raise Unsupported("it must see the time axis that the other layers see")
    if isinstance(call.layer, keras.layers.Flatten) and axes != 0:
        raise Unsupported("it flattens time too. Put it in a FoldTime")
    # A direct encoder repeats its input step by step.
    if type(layer) in (DirectEncoder, *OFF_IN_INFERENCE):
        return signal
    if isinstance(layer, ENCODERS):
        if call.inputs[0] != graph.input:
            raise Unsupported("a coding other than direct must be the model's first layer")
        return signal
    if type(layer) is TemporalMean:
        if call.output != graph.output or layer.axis != 1:
            raise Unsupported("the mean over time must be the model's last layer")
        return signal
    if type(layer) is keras.layers.Add:
        return _sum(taken)
    if type(layer) is WeightedSum:
        weights = keras.ops.convert_to_numpy(layer.branch_weights)
        branches = enumerate(zip(taken, weights, strict=True))
        return _sum(
            [writer.affine(f"{call.name}_{i}", part, weight, 0.0) for i, (part, weight) in branches]
        )
    scale_and_shift = channel_affine(layer)
    if scale_and_shift is not None:
        return writer.affine(call.name, signal, *scale_and_shift)
    writers = {
        LIFLayer: writer.neurons,
        keras.layers.Conv2D: writer.convolution,
        keras.layers.Dense: writer.dense,
        keras.layers.AveragePooling2D: writer.average_pool,
        keras.layers.ZeroPadding2D: writer.zero_padding,
        keras.layers.Flatten: writer.flatten,
    }
    if type(layer) not in writers:
        raise Unsupported("there is no node for it")
    return writers[type(layer)](call.name, layer, signal)


def _sum(signals):
    first = signals[0]
    same = all(signal.matches(first) for signal in signals)
    sources = tuple(source for signal in signals for source in signal.sources)
    if not same or len(set(sources)) < len(sources):
        raise Unsupported("its branches must be different tensors of one shape")
    return Signal(sources, first.shape, first.order)


def _image_shape(graph):
    """Shape of one time step of the input, channels last."""
    shape = graph.input_shape
    if not graph.encoded:
        shape = shape[1:]  # a model without an encoder takes sequences
    if None in shape or len(shape) not in (1, 3):
        raise ValueError(
            "`model` must take images (height, width, channels) or vectors of static size, or "
            f"sequences of these, to be a NIR graph. Received: input_shape={graph.input_shape}."
        )
    return shape


def _kind(layer):
    inner = unwrapped(layer)
    return type(inner).__name__ if inner is layer else f"FoldTime({type(inner).__name__})"
