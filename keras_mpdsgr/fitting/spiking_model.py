"""The Keras model that the builders return: a functional model that shows its spiking layers."""

import keras

from keras_mpdsgr.fitting import multi_worker
from keras_mpdsgr.fitting.spiking_fit import SpikingFit
from keras_mpdsgr.inputs import check_pixel_range

# The builders' layer of that name takes pixels in [0, 1].
PIXEL_NORMALIZATION = "pixels"
# What is saved with a model beside what Keras saves.
_TOLD = ("class_names", "notes")


@keras.saving.register_keras_serializable("keras_mpdsgr")
class SpikingModel(SpikingFit, keras.Model):
    """A functional Keras model whose progress line shows its spiking layers as one network.

    Each `LIFLayer` tracks `omega` and `firing_rate`; `fit` shows the network's mean of each, and
    `evaluate`, where they are not measured, leaves them out.

    One of the builders' normalises pixels in [0, 1] itself. Its `fit`, `evaluate` and `predict`
    refuse arrays whose values lie outside by more than 1, such as 8-bit pixels, with a ValueError:
    they would give wrong answers without a word. A `tf.data.Dataset` and a call of the model are
    not looked at.

    Args:
        inputs, outputs: As of a functional `keras.Model`.
        **kwargs: Those of `keras.Model`.

    Attributes:
        class_names: One name for each logit, a tuple, saved with the model; empty where nobody has
            set it. Trainers set it from the data set.
        notes: What `summary` adds, a sentence each: where a builder left something out.

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

    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def fit(self, x=None, *args, **kwargs):
        self.check_pixels(x)
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        self.check_pixels(x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        self.check_pixels(x)
        return super().predict(x, *args, **kwargs)

    def check_pixels(self, x):
        """Raises a ValueError for arrays that are not pixels in [0, 1], if it normalises them."""
        own = (layer.name for layer in self.layers if isinstance(layer, keras.layers.Normalization))
        if PIXEL_NORMALIZATION in own:
            check_pixel_range(x)

    def train_step(self, data):
        return multi_worker.step_results(super().train_step(data))

    def summary(self, *args, print_fn=None, **kwargs):
        super().summary(*args, print_fn=print_fn, **kwargs)
        for note in self.notes:
            (print_fn or print)(f" Note: {note}")

    def get_config(self):
        config = super().get_config()
        for name in _TOLD:
            if getattr(self, name):
                config[name] = list(getattr(self, name))
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        told = {name: tuple(map(str, config.pop(name, ()))) for name in _TOLD}
        model = super().from_config(config, custom_objects)
        for name, values in told.items():
            setattr(model, name, values)
        return model
