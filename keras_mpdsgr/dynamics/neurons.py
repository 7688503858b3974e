"""LIF neurons: their constants, a window of theirs, and the forward recurrence."""

import dataclasses

import tensorflow as tf

from keras_mpdsgr.arguments import check_choice, check_flag, check_number

RESETS = ("hard", "soft")


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
        check_number("v_threshold", self.v_threshold, "firing threshold", above=0)
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
