"""Constants of neurons that are learned: the leak, and the width of the surrogate's window."""

import math

import keras


def add_leak(layer, tau, shape):
    """Adds a learned leak factor, kept in [0, 1], to a layer that is being built.

    Args:
        layer: The layer.
        tau: Where it starts.
        shape: `()` for one factor, `(time,)` for one a time step.

    Returns:
        The weight `tau`.
    """
    start = keras.initializers.Constant(tau)
    return _added(layer, "tau", shape, initializer=start, constraint=_InUnitInterval())


def add_log_gamma(layer, gamma):
    """Adds the logarithm of a learned width to a layer that is being built.

    Args:
        layer: The layer.
        gamma: The width that it starts at, positive.

    Returns:
        The weight `log_gamma`, a scalar.
    """
    start = keras.initializers.Constant(math.log(gamma))
    return _added(layer, "log_gamma", (), initializer=start)


def _added(layer, name, shape, **options):
    # Not cast to the compute type: nor is the membrane.
    precision = {"dtype": layer.variable_dtype, "autocast": False}
    return layer.add_weight(name=name, shape=shape, **precision, **options)


@keras.saving.register_keras_serializable("keras_mpdsgr")
class _InUnitInterval(keras.constraints.Constraint):
    """Keeps a leak factor in [0, 1]."""

    def __call__(self, weight):
        return keras.ops.clip(weight, 0.0, 1.0)
