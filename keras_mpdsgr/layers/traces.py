"""Settings of a layer: checked whenever they are set, and constants of compiled functions."""

import functools
import inspect
import weakref
from typing import Any

import tensorflow as tf

from keras_mpdsgr import keras_internals

# Beside the layers, not in them: whether one was traced is not part of what it computes.
_traced: weakref.WeakSet = weakref.WeakSet()


class TracedSettings:
    """Mixin of a Keras layer whose arguments may be changed after `fit`.

    `fit`, `evaluate` and `predict` of any Keras model keep compiled functions, in which a setting
    stays what it was when they were traced. Where an argument of the layer's `__init__` gets
    another value, all models that hold the layer, directly or inside other models, are retraced. (A
    `tf.function` of the caller's own does not.)
    """

    def check_setting(self, name, value):
        """Returns a setting's new value, if it is in its range; to be overridden."""
        del name
        return value

    def note_trace(self):
        """To be called in `call`: notes that a function may now hold the settings."""
        if tf.inside_function():
            _traced.add(self)

    def __setattr__(self, name, value):
        kind: Any = type(self)
        if name not in _settings(kind):
            super().__setattr__(name, value)
            return
        value = self.check_setting(name, value)
        changed = self in _traced and getattr(self, name, None) != value
        super().__setattr__(name, value)
        if changed:
            _traced.discard(self)
            keras_internals.trace_anew(self)


@functools.cache
def _settings(kind):
    """Names of the arguments of a class and of its bases, but not of Keras' own."""
    return frozenset(
        name
        for base in kind.__mro__
        if "__init__" in vars(base) and base.__module__.split(".")[0] not in ("builtins", "keras")
        for name in inspect.signature(base.__init__).parameters
    )
