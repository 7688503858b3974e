"""The leaky integrate-and-fire recurrence over a whole window, as one custom gradient."""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from keras_mpdsgr import surrogates
from keras_mpdsgr.arguments import check_choice, check_flag, check_positive, check_share
from keras_mpdsgr.dynamics import capture, fusion, gradient_modes
from keras_mpdsgr.dynamics.moments import channel_moments, moments_gradient

RESETS = ("hard", "soft")
MOMENTS = (None, "membrane", "current")


class WindowOutput(NamedTuple):
    """What a layer of neurons gives back for one window.

    Attributes:
        spikes: `(batch, time, ...)`, zeros and ones.
        mean, variance: Moments per channel over batch and space: of the membrane potential, shape
            `(time, channels)`, or of the input current, shape `(channels,)`; None if not asked for.
        residual: `(batch, ...)`, the membrane potential left after the last reset.
    """

    spikes: tf.Tensor
    mean: tf.Tensor | None
    variance: tf.Tensor | None
    residual: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Neuron:
    """The constants of a layer of LIF neurons (paper, Eq. 1-4).

    Args:
        v_threshold: Firing threshold, in units of membrane potential.
        reset: `"hard"` (to 0) or `"soft"` (by subtracting the threshold).
        detach_reset: Whether the gradient is kept out of the reset.

    Raises:
        ValueError: If an argument is out of its range.
    """

    v_threshold: float = 1.0
    reset: str = "hard"
    detach_reset: bool = False

    def __post_init__(self):
        check_positive("v_threshold", self.v_threshold, "firing threshold")
        check_choice("reset", self.reset, RESETS)
        check_flag("detach_reset", self.detach_reset)

    def fire(self, membrane):
        """Spikes of a membrane potential: one where it has reached the threshold."""
        return tf.cast(membrane >= self.v_threshold, membrane.dtype)

    def after_reset(self, membrane, spikes):
        if self.reset == "hard":
            return membrane - spikes * membrane
        return membrane - spikes * self.v_threshold

    def reset_derivative(self, membrane, derivative):
        """d after_reset / d membrane, the spike's own derivative being `derivative`."""
        through = not self.detach_reset
        if self.reset == "hard":
            kept = tf.cast(membrane < self.v_threshold, membrane.dtype)
            return kept - membrane * derivative if through else kept
        return 1.0 - self.v_threshold * derivative if through else tf.ones_like(membrane)


@dataclasses.dataclass
class Window:
    """What a backward pass knows of one layer's forward pass.

    Args:
        neuron: The `Neuron`.
        surrogate: The surrogate gradient that the layer trains with.
        leak: The leak factor of each time step, a list of scalars.
        membranes: Membrane potentials before the spike decision, a list over time of
            `(batch, ...)` tensors.
        initial: Membrane potential before the first step, or None for zero.
    """

    neuron: Neuron
    surrogate: object
    leak: list
    membranes: list
    initial: tf.Tensor | None = None

    def distance(self, t):
        """v = u - v_th at one time step."""
        return self.membranes[t] - self.neuron.v_threshold

    def carried(self, t):
        """The membrane potential that step `t` starts from, before the leak; None for zero."""
        if t == 0:
            return self.initial
        membrane = self.membranes[t - 1]
        return self.neuron.after_reset(membrane, self.neuron.fire(membrane))

    def current(self, t):
        carried = self.carried(t)
        membrane = self.membranes[t]
        return membrane if carried is None else membrane - self.leak[t] * carried


def simulate(currents, leak, neuron, initial=None):
    """Runs the neurons over a window (paper, Eq. 2-4), without any gradient of its own.

    Args:
        currents: List over time of input currents, `(batch, ...)`.
        leak: List over time of leak factors.
        neuron: The `Neuron`.
        initial: Membrane potential before the first step; None for zero.

    Returns:
        Membrane potentials before the spike decision (a list over time), spikes (a list), and the
        membrane potential after the last reset.
    """
    membranes, spikes = [], []
    carried = initial
    for current, factor in zip(currents, leak, strict=True):
        membrane = current if carried is None else factor * carried + current
        fired = neuron.fire(membrane)
        carried = neuron.after_reset(membrane, fired)
        membranes.append(membrane)
        spikes.append(fired)
    return membranes, spikes, carried


@dataclasses.dataclass(frozen=True)
class _Passes:
    """The two passes of a layer as functions of tensors, equal for layers of equal settings."""

    neuron: Neuron
    surrogate: object
    mode: gradient_modes.GradientMode
    moments: str | None
    dtype: tf.DType
    state_dtype: tf.DType

    def window(self, leak, membranes, initial, given):
        return Window(self.neuron, _of_width(self.surrogate, given), leak, membranes, initial)

    def forward(self, currents, leak, initial):
        inputs = [tf.cast(current, self.state_dtype) for current in tf.unstack(currents, axis=1)]
        membranes, spikes, residual = simulate(inputs, leak, self.neuron, initial)
        return membranes, tf.cast(tf.stack(spikes, axis=1), self.dtype), residual

    def backward(self, window, prepared, spikes_gradient, moments):
        """Gradients by the current of each time step, and by the learned parameters."""
        given = window[-1]
        window = self.window(*window)
        gradients = [tf.cast(g, self.state_dtype) for g in tf.unstack(spikes_gradient, axis=1)]
        to_membrane, to_current = _moments_backward(window, self.moments, *moments)
        by_step = self.mode.backward(window, gradients, to_membrane, prepared)
        of_parameters = {
            "tau": lambda tau: _tau_gradient(window, by_step, tau),
            "gamma": lambda gamma: _gamma_gradient(window, gradients, by_step, gamma),
        }
        parameter_gradients = [of_parameters[name](value) for name, value in given.items()]
        gradients = by_step
        if to_current is not None:
            gradients = [a + b for a, b in zip(by_step, to_current, strict=True)]
        # The bare recurrence too: what is no output XLA would compute anew for each later step.
        return [tf.cast(g, self.dtype) for g in gradients], parameter_gradients, by_step


