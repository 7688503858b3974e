"""Neurons of NIR as the constants of a `LIFLayer`: time constants, resistances, thresholds."""

import dataclasses

import numpy as np

from keras_mpdsgr.export.kernels import Unsupported

# Share by which a few roundings to float32 change a number.
_ROUNDING = 2.0**-22


@dataclasses.dataclass(frozen=True)
class Constants:
    """A `LIFLayer`, and what is done to its input current before.

    Attributes:
        tau: Leak factor.
        v_threshold: Firing threshold.
        scale: What the current is multiplied by: a number, or an array of the signal's shape.
        shift: What is then added to it, likewise.
    """

    tau: float
    v_threshold: float
    scale: float | np.ndarray = 1.0
    shift: float | np.ndarray = 0.0


def constants(nir, node, shape, dt):
    """The `Constants` of a node, whose potential begins at 0.

    With a = dt / tau, NIR's `v + a * (v_leak - v + r * I)`, fired above `v_threshold`, is our
    `(1 - a) * u + scale * I + shift` divided by whatever makes all thresholds one number. Where
    `a * r` is one positive number for all neurons, the potential is divided by it, so that the
    current stays as it is.

    Args:
        nir: The package.
        node: A `nir.IF`, `nir.LIF` or `nir.Threshold`.
        shape: Of the signal, in the order of the node's own arrays.
        dt: Length of a time step in seconds.

    Raises:
        Unsupported: If a `LIFLayer` cannot do the same.
    """
    if isinstance(node, nir.Threshold):
        return Constants(0.0, _positive(_above(_single("threshold", node.threshold))))
    if np.any(_array("v_reset", node.v_reset)):
        raise Unsupported("its neurons must reset to 0: v_reset is another value")
    threshold = _of_shape("v_threshold", node.v_threshold, shape)
    resistance = _of_shape("r", node.r, shape)
    if isinstance(node, nir.IF):
        leak, gain, shift = 1.0, dt * resistance, np.zeros(())
    else:
        leak = _leak(_single("tau", node.tau), dt)
        gain = (1.0 - leak) * resistance
        shift = (1.0 - leak) * _of_shape("v_leak", node.v_leak, shape)
    gain, shift, threshold = (_one_or_all(values) for values in (gain, shift, threshold))
    _positive(threshold)
    if gain.ndim == 0 and threshold.ndim == 0 and gain > 0:
        gain = 1.0 if abs(gain - 1.0) <= _ROUNDING else float(gain)
        value = _shortest(
            _above(threshold) / gain, lambda t: _below(t * gain) == np.float32(threshold)
        )
        return Constants(leak, value, 1.0, _plain(shift / gain))
    # A threshold of 1 for all, as a LIFLayer has a single one.
    return Constants(leak, float(_above(1.0)), _plain(gain / threshold), _plain(shift / threshold))


def _leak(tau, dt):
    share = dt / float(tau)
    if not 0.0 < share <= 1.0 + _ROUNDING:
        raise Unsupported(
            f"its tau must be at least a time step of {dt:g} s, so that the leak factor 1 - dt / "
            f"tau is in [0, 1); it is {float(tau):g} s. Was it exported with another `dt`?"
        )
    if share >= 1.0 - _ROUNDING:
        return 0.0
    return _shortest(
        1.0 - share, lambda leak: leak < 1.0 and np.float32(dt / (1.0 - leak)) == np.float32(tau)
    )


def _shortest(value, same):
    """The shortest decimal near a number that stands for the same float32 number in the graph.

    Without it 0.9 would come back as 0.90000004, and a potential that meets the threshold exactly
    would miss it.
    """
    for digits in range(1, 9):
        near = float(f"{float(value):.{digits}g}")
        if same(near):
            return near
    return float(np.float32(value))


def _above(value):
    """The next float32 number: NIR fires above its threshold, a LIFLayer at it."""
    return np.nextafter(np.float32(value), np.float32(np.inf))


def _below(value):
    return np.nextafter(np.float32(value), np.float32(-np.inf))


def _positive(threshold):
    if np.min(threshold) <= np.finfo(np.float32).tiny:
        raise Unsupported("its thresholds must be positive")
    return float(threshold) if np.ndim(threshold) == 0 else threshold


def _single(name, values):
    """One number for all neurons."""
    values = _array(name, values)
    if np.ptp(values) > _ROUNDING * np.abs(values).max():
        raise Unsupported(
            f"its {name} must be the same for all neurons of the node; it goes from "
            f"{values.min():g} to {values.max():g}"
        )
    return values.reshape(-1)[0]


def _of_shape(name, values, shape):
    values = _array(name, values)
    if values.size == 1:
        return values.reshape(())
    if values.shape != tuple(shape):
        raise Unsupported(f"its {name} has shape {values.shape}, and its input {tuple(shape)}")
    return values


def _one_or_all(values):
    return values.reshape(-1)[0].reshape(()) if np.ptp(values) == 0 else values


def _plain(values):
    return float(values) if np.ndim(values) == 0 else values


def _array(name, values):
    values = np.asarray(values, np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise Unsupported(f"its {name} must hold finite numbers")
    return values
