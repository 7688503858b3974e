"""A graph of the Neuromorphic Intermediate Representation (NIR) as a Keras model."""

import graphlib
import os

import keras
import numpy as np

from keras_mpdsgr.arguments import check_number
from keras_mpdsgr.export.graph import ENCODERS
from keras_mpdsgr.export.kernels import Unsupported
from keras_mpdsgr.export.nir_layers import Flow, LayerMaker
from keras_mpdsgr.layers import DirectEncoder, TemporalMean
from keras_mpdsgr.requirements import require

_DT = 1e-4


def from_nir(graph, timesteps, dt=None, encoder=DirectEncoder, **neuron_options):
    """Turns a feed-forward NIR graph into a Keras model, to attack it or to train it on.

    The graph (Pedersen et al., 2024) is read as `to_nir` writes it: one time step of the model is
    one of the graph, integrated by the forward Euler method with step `dt` from potentials of 0.

    - A `nir.LIF` is a `LIFLayer` with `tau = 1 - dt / tau`, a `nir.IF` one with `tau = 1`, a
      `nir.Threshold` one with `tau = 0`. NIR fires above the threshold, we at it: the layer's
      threshold is the next float32 above.
    - Where `r * dt / tau` (of an IF, `r * dt`) is one positive number for the whole node, the
      threshold is divided by it; else the currents are multiplied by it, as by `nir.Scale`, in a
      `Rescaling` layer, and so are thresholds that differ between neurons. A `v_leak` is a constant
      current.
    - Numbers are float32. A leak or threshold that float32 has rounded is read as the shortest
      decimal that is written so.
    - Arrays are channels first in the graph, channels last in the model. Several edges into one
      node add up. A batch axis of 1 in the shape of the input, as Norse writes it, is left out.

    Layers before the first neurons, or before the sum with what comes from neurons, stand before a
    direct encoder and so run once. The read-out is averaged over time.

    NIR holds no surrogate gradients: give that of the training, or attack with ASSG.

    Needs the extra `nir`.

    Args:
        graph: A `nir.NIRGraph`, or the path of a `.nir` file.
        timesteps: Number of time steps T that an image is shown, at least 1.
        dt: Length of a time step in seconds, positive, with which the graph was written. None for
            the `dt` in its metadata, which `to_nir` writes; where there is none, 1e-4 as in
            snnTorch and SpikingJelly.
        encoder: Layer of a coding, made by `encoder(timesteps)`.
        **neuron_options: Arguments of every `LIFLayer`, such as `surrogate`, `gamma` and
            `detach_reset`; not `tau`, `v_threshold` and `reset`.

    Returns:
        A functional Keras model of images `(height, width, channels)` or vectors. Layers have the
        names of their nodes.

    Raises:
        ImportError: If `nir` is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read, or the graph has something that the model could not
            do exactly, such as recurrent edges, synaptic currents, a `tau` that differs between
            neurons of one node, or a `v_reset` other than 0. The message names the node.

    Example:

    >>> import keras
    >>> from keras_mpdsgr import LIFLayer, export
    >>> model = keras.Sequential([keras.Input((4, 3)), LIFLayer(tau=0.9, name="lif")])
    >>> export.from_nir(export.to_nir(model), timesteps=4).get_layer("lif").tau
    0.9
    """
    nir = require("nir", "nir", "from_nir")
    neurons = dict(neuron_options)
    for name in ("tau", "v_threshold", "reset", "name"):
        if name in neurons:
            raise ValueError(f"`{name}` of the neurons is the graph's own. Leave it out.")
    if encoder not in ENCODERS:
        names = ", ".join(kind.__name__ for kind in ENCODERS)
        raise ValueError(f"`encoder` must be one of {names}, the class. Received: {encoder!r}.")
    graph = _read(nir, graph)
    step = _time_step(graph, dt)
    maker = LayerMaker(nir, step, encoder(timesteps), neurons)
    source, target, before = _ends(nir, graph)
    shape = _input_shape(nir, graph, source)
    inputs = keras.Input((*shape[1:], shape[0]))
    start = Flow(inputs, shape, timed=False)
    flows = {source: start if encoder is DirectEncoder else maker.encoded(start)}
    for name in _sorted(before):
        node = graph.nodes[name]
        if name == source:
            continue
        try:
            if not before[name]:
                raise Unsupported("no edge leads to it")
            flow = maker.sum(name, [flows[origin] for origin in before[name]])
            flows[name] = flow if name == target else maker.layer(name, node, flow)
        except Unsupported as error:
            raise ValueError(
                f"Node {name} ({type(node).__name__}) cannot be imported: {error}."
            ) from None
    end = flows[target]
    if end.order is not None:
        raise ValueError(
            f"`graph` must not end in a flattened image, of another order here. Received: {target}."
        )
    outputs = TemporalMean()(maker.encoded(end).tensor)
    return keras.Model(inputs, outputs)


