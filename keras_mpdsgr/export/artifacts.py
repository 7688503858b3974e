"""A trained model as a file that runs without this library: TensorFlow's SavedModel, ONNX."""

import os
import pathlib
import tempfile

import keras

from keras_mpdsgr import keras_internals
from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.layers import LIFLayer, PoissonEncoder, SmoothingEncoder
from keras_mpdsgr.requirements import require

_RANDOM = (PoissonEncoder, SmoothingEncoder)


def to_saved_model(model, path):
    """Writes the inference of a model as a TensorFlow SavedModel, by Keras' own `model.export`.

    `loaded = tf.saved_model.load(path)` and `loaded.serve(x)` run it where TensorFlow is, without
    Keras and without this library. The batch size stays free. Random codings (Poisson, smoothing)
    keep drawing new values at each call, from their generator's state; a stateful `LIFLayer` keeps
    its membrane potential between calls. Gradients are not exported: a SavedModel cannot be
    attacked or trained.

    Args:
        model: A built Keras model.
        path: Folder to write.

    Raises:
        ValueError: If the model is not a built Keras model, or the path is none.

    Example:

    >>> import tempfile
    >>> import tensorflow as tf
    >>> from keras_mpdsgr import LIFLayer, layers
    >>> model = keras.Sequential([keras.Input((4, 1)), LIFLayer(), layers.TemporalMean()])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_saved_model(model, folder)
    ...     loaded = tf.saved_model.load(folder)
    >>> loaded.serve(tf.ones((2, 4, 1))).numpy().tolist()
    [[1.0], [1.0]]
    """
    _check_built(model)
    _check_path(path)
    # Keras would leave the batch size free, which potentials that are kept do not.
    kept = any(getattr(layer, "stateful", False) for layer in _leaves(model))
    signature = _signature(model) if kept else None
    model.export(str(path), format="tf_saved_model", verbose=False, input_signature=signature)


def to_onnx(model, path, opset=None):
    """Writes the inference of a model as an ONNX file, by Keras' own `model.export` and tf2onnx.

    The batch size stays free, and images stay channels last. Needs the extra `onnx`.

    Args:
        model: A built Keras model in float32.
        path: Path of the `.onnx` file, which is written whole or not at all.
        opset: Version of ONNX' operator set; None for tf2onnx' own.

    Raises:
        ImportError: If `onnx` or `tf2onnx` is not installed.
        ValueError: If an argument is out of its range, or the model is not built, has other layers
            than float32, draws at random (Poisson and smoothing coding: ONNX has no random numbers
            with a state), keeps a state between calls (a stateful `LIFLayer`), or has another
            operation that ONNX lacks.
    """
    onnx = require("onnx", "onnx", "to_onnx")
    require("tf2onnx", "onnx", "to_onnx")
    _check_built(model)
    _check_path(path)
    for layer in _leaves(model):
        _check_stateless(layer)
    path, options = pathlib.Path(path), {}
    if opset is not None:
        options["opset_version"] = check_integer(
            "opset", opset, "version of ONNX' operators", least=1
        )
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        beside = pathlib.Path(folder) / "model.onnx"
        with keras_internals.tensors_as_arrays(_leaves(model)):
            model.export(
                str(beside),
                format="onnx",
                verbose=False,
                input_signature=_signature(model),
                **options,
            )
        _check_whole(onnx, model, onnx.load(beside))
        os.replace(beside, path)


def _check_built(model):
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(f"`model` must be a built Keras model. Received: {model!r}.")


def _check_path(path):
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"`path` must be the path of what is written. Received: {path!r}.")


def _signature(model):
    """What the model takes; None leaves it to Keras, which for ONNX asks that it was called."""
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1:
        return None
    return [keras.InputSpec(shape=inputs[0].shape, dtype=inputs[0].dtype, name=inputs[0].name)]


def _leaves(layer):
    """All layers, those inside wrappers and models too."""
    inner = getattr(layer, "layers", None) or [getattr(layer, "layer", None)]
    for below in inner:
        if isinstance(below, keras.layers.Layer):
            yield below
            yield from _leaves(below)


def _check_stateless(layer):
    if isinstance(layer, _RANDOM):
        raise ValueError(
            f"`model` must not draw at random to be written as ONNX. Received: {layer.name}, a "
            f"{type(layer).__name__}. `to_saved_model` keeps the draws."
        )
    if isinstance(layer, LIFLayer) and layer.stateful:
        raise ValueError(
            "`model` must not keep a state between calls to be written as ONNX. "
            f"Received: {layer.name}, a LIFLayer with stateful=True."
        )
    if layer.compute_dtype != "float32":
        raise ValueError(
            "`model` must compute in float32 to be written as ONNX. "
            f"Received: {layer.name} in {layer.compute_dtype}. Load it by "
            '`models.load(path, dtype="float32")`.'
        )


def _check_whole(onnx, model, written):
    """Raises unless a file has ONNX' own operations only, and no more inputs than the model."""
    versions = {entry.domain: entry.version for entry in written.opset_import}
    unknown = set()
    graphs = [written.graph]
    while graphs:
        for node in graphs.pop().node:
            if not onnx.defs.has(node.op_type, versions.get(node.domain, 1), node.domain):
                unknown.add(node.op_type)
            graphs += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    if unknown:
        raise ValueError(
            "`model` has operations that ONNX lacks, or that tf2onnx cannot translate: "
            f"{', '.join(sorted(unknown))}."
        )
    asked = [entry.name for entry in written.graph.input]
    if len(asked) != len(getattr(model, "inputs", None) or asked):
        raise ValueError(
            "`model` holds tensors that tf2onnx cannot write as constants; make them weights or "
            f"NumPy arrays. The file would ask for these inputs: {', '.join(asked)}."
        )
