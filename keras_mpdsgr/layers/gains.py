"""A learnable gain for each time step."""

import keras
import tensorflow as tf

from keras_mpdsgr import dynamics
from keras_mpdsgr.layers.arguments import check_sequence


@keras.saving.register_keras_serializable("keras_mpdsgr")
class TemporalGain(keras.layers.Layer):
    """Multiplies each time step of a sequence by a learnable gain of its own.

    In front of a `LIFLayer` it makes the neurons of DLIF (Ding et al., 2024a):
    `u(t) = tau * u(t-1) + p(t) * I(t)`, with p learned from 1.

    Args:
        **kwargs: Those of `keras.layers.Layer`.

    Input shape: `(batch, time, ...)`, `time` static.
    Output shape: the same.

    Attributes:
        gain: The weight p, `(time,)`.

    Raises:
        ValueError: If the input has fewer than 3 axes or its time axis is unknown.

    Example:

    >>> import keras
    >>> gain = TemporalGain()
    >>> currents = gain(keras.ops.ones((1, 3, 2)))
    >>> gain.set_weights([keras.ops.array([1.0, 0.5, 0.0])])
    >>> gain(keras.ops.ones((1, 3, 2)))[0, :, 0].numpy().tolist()
    [1.0, 0.5, 0.0]
    """

    def build(self, input_shape):
        check_sequence(self, input_shape)
        self.gain = self.add_weight(
            name="gain",
            shape=(input_shape[1],),
            initializer="ones",
            dtype=self.variable_dtype,
            autocast=False,
        )
        self.built = True

    def call(self, inputs):
        shape = (1, inputs.shape[1], *[1] * (len(inputs.shape) - 2))
        scaled = inputs * tf.cast(tf.reshape(self.gain, shape), inputs.dtype)
        dynamics.note_gain(inputs, scaled)
        return scaled

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)
