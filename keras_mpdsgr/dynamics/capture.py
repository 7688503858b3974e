"""A scope in which every layer of spiking neurons hands out its membrane potentials."""

import contextlib
import dataclasses
import threading

import tensorflow as tf


class _Scopes(threading.local):
    """The open scopes of a thread: replicas of a strategy take turns inside theirs."""

    def __init__(self):
        super().__init__()
        self.open: list[Capture] = []


_scopes = _Scopes()


@dataclasses.dataclass
class CapturedLayer:
    """Potentials of one layer of neurons in one call.

    Attributes:
        name: The layer's name.
        currents: Input currents, `(batch, time, ...)`.
        membranes: `(batch, time, ...)`, before the spike decision, in float32 or float64.
        spikes: `(batch, time, ...)`.
        surrogate: The surrogate gradient that the layer trains with.
        neuron: The `Neuron`.
        tau: Leak factor.
        normalization: The tdBN layer whose output the currents are, as it is, repeated over time or
            scaled by a gain; None where there is none, or anything else lies between (a sum of two
            branches is the output of neither's tdBN).
        drive: The input currents before a learnable gain; `currents` where there is none.
    """

    name: str
    currents: tf.Tensor
    membranes: tf.Tensor
    spikes: tf.Tensor
    surrogate: object
    neuron: object
    tau: object
    normalization: object = None
    drive: tf.Tensor | None = None

    def __post_init__(self):
        if self.drive is None:
            self.drive = self.currents


class Capture(list):
    """The `CapturedLayer`s of one call, in call order."""

    def __init__(self):
        super().__init__()
        # By the tensors, not by the order of calls: others may be called in between, as those of a
        # shortcut.
        self.normalized: list[tuple[object, tf.Tensor]] = []
        self.passed: list[tuple[tf.Tensor, tf.Tensor]] = []
        self.gains: list[tuple[tf.Tensor, tf.Tensor]] = []

    def normalization_of(self, tensor):
        """The tdBN layer that a tensor comes from; None where there is none."""
        steps = [*self.passed, *self.gains]
        while tensor is not None:
            layer = _source(self.normalized, tensor)
            if layer is not None:
                return layer
            tensor = _source(steps, tensor)
        return None


def _source(pairs, outputs):
    """What is paired with the very tensor `outputs`; None if nothing is."""
    return next((source for source, tensor in pairs if tensor is outputs), None)


@contextlib.contextmanager
def capture_potentials():
    """Captures the membrane potentials of all spiking layers that are called inside.

    Works eagerly and while a `tf.function` is traced (return the captured tensors from it).

    Yields:
        A list that fills with one `CapturedLayer` a layer, in call order.

    Example:

    >>> import tensorflow as tf
    >>> from keras_mpdsgr import LIFLayer
    >>> with capture_potentials() as captured:
    ...     _ = LIFLayer()(tf.fill((2, 3, 1), 0.4))
    >>> captured[0].membranes[0, :, 0].numpy().round(1).tolist()
    [0.4, 0.8, 1.2]
    """
    captured = Capture()
    _scopes.open.append(captured)
    try:
        yield captured
    finally:
        _scopes.open.pop()


def active():
    """Whether a scope is open."""
    return bool(_scopes.open)


def record(currents, **measured):
    """Called by the neurons: adds one `CapturedLayer` to the innermost scope."""
    scope = _scopes.open[-1]
    drive = _source(scope.gains, currents)
    state_dtype = measured["membranes"].dtype
    scope.append(
        CapturedLayer(
            currents=tf.cast(currents, state_dtype),
            drive=None if drive is None else tf.cast(drive, state_dtype),
            normalization=scope.normalization_of(currents),
            **measured,
        )
    )


def note_normalization(layer, outputs):
    """Called by tdBN with itself and its output."""
    if active():
        _scopes.open[-1].normalized.append((layer, outputs))


def note_passed(inputs, outputs):
    """Called by a layer whose output is its input in another shape, or repeated over time."""
    if active():
        _scopes.open[-1].passed.append((inputs, outputs))


def note_gain(drive, scaled):
    """Called by a gain with its input and output: neurons fed by `scaled` are driven by `drive`."""
    if active():
        _scopes.open[-1].gains.append((drive, scaled))
