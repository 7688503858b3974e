"""Which backward pass a spiking neuron uses: a scope, read when a layer's call is traced.

A plain module-level stack, not a context variable: the threads of `tf.distribute` replicas would
not see one.
"""

import contextlib
import dataclasses
import inspect

import tensorflow as tf

from keras_mpdsgr import surrogates
from keras_mpdsgr.arguments import check_choice

DETACH_RESET = ("auto", None, True, False)

_stack: list["GradientMode"] = []
_registry: dict[str, type["GradientMode"]] = {}


class GradientMode:
    """Base of all backward passes: BPTT with a surrogate gradient (paper, Eq. 5-7).

    A subclass overrides `derivative` to shape the spike's derivative, or `backward` to replace the
    recurrence. `calls` counts the layers that have used the mode since the scope was entered.

    Args:
        surrogate: Name or object of the surrogate to use in every layer; None for each layer's own.
        detach_reset: Whether the gradient is kept out of the reset; None as each layer trains;
            `"auto"` for the mode's own default.

    Raises:
        ValueError: If an argument is out of its range, or the mode has no gradient through the
            reset to keep out.
    """

    name = "bptt"
    # What `detach_reset="auto"` means; and whether the mode has a term through the reset at all.
    detaches_reset: bool | None = None
    passes_reset = True
    # Whether a sample's gradient depends on the other samples of its batch.
    depends_on_batch = False

    def __init__(self, surrogate=None, detach_reset="auto"):
        self.surrogate = None if surrogate is None else surrogates.get(surrogate)
        check_choice("detach_reset", detach_reset, DETACH_RESET)
        if detach_reset not in ("auto", None) and not self.passes_reset:
            raise ValueError(
                f"`detach_reset` is not used by gradient={self.name!r}, which has no term through "
                f"the reset. Received: {detach_reset!r}."
            )
        self.detach_reset = self.detaches_reset if detach_reset == "auto" else detach_reset
        self.calls = 0
        self.entered_in_function = False
        self.begin(())

    def begin(self, state, update=True):
        """Called before a model's forward pass, with what `state` returned after the last one.

        Args:
            state: One entry a layer, in call order; empty at the start of an attack.
            update: Whether the pass moves the state on. Extra draws of one step do not.
        """
        self._incoming, self._outgoing = list(state), []
        self._update = update
        self._first_call = self.calls

    def state(self):
        """What the mode carries to the next forward pass: one entry a layer; empty for none."""
        return tuple(self._outgoing)

    def prepare(self, window, layer_name):
        """Runs with the forward pass; what it returns is given to `backward`."""
        del window, layer_name
        self.calls += 1

    def backward_key(self):
        """What `backward` depends on besides its arguments, hashable; None if that is the mode.

        Modes of one key may run each other's `backward`, so that XLA compiles it once for all.
        """
        return None

    def derivative(self, window, t, prepared):
        """The spike's derivative ds/du at one time step, in the shape of the membranes."""
        del prepared
        return (self.surrogate or window.surrogate).derivative(window.distance(t))

    def backward(self, window, spikes_gradient, membrane_gradient, prepared):
        """Gradient of the loss with respect to the input current of each time step.

        Args:
            window: The forward pass, a `Window`.
            spikes_gradient: List over time of dL/ds.
            membrane_gradient: List over time of what reaches the membrane besides (the gradient of
                its moments); None for nothing.
            prepared: What `prepare` returned.

        Returns:
            A list over time of tensors in the shape of the currents.
        """
        neuron = window.neuron
        if self.detach_reset is not None:
            neuron = dataclasses.replace(neuron, detach_reset=self.detach_reset)
        steps = len(window.membranes)
        currents_gradient = [None] * steps
        following = None
        for t in reversed(range(steps)):
            slope = self.derivative(window, t, prepared)
            gradient = spikes_gradient[t] * slope
            if following is not None:
                through_reset = neuron.reset_derivative(window.membranes[t], slope)
                gradient += window.leak[t + 1] * through_reset * following
            if membrane_gradient is not None:
                gradient += membrane_gradient[t]
            following = currents_gradient[t] = gradient
        return currents_gradient


def register(mode):
    """Class decorator: makes a `GradientMode` available by its `name`."""
    _registry[mode.name] = mode
    return mode


register(GradientMode)


@register
class BPTR(GradientMode):
    """Backward through firing rates (Bu et al., 2023), in SNN-RAT's form.

    One factor a neuron for all time steps: 1 where it fired at all in the window, else 0.
    """

    name = "bptr"
    passes_reset = False

    def rate_derivative(self, window):
        spikes = [window.neuron.fire(u) for u in window.membranes]
        return tf.cast(tf.add_n(spikes) > 0, spikes[0].dtype)

    def backward(self, window, spikes_gradient, membrane_gradient, prepared):
        del membrane_gradient, prepared
        factor = self.rate_derivative(window)
        return [gradient * factor for gradient in spikes_gradient]


