"""Mean and deviation of the membrane potential from those of its input (MPD-SGR, Theorem 1)."""

from __future__ import annotations

import functools

import tensorflow as tf

from keras_mpdsgr import keras_internals
from keras_mpdsgr.arguments import check_choice, check_flag, check_integer
from keras_mpdsgr.overlap.gaussian import (
    FAR,
    STD_FLOOR,
    Number,
    as_floats,
    broadcast,
    check_numbers,
    cumulative,
    density,
    standardize,
)


def membrane_moments(
    beta: Number,
    scale: Number,
    tau: Number,
    timesteps: int,
    reset: str | None = None,
    v_threshold: Number = 1.0,
    constant_input: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and standard deviation of u, before the spike decision, at each time step.

    Without reset it is Theorem 1: with D(tau, t) = 1 + tau + ... + tau^(t-1), the mean is
    beta D(tau, t) and the deviation scale sqrt(D(tau^2, t)), or scale D(tau, t) where all steps
    have the same input. With a reset it is a recursion that takes u for normal at each step, and
    whose moments of what the reset leaves are then exact (truncated normal):

        mean(t+1) = tau E[f(u(t))] + beta,
        std(t+1)^2 = tau^2 Var[f(u(t))] + scale^2 (+ 2 tau Cov[f(u(t)), I] for a constant input),

    f(u) = 0 (hard) or u - v_th (soft) where u >= v_th, else u. This is exact up to the second
    step; later u is not normal, and the recursion an approximation. Gradients reach all that is
    given as a tensor; where a deviation is 0, its gradient is 0.

    Args:
        beta: Mean of the input current, in units of membrane potential: a scalar or one per
            channel. After tdBN it is the norm's offset beta.
        scale: Standard deviation of the input current, same unit and shapes; after tdBN
            lambda alpha v_th, of which the sign is ignored.
        tau: Leak factor, in [0, 1]: a scalar, or a tensor `(timesteps,)` of one for each step (the
            first is not used, as the potential starts from 0).
        timesteps: Number of time steps T, at least 1.
        reset: None, `"hard"` (to 0) or `"soft"` (by `v_threshold`).
        v_threshold: Threshold, in units of membrane potential, positive.
        constant_input: Whether all time steps get the same input (the first layer under direct
            coding), not an independent one each.

    Returns:
        Mean and standard deviation, each `(timesteps, channels)`; subtract `v_threshold` from the
        mean for `overlap`.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    >>> mean, std = membrane_moments(beta=0.5, scale=1.0, tau=1.0, timesteps=4)
    >>> mean.numpy()[:, 0].tolist(), std.numpy()[3, 0].tolist()
    ([0.5, 1.0, 1.5, 2.0], 2.0)
    """
    check_integer("timesteps", timesteps, "length of the sequence", least=1)
    check_choice("reset", reset, (None, "hard", "soft"))
    check_numbers("tau", tau, "leak factor of the neuron", least=0, most=1)
    check_flag("constant_input", constant_input)
    check_numbers("beta", beta, "mean of the input current")
    check_numbers("scale", scale, "standard deviation of the input current")
    check_numbers("v_threshold", v_threshold, "threshold, in units of membrane potential", above=0)
    beta, scale, tau, v_threshold = as_floats(beta, scale, tau, v_threshold)
    beta, scale = broadcast(_per_channel("beta", beta), tf.abs(_per_channel("scale", scale)))
    leak = _leak(tau, timesteps)
    if reset is None:
        return _without_reset(beta, scale, leak, constant_input)
    step = _traced_step(reset, constant_input) if tf.inside_function() else _step
    settings = () if tf.inside_function() else (reset, constant_input)
    mean, std, covariance = beta, scale, tf.square(scale)
    means, stds = [mean], [std]
    for tau in leak[1:]:
        mean, std, covariance = step(
            mean, std, covariance, tau, beta, scale, v_threshold, *settings
        )
        means.append(mean)
        stds.append(std)
    return tf.stack(means), tf.stack(stds)


@functools.lru_cache
def _traced_step(*settings):
    # Traced, differentiated and optimized once for all time steps: it is many small operations.
    return keras_internals.function_of_its_own(
        lambda *tensors: _step(*tensors, *settings), reduce_retracing=True
    )


def _step(mean, std, covariance, tau, beta, scale, v_threshold, reset, constant_input):
    """Mean, deviation and covariance with the input one time step on."""
    after_reset = {"hard": _after_hard_reset, "soft": _after_soft_reset}[reset]
    left, left_variance, slope = after_reset(mean, std, v_threshold)
    mean = tau * left + beta
    variance = tf.square(tau) * left_variance + tf.square(scale)
    if constant_input:
        left_covariance = slope * covariance  # Stein: Cov(f(u), I) = E[f'(u)] Cov(u, I)
        variance += 2.0 * tau * left_covariance
        covariance = tau * left_covariance + tf.square(scale)
    return mean, _root(variance), covariance


def _leak(tau, timesteps):
    """The leak factor of each time step, a list of scalars."""
    if tau.shape.rank == 0:
        return [tau] * timesteps
    if tau.shape != (timesteps,):
        raise ValueError(
            "`tau` must be a scalar or hold one leak factor for each time step, shape "
            f"({timesteps},). Received: a value of shape {tuple(tau.shape)}."
        )
    return tf.unstack(tau)


def _without_reset(beta, scale, leak, constant_input):
    sums, squares = [tf.ones_like(leak[0])], [tf.ones_like(leak[0])]
    for tau in leak[1:]:
        sums.append(tau * sums[-1] + 1.0)  # D(tau, t)
        squares.append(tf.square(tau) * squares[-1] + 1.0)  # D(tau^2, t)
    sums, deviations = tf.stack(sums), tf.sqrt(tf.stack(squares))
    widths = sums if constant_input else deviations
    return sums[:, None] * beta, widths[:, None] * scale


def _after_hard_reset(mean, std, v_threshold):
    """Mean, variance and mean slope of f(u) = u where u < v_threshold, else 0."""
    a = _threshold_in_deviations(mean, std, v_threshold)
    silent, fires = cumulative(a), cumulative(-a)
    b = tf.maximum(a, -10.0)  # below, next to no neuron is silent, and the quotient is 0 / 0
    ratio = density(b) / cumulative(b)
    below = mean - std * ratio  # E[u | u < v_th]
    narrowing = tf.maximum(1.0 - ratio * (b + ratio), 0.0)  # Var[u | u < v_th] / std^2
    # The law of total variance: no difference that could cancel.
    variance = silent * (tf.square(std) * narrowing + fires * tf.square(below))
    return silent * below, variance, silent - _jump(a, std, v_threshold)


def _after_soft_reset(mean, std, v_threshold):
    """Mean, variance and mean slope of f(u) = u where u < v_threshold, else u - v_threshold."""
    a = _threshold_in_deviations(mean, std, v_threshold)
    silent, fires = cumulative(a), cumulative(-a)
    # Cov(u, s) = std p(a); its correlation is under sqrt(2 / pi), so that this stays positive.
    variance = (
        tf.square(std)
        + tf.square(v_threshold) * silent * fires
        - 2.0 * v_threshold * std * density(a)
    )
    return mean - v_threshold * fires, variance, 1.0 - _jump(a, std, v_threshold)


def _threshold_in_deviations(mean, std, v_threshold):
    distance = v_threshold - mean
    # A potential that does not vary fires at v_threshold, too.
    beyond = tf.where(distance > 0.0, tf.constant(FAR, mean.dtype), -FAR)
    return standardize(distance, std, FAR, beyond)


def _jump(a, std, v_threshold):
    """What the reset's jump by v_threshold adds to the mean slope of f: height times density."""
    return v_threshold * density(a) / tf.maximum(std, STD_FLOOR)


def _root(variance):
    """Square root, with 0 and a gradient of 0 where the variance is 0 up to rounding."""
    live = variance > STD_FLOOR**2
    return tf.where(live, tf.sqrt(tf.where(live, variance, 1.0)), 0.0)


def _per_channel(name: str, value: tf.Tensor) -> tf.Tensor:
    if value.shape.rank is not None and value.shape.rank > 1:
        raise ValueError(
            f"`{name}` must be a scalar or have one value per channel, shape (channels,). "
            f"Received: a value of shape {tuple(value.shape)}."
        )
    return tf.reshape(value, (-1,))
