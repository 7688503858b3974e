"""Layers that scale and shift each channel by constants, once training is over."""

import keras
import numpy as np

from keras_mpdsgr.layers import TDBatchNormalization


def channel_affine(layer):
    """Scale and shift that a layer applies to each channel in inference.

    Args:
        layer: A built Keras layer.

    Returns:
        Two float64 arrays, each `(channels,)`, or `()` for one value that all channels share; None
        if the layer is of another kind.

    Raises:
        ValueError: If it normalizes along another axis than the last, or inverts a normalization.
    """
    if type(layer) is TDBatchNormalization:
        scale = _array(layer.lambda_) * layer.alpha * layer.v_threshold
        return _normalized(layer, scale, _array(layer.beta))
    if type(layer) is keras.layers.BatchNormalization:
        _check_last(layer, layer.axis in (-1, layer.input_spec.ndim - 1))
        scale = _array(layer.gamma) if layer.scale else np.float64(1.0)
        return _normalized(layer, scale, _array(layer.beta) if layer.center else np.float64(0.0))
    if type(layer) is keras.layers.Normalization:
        mean, variance = _array(layer.mean), _array(layer.variance)
        _check_last(layer, mean.size == mean.shape[-1] and not layer.invert)
        # Keras' own guard against a variance of 0.
        scale = 1.0 / np.maximum(np.sqrt(variance.reshape(-1)), keras.config.epsilon())
        return scale, -mean.reshape(-1) * scale
    if type(layer) is keras.layers.Rescaling:
        return _array(layer.scale), _array(layer.offset)
    return None


def _normalized(layer, scale, shift):
    slope = scale / np.sqrt(_array(layer.moving_variance) + layer.epsilon)
    return slope, shift - _array(layer.moving_mean) * slope


def _array(values):
    return np.asarray(keras.ops.convert_to_numpy(values), np.float64)


def _check_last(layer, holds):
    if not holds:
        raise ValueError(
            f"Layer {layer.name} must normalize along the last axis, and not inversely, to be "
            f"exported. Received: axis={layer.axis}."
        )