@register
class BPTRPiecewise(BPTR):
    """Backward through firing rates (Bu et al., 2023), in the form of the rate-gradient attack.

    With x the mean input current over time: 0.2 for 0 <= x < 1 - tau, (0.8 + 0.2 tau) / (1 + tau)
    for 1 - tau <= x <= 2, else 0.
    """

    name = "bptr_rga"

    def rate_derivative(self, window):
        steps = len(window.membranes)
        mean = tf.add_n([window.current(t) for t in range(steps)]) / steps
        tau = tf.cast(
            tf.add_n([tf.convert_to_tensor(a, mean.dtype) for a in window.leak]) / steps, mean.dtype
        )
        low = tf.cast((mean >= 0) & (mean < 1 - tau), mean.dtype)
        high = tf.cast((mean >= 1 - tau) & (mean <= 2), mean.dtype)
        return 0.2 * low + (0.8 + 0.2 * tau) / (1 + tau) * high


_DEFAULT = GradientMode()


def current_mode():
    """The innermost `gradient_mode` in force; BPTT with each layer's own surrogate outside any.

    Raises:
        RuntimeError: If a function is being traced that the scope does not lie inside: the function
            would keep the mode after the scope has ended.
    """
    if not _stack:
        return _DEFAULT
    mode = _stack[-1]
    if tf.inside_function() and not mode.entered_in_function:
        refuse_scope("A `tf.function` (or `fit`, `evaluate`, `predict`)")
    return mode


def refuse_scope(what):
    """Raises RuntimeError if a `gradient_mode` scope is open around `what`."""
    if _stack:
        raise RuntimeError(
            f"{what} must not be traced inside `gradient_mode`: it would keep the backward pass "
            "after the scope has ended. Enter the scope inside the function, or use an attack's "
            "`gradient=` argument."
        )


def mode_names():
    """Names of the registered modes."""
    return sorted(_registry)


def get_mode(mode, surrogate=None, detach_reset="auto", sharpness=None):
    """A `GradientMode` from its name or object; arguments as of `gradient_mode`.

    Raises:
        ValueError: If the name is unknown, arguments are given with an object, or the mode does not
            take one.
    """
    given = {"surrogate": surrogate, "sharpness": sharpness}
    given = {name: value for name, value in given.items() if value is not None}
    if detach_reset != "auto":  # None is a value of its own
        given["detach_reset"] = detach_reset
    if isinstance(mode, GradientMode):
        if given:
            name, value = next(iter(given.items()))
            raise ValueError(
                f"`{name}` is used only with the name of a mode: an object has its own. "
                f"Received: {name}={value!r}."
            )
        return mode
    if not isinstance(mode, str) or mode not in _registry:
        raise ValueError(
            f"`gradient` must be one of {', '.join(mode_names())}, or a GradientMode. "
            f"Received: {mode!r}."
        )
    kind = _registry[mode]
    for name, value in given.items():
        if name not in inspect.signature(kind).parameters:
            raise ValueError(f"`{name}` is not used by gradient={mode!r}. Received: {value!r}.")
    return kind(**given)


@contextlib.contextmanager
def gradient_mode(mode="bptt", surrogate=None, detach_reset="auto", sharpness=None):
    """Chooses how spiking neurons are differentiated by the code inside.

    Read when a layer's call is traced: enter it inside a `tf.function`, or run eagerly. `fit`,
    `evaluate` and `predict` are refused inside, as Keras would keep the wrong trace.

    Args:
        mode: Name (`"bptt"`, `"bptr"`, `"bptr_rga"`, ...) or a `GradientMode`.
        surrogate: Name or object of a surrogate that replaces each layer's own; None keeps it.
        detach_reset: Whether the backward pass is kept out of the reset; None as each layer trains;
            `"auto"` as the mode was published: True for `"assg"`, else None. Refused by modes that
            have no term through the reset.
        sharpness: Of `"assg"` alone: its constant A, positive; None for the published one.

    Yields:
        The `GradientMode` in force.

    Raises:
        ValueError: If the mode or the surrogate is unknown, or the mode does not take an argument.

    Example:

    >>> import tensorflow as tf
    >>> from keras_mpdsgr import LIFLayer
    >>> x = tf.constant([[[1.5]]])
    >>> with gradient_mode("bptt", surrogate="rectangular"), tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     spikes = LIFLayer()(x)
    >>> float(tape.gradient(spikes, x)[0, 0, 0])
    0.5
    """
    entered = get_mode(mode, surrogate, detach_reset, sharpness)
    entered.calls = 0
    entered.begin(())
    entered.entered_in_function = tf.inside_function()
    _stack.append(entered)
    try:
        yield entered
    finally:
        _stack.pop()
