"""Which layers act on each time step alone and remember nothing: a list, as it cannot be tried."""

import keras
import numpy as np

from keras_mpdsgr.export.graph import FOLDERS, calls_of, unwrapped
from keras_mpdsgr.layers import (
    FiringRatePenalty,
    LIFLayer,
    StochasticGate,
    TDBatchNormalization,
    WeightedSum,
)

# Identities, as long as it is not training.
OFF_IN_INFERENCE = (
    FiringRatePenalty, StochasticGate, keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout, keras.layers.Dropout, keras.layers.GaussianDropout,
    keras.layers.GaussianNoise, keras.layers.Identity, keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D, keras.layers.SpatialDropout3D,
)  # fmt: skip
_VALUE_BY_VALUE = (
    *OFF_IN_INFERENCE, WeightedSum, keras.layers.Activation, keras.layers.Add, keras.layers.Average,
    keras.layers.ELU, keras.layers.LeakyReLU, keras.layers.Maximum, keras.layers.Minimum,
    keras.layers.Multiply, keras.layers.ReLU, keras.layers.Subtract,
)  # fmt: skip
# Along their `axis`, or the last one.
_ALONG_AN_AXIS = (
    TDBatchNormalization, keras.layers.BatchNormalization, keras.layers.Concatenate,
    keras.layers.Dense, keras.layers.LayerNormalization, keras.layers.Normalization,
    keras.layers.Rescaling, keras.layers.Softmax,
)  # fmt: skip
# On each sample of a batch alone, over all of its axes.
_SAMPLE_BY_SAMPLE = (
    *(
        getattr(keras.layers, f"{kind}{rank}D")
        for rank in (1, 2, 3)
        for kind in (
            "AveragePooling", "Conv", "Cropping", "GlobalAveragePooling", "GlobalMaxPooling",
            "MaxPooling", "UpSampling", "ZeroPadding",
        )
    ),
    keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D, keras.layers.Flatten,
    keras.layers.Permute, keras.layers.Reshape, keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)  # fmt: skip
_OPERATIONS = frozenset(
    [
        "Absolute", "Add", "Cast", "Clip", "Divide", "Exp", "Identity", "LeakyRelu", "Log",
        "Maximum", "Minimum", "Multiply", "Negative", "Power", "Relu", "Relu6", "Sigmoid", "Sign",
        "Silu", "Softplus", "Sqrt", "Square", "Subtract", "Tanh", "TrueDivide",
    ]
)  # fmt: skip


def reason_against(call, timed):
    """Why it is not known that a call acts on each time step alone and keeps no state, or None.

    Args:
        call: A `Call`.
        timed: Whether axis 1 of its inputs is time; else they are samples without time.

    Returns:
        A clause whose subject is the layer; None for layers of Keras and of this package that act
        on each time step (or sample) alone in inference. A layer of another class, a subclass too,
        is not known.
    """
    layer, shapes = call.layer, call.shapes
    if type(layer) in FOLDERS:
        return _reason_against_inner(unwrapped(layer))
    if len({len(shape) for shape in shapes}) > 1:
        return "broadcasts inputs of different rank"
    rank = len(shapes[0])
    if timed and rank < 3:
        return "takes a sequence without an axis behind time"
    if not isinstance(layer, keras.layers.Layer):
        return _reason_against_operation(call, rank, timed)
    if type(layer) is LIFLayer:
        return None if timed else "takes a sequence that no encoder made"
    if not _has_known_activation(layer):
        return "has an activation that is not Keras' own"
    if type(layer) in _VALUE_BY_VALUE:
        return None
    if type(layer) in _ALONG_AN_AXIS:
        return _reason_against_axes(layer, rank, timed)
    if type(layer) in _SAMPLE_BY_SAMPLE:
        stays = type(layer) is keras.layers.Permute and layer.dims[0] == 1
        return None if stays or not timed else "acts over time. Put it in a FoldTime"
    return "is not known to act on each time step alone"


def _reason_against_inner(layer):
    """As `reason_against`, for what sees time steps as samples."""
    if isinstance(layer, keras.Model):
        for call in calls_of(layer).calls:
            reason = reason_against(call, timed=False)
            if reason:
                return f"holds {call.name}, which {reason}"
        return None
    known = type(layer) in (*_VALUE_BY_VALUE, *_ALONG_AN_AXIS, *_SAMPLE_BY_SAMPLE)
    if not known:
        return f"holds {layer.name} ({type(layer).__name__}), which may mix them"
    if not _has_known_activation(layer):
        return "has an activation that is not Keras' own"
    # Its rank is not known here, but it is 2 at least, so that -1 is not the batch.
    return None if set(_axes(layer)) <= {-1, 1, 2, 3, 4} else "may act along the batch"


def _reason_against_axes(layer, rank, timed):
    forbidden = {0, 1} if timed else {0}
    if any(axis % rank in forbidden for axis in _axes(layer)):
        return "acts along time or the batch"
    return None


def _axes(layer):
    if type(layer) is keras.layers.Rescaling:
        return [-1] if max(np.ndim(layer.scale), np.ndim(layer.offset)) < 2 else [0]
    axes = getattr(layer, "axis", -1)
    return list(axes) if isinstance(axes, list | tuple) else [-1 if axes is None else axes]


def _reason_against_operation(call, rank, timed):
    kind = type(call.layer)
    if kind.__module__.split(".")[0] != "keras" or kind.__name__ not in _OPERATIONS:
        return "is not known to act on each time step alone"
    args, kwargs = call.arguments
    for part in [*args, *kwargs.values()]:
        # Arrays and tensors are descriptions with their value; a symbolic tensor has none.
        value = part.get("config", {}).get("value", 0) if isinstance(part, dict) else part
        # A constant of the input's rank has axes of the batch and of time.
        shape = (1,) * (rank - np.ndim(value)) + np.shape(value)
        if len(shape) > rank or any(side > 1 for side in shape[: 2 if timed else 1]):
            return "takes a constant that differs by time step or sample"
    return None


def _has_known_activation(layer):
    activation = getattr(layer, "activation", keras.activations.linear)
    return getattr(keras.activations, getattr(activation, "__name__", ""), None) is activation
