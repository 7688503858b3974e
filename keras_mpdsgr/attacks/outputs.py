"""What a classifier's outputs are: logits, probabilities, or independent sigmoids."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from keras_mpdsgr import keras_internals

LOGITS, PROBABILITIES, SIGMOIDS = "logits", "probabilities", "sigmoids"
OUTPUTS = ("auto", LOGITS, PROBABILITIES, SIGMOIDS)

# Layers that leave logits logits, and shares shares.
_PASSING = ("Dropout", "Flatten", "Identity", "Reshape", "TemporalMean")
_HALF = (tf.float16, tf.bfloat16)
_SMALLEST = 1e-30
# Of a float32 below 1.
_LARGEST = 1 - 2.0**-24
# Means of at most so many spikes are logits, though they lie in [0, 1].
_MOST_SPIKES = 64


def told_by_graph(model):
    """What a model's outputs are, as far as its last layers tell.

    Args:
        model: A Keras model.

    Returns:
        One of `OUTPUTS` but `"auto"`, or None where they do not tell; and the last layer, if it is
        its activation that makes probabilities or sigmoids of logits, else None.
    """
    outputs = getattr(model, "outputs", None)
    if not outputs or len(outputs) != 1:
        return None, None
    tensor, last = outputs[0], True
    while True:
        operation = keras_internals.operation_behind(tensor)
        if isinstance(operation, keras.Model):
            if not getattr(operation, "outputs", None):
                return None, None
            tensor = operation.outputs[0]
            continue
        layer = operation
        while isinstance(layer, keras.layers.Wrapper):
            layer, last = layer.layer, False
        kind = _kind_of(layer)
        if kind is not None:
            known = (PROBABILITIES, SIGMOIDS)
            own = last and kind in known and getattr(layer, "activation", None) is not None
            alone = own and keras_internals.calls_of(layer) == 1
            return kind, layer if alone else None
        before = keras_internals.inputs_behind(tensor)
        if type(layer).__name__ not in _PASSING or len(before) != 1:
            return None, None
        tensor, last = before[0], False


def _kind_of(layer):
    activation = getattr(layer, "activation", None)
    name = type(layer).__name__
    if activation is keras.activations.softmax or name == "Softmax":
        return PROBABILITIES
    if activation is keras.activations.sigmoid or name == "Sigmoid":
        return SIGMOIDS
    is_affine = activation is keras.activations.linear and hasattr(layer, "kernel")
    return LOGITS if is_affine else None


def seen_in(outputs):
    """What outputs are by their values, `(n, classes)`."""
    values = np.asarray(tf.cast(outputs, tf.float32))
    half = tf.as_dtype(outputs.dtype) in _HALF
    if not ((values >= 0).all() and (values <= 1 + 1e-6).all()):
        return LOGITS
    if np.allclose(values.sum(axis=1), 1, atol=2e-2 if half else 1e-4):
        return PROBABILITIES
    counts = values[..., None] * np.arange(1, _MOST_SPIKES + 1)
    spikes = np.abs(counts - np.round(counts)).max(axis=(0, 1)).min() < 1e-4
    return LOGITS if spikes else SIGMOIDS


def fit(outputs, kind):
    """Whether outputs, `(n, classes)`, can be what they are said to be."""
    seen = seen_in(outputs)
    lies_inside = bool(tf.reduce_all((outputs >= 0) & (outputs <= 1)))
    return kind == LOGITS or seen == kind or (kind == SIGMOIDS and lies_inside)


def logits_of(outputs, kind):
    """Logits in float32 that stand for outputs of a kind.

    Raises:
        ValueError: If they are shares in half precision, which rounds away what tells images of a
            sure model apart: its gradients are zero or not finite.
    """
    if kind != LOGITS and outputs.dtype in _HALF:
        raise keras_internals.plain_error(
            f"`model` must not give {kind} in half precision, where their gradients are lost. "
            f"Received: {outputs.dtype.name}. Give its last layer dtype='float32', or let it end "
            "in logits."
        )
    outputs = tf.cast(outputs, tf.float32)
    if kind == LOGITS:
        return outputs
    logarithms = tf.math.log(tf.maximum(outputs, _SMALLEST))
    if kind == PROBABILITIES:
        return logarithms
    return logarithms - tf.math.log1p(-tf.minimum(outputs, _LARGEST))


@contextlib.contextmanager
def without_activation(layer):
    """A scope in which a layer gives what goes into its activation; of None, nothing is changed."""
    if layer is None:
        yield
        return
    held = layer.activation
    layer.activation = keras.activations.linear
    try:
        yield
    finally:
        layer.activation = held


def classes_of(model):
    """Number of classes that a model tells apart; None where its shape is not known yet."""
    shape = getattr(model, "output_shape", None)
    return shape[-1] if isinstance(shape, tuple) else None