def _read(nir, graph):
    if isinstance(graph, nir.NIRGraph):
        return graph
    if not isinstance(graph, str | os.PathLike):
        raise ValueError(
            f"`graph` must be a nir.NIRGraph or the path of a .nir file. Received: {graph!r}."
        )
    if not os.path.isfile(graph):
        raise FileNotFoundError(f"There is no NIR graph at {os.fspath(graph)}.")
    try:
        # Norse and snnTorch leave shapes open, or with the batch in them: they are checked here.
        return nir.read(os.fspath(graph), type_check=False)
    except Exception as error:  # a damaged or hostile file: HDF5's and nir's own errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{os.fspath(graph)} is not a readable NIR graph: {reason}") from error


def _time_step(graph, dt):
    written = (graph.metadata or {}).get("dt")
    if dt is None:
        dt = _DT if written is None else float(np.asarray(written))
    dt = check_number("dt", dt, "length of a time step in seconds", above=0)
    if written is not None and not np.isclose(dt, float(np.asarray(written)), rtol=1e-6):
        raise ValueError(
            f"`dt` must be that of the graph, {float(np.asarray(written)):g}, which its metadata "
            f"tell. Received: {dt:g}."
        )
    return dt


def _ends(nir, graph):
    """Names of the input and the output, and for each node those that edges come from."""
    ends = []
    for kind in (nir.Input, nir.Output):
        names = [name for name, node in graph.nodes.items() if isinstance(node, kind)]
        if len(names) != 1:
            raise ValueError(
                f"`graph` must have one {kind.__name__} node. Received: {len(names)} of them."
            )
        ends.append(names[0])
    before = {name: [] for name in graph.nodes}
    for origin, name in graph.edges:
        for end in (origin, name):
            if end not in before:
                raise ValueError(f"`graph` has an edge of a node that is not there: {end}.")
        if origin in before[name]:
            raise ValueError(f"`graph` has an edge twice: {origin} -> {name}.")
        before[name].append(origin)
    return *ends, before


def _sorted(before):
    try:
        return list(graphlib.TopologicalSorter(before).static_order())
    except graphlib.CycleError as error:
        loop = " -> ".join(reversed(error.args[1]))
        raise ValueError(f"`graph` must be feed-forward. Received: a loop, {loop}.") from None


def _input_shape(nir, graph, source):
    """Shape of the input of one time step, channels first, without the batch that Norse counts."""
    shape = (graph.nodes[source].input_type or {}).get("input")
    sizes = () if shape is None else tuple(int(n) for n in np.asarray(shape).reshape(-1))
    sequences = any(isinstance(node, nir.Conv1d) for node in graph.nodes.values())
    if len(sizes) == 4 or (len(sizes) == 2 and sizes[0] == 1 and not sequences):
        sizes = sizes[1:]
    if len(sizes) not in (1, 2, 3) or min(sizes) < 1:
        raise ValueError(
            "`graph` must take vectors, sequences or images (channels, height, width). "
            f"Received: node {source} of shape {sizes}."
        )
    return sizes
