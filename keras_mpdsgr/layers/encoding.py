"""Spike codings: how an image becomes a sequence."""

import keras
import tensorflow as tf

from keras_mpdsgr.arguments import check_count


@keras.saving.register_keras_serializable("keras_mpdsgr")
class DirectEncoder(keras.layers.Layer):
    """Direct coding (DIR): the same input at every time step.

    May stand behind layers without a state (a convolution, tdBN), which then run once instead of
    once a time step, to the same result.

    Args:
        timesteps: Number of time steps T, at least 1.
        **kwargs: Those of `keras.layers.Layer`.

    Input shape: `(batch, ...)`.
    Output shape: `(batch, timesteps, ...)`.

    Raises:
        ValueError: If `timesteps` is not a whole number of at least 1.

    Example:

    >>> import keras
    >>> DirectEncoder(4)(keras.ops.ones((2, 8, 8, 3))).shape
    TensorShape([2, 4, 8, 8, 3])
    """

    def __init__(self, timesteps, **kwargs):
        super().__init__(**kwargs)
        self.timesteps = check_count("timesteps", timesteps, "length of the sequence")
        self.built = True

    def call(self, inputs):
        # Not a stack of equal tensors: there Grappler (TF 2.21) takes the wrong output of an op.
        return tf.tile(inputs[:, None], (1, self.timesteps, *[1] * (len(inputs.shape) - 1)))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.timesteps, *input_shape[1:])

    def get_config(self):
        return {**super().get_config(), "timesteps": self.timesteps}
