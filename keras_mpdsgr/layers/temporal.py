"""Time: folded into the batch around any Keras layer, and averaged away at the end."""

import keras
import tensorflow as tf

from keras_mpdsgr import dynamics, keras_internals
from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.layers.arguments import check_sequence


@keras.saving.register_keras_serializable("keras_mpdsgr")
class FoldTime(keras.layers.Wrapper):
    """Applies a Keras layer to every time step at once, by folding time into the batch.

    Does what `keras.layers.TimeDistributed` does, in one call of the layer. Masks are dropped. A
    layer that draws at random, such as `Dropout`, draws at each time step; one that uses batch
    statistics computes them over batch and time together.

    Args:
        layer: A Keras layer that takes `(batch, ...)`.
        **kwargs: Those of `keras.layers.Wrapper`.

    Input shape: `(batch, time, ...)`, `time` static.
    Output shape: `(batch, time, ...)`, behind time as the layer gives it.

    Raises:
        ValueError: If `layer` is not a Keras layer or gives several outputs, or the input has fewer
            than 3 axes or its time axis is unknown.

    Example:

    >>> import keras
    >>> FoldTime(keras.layers.Conv2D(5, 3))(keras.ops.ones((2, 4, 8, 8, 3))).shape
    TensorShape([2, 4, 6, 6, 5])
    """

    def __init__(self, layer, **kwargs):
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(f"`layer` must be a Keras layer. Received: {layer!r}.")
        super().__init__(layer, **kwargs)
        self._layer_takes_training = keras_internals.takes_training(layer)

    def build(self, input_shape):
        check_sequence(self, input_shape)
        if not self.layer.built:
            self.layer.build((_product(input_shape[0], input_shape[1]), *input_shape[2:]))
        self.built = True

    def call(self, inputs, training=None):
        timesteps = inputs.shape[1]
        batch = tf.shape(inputs)[0]
        folded = tf.reshape(inputs, _shape(batch * timesteps, inputs, skip=2))
        options = {"training": training} if self._layer_takes_training else {}
        outputs = self.layer(folded, **options)
        self._check_single(tf.is_tensor(outputs), outputs)
        unfolded = tf.reshape(
            outputs, tf.concat([[batch, timesteps], _shape(0, outputs, skip=1)[1:]], axis=0)
        )
        unfolded = tf.ensure_shape(unfolded, (inputs.shape[0], timesteps, *outputs.shape[1:]))
        dynamics.note_passed(outputs, unfolded)
        return unfolded

    def compute_output_shape(self, input_shape):
        batch, timesteps = input_shape[:2]
        folded = (_product(batch, timesteps), *input_shape[2:])
        shape = self.layer.compute_output_shape(folded)
        self._check_single(all(isinstance(size, int | None) for size in shape), shape)
        return (batch, timesteps, *shape[1:])

    def _check_single(self, single, outputs):
        if not single:
            raise keras_internals.plain_error(
                f"FoldTime takes a layer of one output. Received: {self.layer.name!r}, which gives "
                f"a {type(outputs).__name__}. Have it give one, e.g. by return_state=False."
            )


@keras.saving.register_keras_serializable("keras_mpdsgr")
class TemporalMean(keras.layers.Layer):
    """Averages a sequence over time: rate-coded logits from a spiking network's read-out.

    Args:
        axis: Time axis of the input. Batch-major sequences have it at 1.
        **kwargs: Those of `keras.layers.Layer`.

    Input shape: `(batch, time, ...)`.
    Output shape: `(batch, ...)`.

    Example:

    >>> import keras
    >>> TemporalMean()(keras.ops.ones((2, 4, 10))).shape
    TensorShape([2, 10])
    """

    def __init__(self, axis=1, **kwargs):
        super().__init__(**kwargs)
        self.axis = check_integer("axis", axis, "the time axis")

    def build(self, input_shape):
        if not -len(input_shape) <= self.axis < len(input_shape):
            raise ValueError(
                f"`axis` must be an axis of the input. Received: axis={self.axis}, "
                f"input_shape={tuple(input_shape)}."
            )
        self.built = True

    def call(self, inputs):
        return keras.ops.mean(inputs, axis=self.axis)

    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        del shape[self.axis]
        return tuple(shape)

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}


def _product(batch, timesteps):
    return None if batch is None else batch * timesteps


def _shape(first, tensor, skip):
    """`first`, then the tensor's own sizes behind its `skip` leading axes, static where known."""
    dynamic = tf.shape(tensor)
    sizes = [dynamic[i] if size is None else size for i, size in enumerate(tensor.shape)]
    return tf.stack([first, *sizes[skip:]])
