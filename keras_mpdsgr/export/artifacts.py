"""A trained model as a file that runs without this library: TensorFlow's SavedModel, ONNX."""

import os
import pathlib
import tempfile

import keras

from keras_mpdsgr.export.requirements import require
from keras_mpdsgr.layers import LIFLayer, PoissonEncoder, SmoothingEncoder

_RANDOM = (PoissonEncoder, SmoothingEncoder)


def to_saved_model(model, path):
    """Writes the inference of a model as a TensorFlow SavedModel, by Keras' own `model.export`.

    `tf.saved_model.load(path).serve(x)` runs it where TensorFlow is, without Keras and without this
    library. The batch size stays free. Random codings (Poisson, smoothing) go on drawing anew at
    each call, from the state their generator had; a stateful `LIFLayer` keeps its membrane
    potential between calls. Gradients are not exported: a SavedModel cannot be attacked or trained.

    Args:
        model: A built Keras model.
        path: Folder to write.

    Raises:
        ValueError: If the model is not a built Keras model.

    Example:

    >>> import pathlib, tempfile
    >>> import tensorflow as tf
    >>> from keras_mpdsgr import models
    >>> model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02)
    >>> folder = pathlib.Path(tempfile.mkdtemp()) / "model"
    >>> to_saved_model(model, folder)
    >>> tf.saved_model.load(str(folder)).serve(tf.zeros((3, 8, 8, 1))).shape
    TensorShape([3, 10])
    """
    _check_built(model)
    model.export(str(path), format="tf_saved_model", verbose=False)


def to_onnx(model, path, opset=None):
    """Writes the inference of a model as an ONNX file, by Keras' own `model.export` and tf2onnx.

    The batch size stays free, and images stay channels last. Needs the extra `onnx`.

    Args:
        model: A built Keras model in float32.
        path: Path of the `.onnx` file, which is written whole or not at all.
        opset: Version of ONNX' operator set; None for tf2onnx' own.

    Raises:
        ImportError: If `onnx` or `tf2onnx` is not installed.
        ValueError: If the model is not built, has other layers than float32, draws at random
            (Poisson and smoothing coding: ONNX has no random numbers with a state), keeps a state
            between calls (a stateful `LIFLayer`), or has another operation that ONNX lacks.
    """
    onnx = require("onnx", "onnx", "to_onnx")
    require("tf2onnx", "onnx", "to_onnx")
    _check_built(model)
    for layer in _leaves(model):
        _check_stateless(layer)
    path = pathlib.Path(path)
    options = {} if opset is None else {"opset_version": opset}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        beside = pathlib.Path(folder) / "model.onnx"
        model.export(str(beside), format="onnx", verbose=False, **options)
        unknown = _unknown_operations(onnx, beside)
        if unknown:
            raise ValueError(
                "`model` has operations that ONNX lacks, or that tf2onnx cannot translate: "
                f"{', '.join(unknown)}."
            )
        os.replace(beside, path)


def _check_built(model):
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(f"`model` must be a built Keras model. Received: {model!r}.")


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
            f"Received: {layer.name} in {layer.compute_dtype}."
        )


def _unknown_operations(onnx, path):
    """Operations of a file that are none of ONNX' own, by name."""
    model = onnx.load(path)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    unknown = set()
    graphs = [model.graph]
    while graphs:
        for node in graphs.pop().node:
            if not onnx.defs.has(node.op_type, versions.get(node.domain, 1), node.domain):
                unknown.add(node.op_type)
            graphs += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return sorted(unknown)
