"""The overlap of a normal distribution with a window around the threshold (MPD-SGR, Eq. 10-15)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mpdsgr.arguments import check_number

# A smaller deviation of the membrane potential counts as none. Its inverse, squared, must not
# overflow in float32.
STD_FLOOR = 1e-12
# So many deviations from the mean the normal density underflows to zero, in float64 too.
FAR = 40.0

# Windows under this width (in deviations, times the distance) are integrated by Gauss-Legendre
# quadrature, which is then exact to rounding; the difference of two Phi would cancel.
_NARROW = 0.3
_NODES, _WEIGHTS = (values.tolist() for values in np.polynomial.legendre.leggauss(7))

_GAMMA = "half-width of the window, in units of membrane potential"

Number = Any  # a float, a NumPy array or a tensor


def overlap(mean: Number, std: Number, gamma: Number) -> tf.Tensor:
    """Omega, the share of a normal distribution inside [-gamma, gamma] (MPD-SGR, Eq. 13).

    Omega = Phi((mean + gamma) / std) - Phi((mean - gamma) / std), computed without cancellation.
    Its gradients are Eq. 14-15 in closed form. At std = 0 the value is the limit (1 inside the
    window, 0 outside, 1/2 on its edge) and the gradients are 0.

    Args:
        mean: Mean of v = u - v_th, in units of membrane potential. The three broadcast.
        std: Standard deviation of v, same unit, at least 0.
        gamma: Half-width of the window, same unit, positive.

    Returns:
        Omega in [0, 1], of the shape that the arguments broadcast to; differentiable once, with
        respect to all three.

    Raises:
        ValueError: If an argument is neither a number nor a tensor, or is out of its range.

    Example:

    >>> round(float(overlap(-1.0, 2.0, 1.0)), 6)  # Phi(0) - Phi(-1)
    0.341345
    """
    check_normal(mean, std)
    check_numbers("gamma", gamma, _GAMMA, above=0)
    return _overlap(*broadcast(*as_floats(mean, std, gamma)))


def overlap_gradients(mean: Number, std: Number, gamma: Number) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradients of Omega with respect to mean and standard deviation (MPD-SGR, Eq. 14-15).

    d/dmean = [p(z+) - p(z-)] / std and d/dstd = [-z+ p(z+) + z- p(z-)] / std, with p the standard
    normal density, z+ = (mean + gamma) / std and z- = (mean - gamma) / std.

    Args:
        mean, std, gamma: As of `overlap`.

    Returns:
        d/dmean and d/dstd, of the shape that the arguments broadcast to, per unit of membrane
        potential; 0 at std = 0.

    Raises:
        ValueError: If an argument is neither a number nor a tensor, or is out of its range.

    Example:

    >>> [round(float(gradient), 6) for gradient in overlap_gradients(1.0, 1.0, 1.0)]
    [-0.344951, -0.107982]
    """
    check_normal(mean, std)
    check_numbers("gamma", gamma, _GAMMA, above=0)
    return _gradients(*broadcast(*as_floats(mean, std, gamma)))[:2]


def scale_free_overlap(mean: Number, std: Number, kappa: Number) -> tf.Tensor:
    """Omega with its window counted in standard deviations: Phi(m + kappa) - Phi(m - kappa).

    With m = mean / std it stays the same when potential and threshold are merely scaled together,
    which lowers Omega and changes no spike. For small `kappa` it is near 2 kappa p(m), p the
    standard normal density.

    Args:
        mean: Mean of v = u - v_th, in units of membrane potential. The three broadcast.
        std: Standard deviation of v, same unit, at least 0; at 0 the gradients are 0.
        kappa: Half-width of the window in standard deviations, positive.

    Returns:
        The share in [0, 1], of the shape that the arguments broadcast to; differentiable once,
        with respect to all three.

    Raises:
        ValueError: If an argument is neither a number nor a tensor, or is out of its range.

    Example:

    >>> [round(float(scale_free_overlap(-c, c, 1.0)), 6) for c in (1.0, 10.0)]  # Phi(0) - Phi(-2)
    [0.47725, 0.47725]
    """
    check_normal(mean, std)
    check_numbers("kappa", kappa, "half-width of the window, in standard deviations", above=0)
    mean, std, kappa = broadcast(*as_floats(mean, std, kappa))
    limit = 1e12
    m = standardize(mean, std, limit, beyond=limit * tf.sign(mean))
    return _overlap(m, tf.ones_like(m), kappa)


