"""A scope in which every layer of spiking neurons hands out its membrane potentials."""

import contextlib
import dataclasses

import tensorflow as tf

_stack: list["Capture"] = []


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
        normalization: The tdBN layer that fed it, or None.
    """

    name: str
    currents: tf.Tensor
    membranes: tf.Tensor
    spikes: tf.Tensor
    surrogate: object
    neuron: object
    tau: object
    normalization: object = None


class Capture(list):
    """The `CapturedLayer`s of one call, in call order."""

    pending_normalization = None


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
    _stack.append(captured)
    try:
        yield captured
    finally:
        _stack.pop()


def active():
    """Whether a scope is open."""
    return bool(_stack)


def record(**figures):
    """Called by the neurons: adds one `CapturedLayer` to the innermost scope."""
    scope = _stack[-1]
    scope.append(CapturedLayer(**figures, normalization=scope.pending_normalization))
    scope.pending_normalization = None


def note_normalization(layer):
    """Called by tdBN: the next layer of neurons is the one it feeds."""
    if _stack:
        _stack[-1].pending_normalization = layer
