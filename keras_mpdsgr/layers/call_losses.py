"""Losses that a layer adds in each of its calls, of which a pass of the model counts the mean."""

import contextlib
import threading
from typing import Any

from keras_mpdsgr import keras_internals


class _Current(threading.local):
    """What this thread is doing.

    Attributes:
        of_call: Whether a loss of `add_call_loss` is being added.
        gathered: Where such losses go in place of their layers; None for the layers.
    """

    of_call = False
    gathered: list | None = None


_current = _Current()


class CallLosses(threading.local):
    """A layer's losses in one pass of its model; those of `add_call_loss` count as their mean.

    One list for each thread: Keras keeps one, which the threads of a MirroredStrategy's replicas
    fill together, so that each replica would report the losses of all.
    """

    def __init__(self):
        super().__init__()
        self._others: list = []
        self._mean: list = []
        self._calls = 0
        self._sum: Any = None

    def extend(self, losses):
        if not _current.of_call:
            self._others.extend(losses)
            return
        (loss,) = losses
        self._calls += 1
        self._sum = loss if self._calls == 1 else self._sum + loss
        # Here, and not where it is read: that may be outside the graph of the calls.
        self._mean = [loss if self._calls == 1 else self._sum / self._calls]

    def clear(self):
        self._others, self._mean, self._calls = [], [], 0

    def __getitem__(self, key):
        return [*self._mean, *self._others][key]


def count_calls(layer):
    """Makes a layer fit for `add_call_loss`; to be called in its `__init__`."""
    keras_internals.keep_losses_in(layer, CallLosses())


def add_call_loss(layer, loss):
    """Adds a loss to a layer, as a mean over the layer's calls in one pass of the model.

    Args:
        layer: The layer, in its `call`; `count_calls` has been called on it.
        loss: A scalar tensor.
    """
    if _current.gathered is not None:
        _current.gathered.append((layer, loss))
        return
    _current.of_call = True
    try:
        layer.add_loss(loss)
    finally:
        _current.of_call = False


@contextlib.contextmanager
def gathered_call_losses():
    """Inside, losses of `add_call_loss` are only gathered: a list of (layer, loss)."""
    before, _current.gathered = _current.gathered, []
    try:
        yield _current.gathered
    finally:
        _current.gathered = before