@tf.custom_gradient
def _overlap(mean: tf.Tensor, std: tf.Tensor, gamma: tf.Tensor):
    def backward(upstream):
        return [upstream * gradient for gradient in _gradients(mean, std, gamma)]

    m, h, near = _window(mean, std, gamma)
    low, high = near / math.sqrt(2.0), tf.minimum(m + h, FAR) / math.sqrt(2.0)
    inside = (tf.math.erf(high) - tf.math.erf(low)) / 2.0  # near <= 0: a sum of two shares
    outside = (tf.math.erfc(low) - tf.math.erfc(high)) / 2.0  # near > 0: keeps the far tail
    wide = tf.where(near > 0.0, outside, inside)

    is_narrow = h * tf.maximum(m, 1.0) < _NARROW
    m, h = tf.where(is_narrow, m, 0.0), tf.where(is_narrow, h, 0.0)
    # p(m + h x) = p(m) exp(-m h x - h^2 x^2 / 2), and the nodes x are symmetric
    nodes, weights = (tf.constant(values, m.dtype) for values in (_NODES, _WEIGHTS))
    at = h[..., None] * nodes
    shares = weights * tf.cosh(m[..., None] * at) * tf.exp(-tf.square(at) / 2.0)
    narrow = density(m) * h * tf.reduce_sum(shares, axis=-1)
    return tf.where(is_narrow, narrow, wide), backward


def _gradients(mean: tf.Tensor, std: tf.Tensor, gamma: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Gradients of Omega with respect to mean and std (Eq. 14-15) and to gamma.

    With m = |mean| / std and h = gamma / std, p(m + h) = p(m - h) exp(-2 m h). The differences of
    Eq. 14-15, written so, do not cancel where m h is small.
    """
    m, h, near = _window(mean, std, gamma)
    inverse = tf.where(std > STD_FLOOR, 1.0 / tf.maximum(std, STD_FLOOR), 0.0)
    height = density(near) * inverse
    less = tf.math.expm1(-2.0 * m * h)  # p(m + h) / p(m - h) - 1
    return (
        tf.sign(mean) * height * less,
        height * (-near * less - 2.0 * h * (1.0 + less)),
        height * (2.0 + less),
    )


def _window(mean: tf.Tensor, std: tf.Tensor, gamma: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Distance |mean|, half-width gamma and nearer end |mean| - gamma, all in deviations."""
    std = tf.maximum(std, STD_FLOOR)
    limit = 1e15  # squares and products stay finite in float32
    return (
        tf.minimum(tf.abs(mean) / std, limit),
        tf.minimum(gamma / std, limit),
        tf.clip_by_value((tf.abs(mean) - gamma) / std, -FAR, FAR),
    )


def density(z: tf.Tensor) -> tf.Tensor:
    """The standard normal density."""
    return tf.exp(-tf.square(z) / 2.0) / math.sqrt(2.0 * math.pi)


def cumulative(z: tf.Tensor) -> tf.Tensor:
    """Phi, the standard normal distribution function (Eq. 12), with relative precision below 0."""
    return tf.math.erfc(-z / math.sqrt(2.0)) / 2.0


def standardize(x: tf.Tensor, std: tf.Tensor, limit: float, beyond: tf.Tensor) -> tf.Tensor:
    """x / std; where std is 0 or the quotient passes +-limit, `beyond` and a gradient of 0."""
    live = (std > STD_FLOOR) & (tf.abs(x) < limit * std)
    # The operands are replaced too: a gradient of 0 times an infinite quotient would be NaN.
    quotient = tf.where(live, x, 0.0) / tf.where(live, std, 1.0)
    return tf.where(live, quotient, tf.stop_gradient(beyond))


def broadcast(*tensors: tf.Tensor) -> list[tf.Tensor]:
    """The tensors in one shape; a gradient of `broadcast_to` sums back to the shape given."""
    shape = tf.shape(sum(tensors[1:], tensors[0]))
    return [tf.broadcast_to(tensor, shape) for tensor in tensors]


def as_floats(*values: Any) -> list[tf.Tensor]:
    """Tensors of one dtype: float64 if only Python numbers came, or if one of the values has it."""
    fixed = [tf.as_dtype(value.dtype) for value in values if _has_dtype(value)]
    fixed = [dtype for dtype in fixed if dtype.is_floating]
    dtype = tf.float64 if tf.float64 in fixed or not fixed else tf.float32
    return [
        tf.cast(tf.convert_to_tensor(value), dtype)
        if _has_dtype(value)
        else tf.convert_to_tensor(value, dtype)
        for value in values
    ]


def check_normal(mean: Any, std: Any) -> None:
    """Raises unless both are finite numbers or tensors of numbers, `std` not negative."""
    check_numbers("mean", mean, "mean of v, in units of membrane potential")
    check_numbers("std", std, "standard deviation of v, in units of membrane potential", least=0)


def check_numbers(name: str, value: Any, meaning: str, **bounds: float) -> None:
    """Raises unless `value` is a number within the bounds, a list of such, an array or a tensor.

    Of arrays and tensors the dtype alone is looked at: their values may be symbolic.

    Args:
        name, value, meaning, **bounds: As of `arguments.check_number`.
    """
    if not _has_dtype(value):
        for number in np.ravel(value).tolist() if isinstance(value, list | tuple) else [value]:
            check_number(name, number, meaning, **bounds)
    elif not (tf.as_dtype(value.dtype).is_floating or tf.as_dtype(value.dtype).is_integer):
        raise ValueError(f"`{name}` must hold numbers ({meaning}). Received: dtype={value.dtype}.")


def _has_dtype(value: Any) -> bool:
    return hasattr(value, "dtype") and not isinstance(value, float)  # np.float64 is a float
