"""Backward passes made for attacks on spiking networks, beyond a fixed surrogate and rates."""

import dataclasses
import math

import tensorflow as tf

from keras_mpdsgr.arguments import check_number
from keras_mpdsgr.dynamics import fusion
from keras_mpdsgr.dynamics.gradient_modes import GradientMode, register

# The sharpness at which the arctan surrogate holds 85 % of its mass within distance 1.
_ASSG_SHARPNESS = 2.0 * math.tan(0.425 * math.pi) / math.pi
_ASSG_DECAY = 0.9
_ASSG_DEVIATIONS = 1.5
_ASSG_FLOOR = 1e-4


@register
class ASSG(GradientMode):
    """Adaptive sharpness surrogate gradient (arXiv 2512.22522).

    Over the steps of an attack each neuron keeps, for each sample and time step, the running mean M
    of its distance from the threshold and D of that distance's deviation; the backward is the
    arctan surrogate at sharpness `A / (M + 1.5 D + 1e-4)`, so that far neurons pass a gradient too.

    The state belongs to one attack on one batch, and each attack starts a new one. The gradient is
    kept out of the reset, as in the source's neurons.

    Args:
        surrogate: Not used; must be None.
        detach_reset: As of `GradientMode`; `"auto"` is True.
        sharpness: The constant A, positive; None for `2 tan(0.425 pi) / pi`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    name = "assg"
    detaches_reset = True

    def __init__(self, surrogate=None, detach_reset="auto", sharpness=None):
        super().__init__(surrogate, detach_reset)
        if sharpness is None:
            sharpness = _ASSG_SHARPNESS
        elif not tf.is_tensor(sharpness):
            sharpness = check_number("sharpness", sharpness, "the constant A of ASSG", above=0)
        self.sharpness = sharpness

    def prepare(self, window, layer_name):
        slot = self.calls - self._first_call
        super().prepare(window, layer_name)
        shape = (None, len(window.membranes), *window.membranes[0].shape[1:])
        if slot < len(self._incoming):
            mean, deviation = self._incoming[slot]
        else:
            first = tf.stack(window.membranes, axis=1)
            mean, deviation = tf.ones_like(first), tf.zeros_like(first)
        adaptation = _Adaptation(window.neuron.v_threshold, self._update)
        given = window.membranes, mean, deviation, self.sharpness
        compiled = fusion.compiler(shape)
        if compiled is None:
            adapted, prepared = adaptation.sharpness(*given, None)
        else:
            adapt = compiled(adaptation.sharpness, shared=True)
            adapted, prepared = adapt(*given, fusion.hidden_zero(window.membranes[0]))
        self._outgoing.append(adapted)
        return prepared

    def backward_key(self):
        return (ASSG, self.detach_reset) if type(self) is ASSG else None

    def derivative(self, window, t, prepared):
        sharpness = prepared[t]
        scaled = math.pi / 2 * sharpness * window.distance(t)
        return sharpness / 2 / (1 + tf.square(scaled))


@dataclasses.dataclass(frozen=True)
class _Adaptation:
    """One step of ASSG's running means, equal for layers of equal settings.

    Args:
        v_threshold: Of the neurons.
        update: Whether the means move on.
    """

    v_threshold: float
    update: bool

    def sharpness(self, membranes, mean, deviation, constant, zero):
        """The means M and D after the step, `(batch, time, ...)`, and the sharpness by time step.

        Args:
            membranes: Membrane potentials, a list over time.
            mean, deviation: M and D before the step.
            constant: A.
            zero: As of `fusion.rounded`.
        """

        def times(factor, values):
            return fusion.rounded(factor * values, zero)

        distance = tf.abs(tf.stack(membranes, axis=1) - self.v_threshold)
        if self.update:
            mean = times(_ASSG_DECAY, mean) + times(1 - _ASSG_DECAY, distance)
            deviation = times(_ASSG_DECAY, deviation)
            deviation += times(1 - _ASSG_DECAY, tf.abs(distance - mean))
        spread = mean + (times(_ASSG_DEVIATIONS, deviation) + _ASSG_FLOOR)
        return (mean, deviation), tf.unstack(constant / spread, axis=1)


@register
class PDSG(GradientMode):
    """Potential-dependent surrogate gradient (arXiv 2503.03272).

    A Gaussian around half a deviation above the threshold, as wide as the deviation s of the
    potentials over batch, space and the time steps so far: per channel behind a convolution, over
    all units behind a dense layer; 1 where s is 0. It depends on what else is in the batch.
    """

    name = "pdsg"
    depends_on_batch = True

    def prepare(self, window, layer_name):
        super().prepare(window, layer_name)
        spatial = len(window.membranes[0].shape) > 2
        axes = list(range(len(window.membranes[0].shape) - 1)) if spatial else None
        # Counted from one of the potentials, so that equal ones have no deviation, exactly.
        origin = tf.reshape(window.membranes[0], (-1, window.membranes[0].shape[-1]))[0]
        origin = origin if spatial else origin[0]
        means = [tf.reduce_mean(u - origin, axes) for u in window.membranes]
        squares = [tf.reduce_mean(tf.square(u - origin), axes) for u in window.membranes]
        deviations = []
        for t in range(len(means)):
            mean = tf.add_n(means[: t + 1]) / (t + 1)
            variance = tf.add_n(squares[: t + 1]) / (t + 1) - tf.square(mean)
            deviations.append(tf.sqrt(tf.maximum(variance, 0.0)))
        return deviations

    def derivative(self, window, t, prepared):
        deviation = prepared[t]
        alive = deviation > 0
        s = tf.where(alive, deviation, tf.ones_like(deviation))
        scaled = (window.distance(t) - s / 2) / (math.sqrt(2.0) * s)
        gaussian = tf.exp(-tf.square(scaled)) / (math.sqrt(2 * math.pi) * s)
        return tf.where(alive, gaussian, tf.ones_like(gaussian))


@register
class Hybrid(GradientMode):
    """HART's backward (Hao et al., 2024): no gradient through the membrane, averaged over time.

    Each time step's spikes pass their gradient by the surrogate alone; the gradient of every input
    current is the mean over time.
    """

    name = "hybrid"
    passes_reset = False

    def backward(self, window, spikes_gradient, membrane_gradient, prepared):
        del membrane_gradient
        steps = range(len(window.membranes))
        by_step = [spikes_gradient[t] * self.derivative(window, t, prepared) for t in steps]
        mean = tf.add_n(by_step) / len(by_step)
        return [mean] * len(by_step)


@register
class StraightThrough(GradientMode):
    """The straight-through estimator: the spike's derivative is 1 everywhere."""

    name = "straight_through"

    def derivative(self, window, t, prepared):
        return tf.ones_like(window.membranes[t])


@register
class ReLUGradient(GradientMode):
    """The gradient of a ReLU: 1 where the membrane potential is positive, else 0."""

    name = "relu"

    def derivative(self, window, t, prepared):
        membrane = window.membranes[t]
        return tf.cast(membrane > 0, membrane.dtype)
