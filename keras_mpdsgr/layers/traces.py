"""Settings of a layer that compiled functions hold as constants."""

import inspect
import weakref

import tensorflow as tf

from keras_mpdsgr import keras_internals

# Beside the layers, not in them: whether one was traced is no part of what it computes.
_traced: weakref.WeakSet = weakref.WeakSet()


class TracedSettings:
    """Mixin of a Keras layer whose arguments may be changed after `fit`.

    `fit`, `evaluate` and `predict` of any Keras model keep compiled functions, in which a setting
    stays what it was when they were traced. Where an argument of the layer's `__init__` gets
    another value, all models that hold the layer, directly or inside other models, trace anew. (A
    `tf.function` of the caller's own does not.)
    """

    def note_trace(self):
        """To be called in `call`: notes that a function may now hold the settings."""
        if tf.inside_function():
            _traced.add(self)

    def __setattr__(self, name, value):
        traced = self in _traced and name in inspect.signature(type(self)).parameters
        changed = traced and getattr(self, name, None) != value
        super().__setattr__(name, value)
        if changed:
            _traced.discard(self)
            keras_internals.trace_anew(self)
