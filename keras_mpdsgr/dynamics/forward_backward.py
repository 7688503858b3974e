"""Forward and backward pass of a layer of neurons, as functions of tensors alone."""

import dataclasses

import tensorflow as tf

from keras_mpdsgr.dynamics.gradient_modes import GradientMode
from keras_mpdsgr.dynamics.moments import moments_gradient
from keras_mpdsgr.dynamics.neurons import Neuron, Window, simulate


@dataclasses.dataclass(frozen=True)
class Forward:
    """The forward pass of a layer, equal for layers of equal settings: XLA compiles it once.

    Args:
        neuron: The `Neuron`.
        dtype: Of currents and spikes.
        state_dtype: Of membrane potentials.
        repeated: Whether all time steps get one current, `(batch, ...)`.
    """

    neuron: Neuron
    dtype: tf.DType
    state_dtype: tf.DType
    repeated: bool = False

    def forward(self, currents, leak, initial):
        """Membrane potentials (a list over time), spikes `(batch, time, ...)`, and the residual."""
        by_step = [currents] * len(leak) if self.repeated else tf.unstack(currents, axis=1)
        inputs = [tf.cast(current, self.state_dtype) for current in by_step]
        membranes, spikes, residual = simulate(inputs, leak, self.neuron, initial)
        return membranes, tf.cast(tf.stack(spikes, axis=1), self.dtype), residual

    def forward_spikes(self, currents, leak, initial):
        """As `forward`, without the potentials: where no gradient is taken nothing holds them."""
        return self.forward(currents, leak, initial)[1:]


@dataclasses.dataclass(frozen=True)
class Backward:
    """The backward pass of a layer, equal for layers of equal settings, too.

    Args:
        neuron, dtype, state_dtype: As of `Forward`.
        surrogate: The surrogate gradient that the layer trains with.
        mode: The `GradientMode` in force.
        key: What tells the mode's backward from others'.
        moments: Which moments are asked for, as of `lif`.
    """

    neuron: Neuron
    surrogate: object
    mode: GradientMode = dataclasses.field(compare=False)
    key: object
    moments: str | None
    dtype: tf.DType
    state_dtype: tf.DType

    def window(self, leak, membranes, initial, given):
        return Window(self.neuron, of_width(self.surrogate, given), leak, membranes, initial)

    def backward(self, window, prepared, spikes_gradient, moments, potentials_gradient):
        """Gradients by the current of each time step, and by the learned parameters.

        Args:
            window: What `self.window` takes, a tuple.
            prepared: What the mode's `prepare` returned.
            spikes_gradient: `(batch, time, ...)`.
            moments: The mean, and the gradients by mean and variance.
            potentials_gradient: `(batch, time, ...)`, in a tuple; an empty one for none.

        Returns:
            A list over time, a list over parameters, and the list over time without the gradient
            by the moments of the current, empty where it is the first.
        """
        given = window[-1]
        window = self.window(*window)
        gradients = [tf.cast(g, self.state_dtype) for g in tf.unstack(spikes_gradient, axis=1)]
        to_membrane, to_current = _moments_backward(window, self.moments, *moments)
        for stacked in potentials_gradient:
            more = tf.unstack(stacked, axis=1)
            to_membrane = more if to_membrane is None else _sums(to_membrane, more)
        by_step = self.mode.backward(window, gradients, to_membrane, prepared)
        of_parameters = {
            "tau": lambda tau: _tau_gradient(window, by_step, tau),
            "gamma": lambda gamma: _gamma_gradient(window, gradients, by_step, gamma),
        }
        parameter_gradients = [of_parameters[name](value) for name, value in given.items()]
        if to_current is None and self.dtype == self.state_dtype:
            return by_step, parameter_gradients, []
        gradients = by_step if to_current is None else _sums(by_step, to_current)
        # The bare recurrence too: what is no output XLA would compute again for each later step.
        return [tf.cast(g, self.dtype) for g in gradients], parameter_gradients, by_step


def _sums(one, other):
    return [a + b for a, b in zip(one, other, strict=True)]


def of_width(surrogate, given):
    """The surrogate in its learned width, where `given` holds a `gamma`."""
    return surrogate.with_width(given["gamma"]) if "gamma" in given else surrogate


def _moments_backward(window, moments, mean, mean_gradient, variance_gradient):
    """Gradient of the moments by the membrane and by the current of each step; None for none."""
    steps = len(window.membranes)
    if moments is None:
        return None, None
    if moments == "membrane":
        gradients = moments_gradient(window.membranes, mean, mean_gradient, variance_gradient)
        return gradients, None
    currents = [window.current(t) for t in range(steps)]
    repeated = [tf.tile(g[None] / steps, (steps, 1)) for g in (mean_gradient, variance_gradient)]
    return None, moments_gradient(currents, tf.tile(mean[None], (steps, 1)), *repeated)


def _tau_gradient(window, by_step, tau):
    """dL/dtau(t): the sum of e(t) times the membrane potential that step t started from."""
    sums = []
    for t, gradient in enumerate(by_step):
        carried = window.carried(t)
        sums.append(
            tf.zeros((), gradient.dtype) if carried is None else tf.reduce_sum(gradient * carried)
        )
    gradient = tf.stack(sums) if tau.shape.rank else tf.add_n(sums)
    return tf.cast(gradient, tau.dtype)


def _gamma_gradient(window, spikes_gradient, by_step, gamma):
    """dL/dgamma: the sum of what reaches each spike, also through the reset, times ds/dgamma."""
    sums = []
    for t, gradient in enumerate(spikes_gradient):
        neuron, membrane = window.neuron, window.membranes[t]
        if t + 1 < len(by_step) and not neuron.detach_reset:
            taken = membrane if neuron.reset == "hard" else neuron.v_threshold
            gradient = gradient - window.leak[t + 1] * by_step[t + 1] * taken
        distance = window.distance(t)
        slope = window.surrogate.derivative(distance) * distance / tf.cast(gamma, distance.dtype)
        sums.append(-tf.reduce_sum(gradient * slope))
    return tf.cast(tf.add_n(sums), gamma.dtype)
