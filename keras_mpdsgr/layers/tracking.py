"""A metric that a layer shows while it trains, and leaves out where it was not measured."""

import keras
import tensorflow as tf


class TrainingMean(keras.metrics.Mean):
    """Mean over an epoch of a figure that exists in training only.

    Its result is a dictionary, empty where nothing was measured, so that `evaluate` does not show a
    zero in its place.
    """

    def __init__(self, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self._shown = False

    def observe(self, value, shown):
        """Adds a value, if there is one; `shown` is noted while a step is traced."""
        self._shown = shown
        if value is not None:
            self.update_state(value)

    def mean(self):
        """The mean so far, a scalar; None where nothing was measured."""
        measured = self._shown if tf.inside_function() else bool(self.count > 0)
        return super().result() if measured else None

    def result(self):
        mean = self.mean()
        return {} if mean is None else {self.name: mean}