def lif(
    currents,
    surrogate,
    tau=1.0,
    neuron=None,
    moments=None,
    initial=None,
    name="lif",
    gamma=None,
    training=False,
):
    """Leaky integrate-and-fire neurons over a window, with the gradient the scope asks for.

    Forward is Eq. 1-4 of the paper. Backward is the written-out reverse recurrence (Eq. 5-7), or
    whatever `gradient_mode` is in force; the gradient of the moments is added in the same pass.

    Args:
        currents: `(batch, time, ...)`, floating point, time static.
        surrogate: A `surrogates.Surrogate`.
        tau: Leak factor in [0, 1]: a number, or a tensor of shape `()` or `(time,)` that then gets
            a gradient of its own.
        neuron: A `Neuron`; by default one with threshold 1 and hard reset.
        moments: None, `"membrane"` (of the membrane potential, per time step and channel) or
            `"current"` (of the input current, per channel). Synchronised over replicas.
        initial: Membrane potential before the first step, `(batch, ...)`; no gradient flows there.
        name: What `capture_potentials` and errors call these neurons.
        gamma: A scalar tensor that replaces the surrogate's own width and gets a gradient: that of
            a spike smoothed to F(v / gamma), F' = h_1, so that ds/dgamma = -v / gamma h(v). The
            gradient of BPTT, whichever mode is in force. None keeps the surrogate's own.
        training: Whether this is a training step, which `fused_neurons` asks.

    Returns:
        A `WindowOutput`. Half-precision currents are integrated in float32; the spikes come back
        in the currents' own dtype.
    """
    if moments not in MOMENTS:
        raise ValueError(f"`moments` must be one of {MOMENTS}. Received: moments={moments!r}.")
    if not isinstance(surrogate, surrogates.Surrogate):
        raise ValueError(f"`surrogate` must be a Surrogate. Received: {surrogate!r}.")
    if not tf.is_tensor(tau):
        check_share("tau", tau, "leak factor")
    neuron = Neuron() if neuron is None else neuron
    if not isinstance(neuron, Neuron):
        raise ValueError(f"`neuron` must be a Neuron or None. Received: {neuron!r}.")
    dtype = currents.dtype
    state_dtype = tf.float32 if dtype in (tf.float16, tf.bfloat16) else dtype
    steps = currents.shape[1]
    mode = gradient_modes.current_mode()
    learned = {"tau": tau} if tf.is_tensor(tau) else {}
    learned |= {} if gamma is None else {"gamma": gamma}
    if initial is not None:
        initial = tf.stop_gradient(tf.cast(initial, state_dtype))
    passes = _Passes(neuron, surrogate, mode, moments, dtype, state_dtype)
    compiled = fusion.compiler(currents, training)

    @tf.custom_gradient
    def window_of(currents, *parameters):
        given = dict(zip(learned, parameters, strict=True))
        leak = _leak(given.get("tau", tau), steps, state_dtype)
        membranes, spikes, residual = compiled(passes.forward)(currents, leak, initial)
        prepared = mode.prepare(passes.window(leak, membranes, initial, given), name)
        everything = tf.cast(currents, state_dtype)
        observed = {None: [], "membrane": membranes, "current": [everything]}[moments]
        mean, variance = channel_moments(observed)
        if moments == "current":
            mean, variance = mean[0], variance[0]

        def backward(spikes_gradient, mean_gradient, variance_gradient, _):
            by_step, of_parameters, _ = compiled(passes.backward)(
                (leak, membranes, initial, given),
                prepared,
                spikes_gradient,
                (mean, mean_gradient, variance_gradient),
            )
            # Not compiled: XLA would compute the recurrence anew for each part of the stack.
            return tf.stack(by_step, axis=1), *of_parameters

        return (spikes, mean, variance, residual), backward

    outputs = window_of(currents, *learned.values())
    spikes, mean, variance, residual = outputs
    if capture.active():
        membranes, fired = _replay(currents, tau, neuron, initial, state_dtype)
        capture.record(
            name=name,
            currents=currents,
            membranes=membranes,
            spikes=fired,
            surrogate=_of_width(surrogate, learned),
            neuron=neuron,
            tau=tau,
        )
    if moments is None:
        mean = variance = None
    return WindowOutput(spikes, mean, variance, tf.stop_gradient(residual))


def _of_width(surrogate, given):
    return surrogate.with_width(given["gamma"]) if "gamma" in given else surrogate


def _leak(tau, steps, dtype):
    if not tf.is_tensor(tau):
        return [tau] * steps
    tau = tf.cast(tau, dtype)
    return tf.unstack(tau) if tau.shape.rank else [tau] * steps


def _replay(currents, tau, neuron, initial, dtype):
    inputs = [tf.cast(current, dtype) for current in tf.unstack(currents, axis=1)]
    membranes, spikes, _ = simulate(inputs, _leak(tau, len(inputs), dtype), neuron, initial)
    return tf.stack(membranes, axis=1), tf.stack(spikes, axis=1)


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
