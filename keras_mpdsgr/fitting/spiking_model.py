"""The Keras model that the builders return: a functional model that shows its spiking layers."""

import keras

from keras_mpdsgr.fitting import multi_worker
from keras_mpdsgr.fitting.spiking_fit import SpikingFit


@keras.saving.register_keras_serializable("keras_mpdsgr")
class SpikingModel(SpikingFit, keras.Model):
    """A functional Keras model whose progress line shows its spiking layers as one network.

    Each `LIFLayer` tracks `omega` and `firing_rate`; `fit` shows the network's mean of each, and
    `evaluate`, where they are not measured, leaves them out.

    Args:
        inputs, outputs: As of a functional `keras.Model`.
        **kwargs: Those of `keras.Model`.

    Example:

    >>> import keras
    >>> from keras_mpdsgr import LIFLayer, layers
    >>> image = keras.Input((8, 8, 1))
    >>> x = keras.layers.Flatten()(image)
    >>> x = LIFLayer()(layers.DirectEncoder(4)(keras.layers.Dense(16)(x)))
    >>> x = layers.TemporalMean()(layers.FoldTime(keras.layers.Dense(10))(x))
    >>> SpikingModel(image, x).output_shape
    (None, 10)
    """

    notes: tuple[str, ...] = ()

    def train_step(self, data):
        return multi_worker.step_results(super().train_step(data))

    def summary(self, *args, print_fn=None, **kwargs):
        super().summary(*args, print_fn=print_fn, **kwargs)
        for note in self.notes:
            (print_fn or print)(f" Note: {note}")

    def get_config(self):
        config = super().get_config()
        if self.notes:
            config["notes"] = list(self.notes)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        notes = tuple(config.pop("notes", ()))
        model = super().from_config(config, custom_objects)
        model.notes = notes
        return model
