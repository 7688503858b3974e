"""Terms that a layer adds to the loss and that leave its input as it is."""

import keras
import tensorflow as tf

from keras_mpdsgr.arguments import check_number
from keras_mpdsgr.layers.arguments import check_sequence
from keras_mpdsgr.layers.call_losses import add_call_loss, count_calls
from keras_mpdsgr.layers.traces import TracedSettings


@keras.saving.register_keras_serializable("keras_mpdsgr")
class FiringRatePenalty(TracedSettings, keras.layers.Layer):
    """Adds the mean firing rate of the neurons in front of it to the loss.

    In training the loss grows by `weight * mean of the spikes` over batch, time, space and
    channels (called several times in one pass of a model: their mean); the spikes pass unchanged.
    Where membrane potentials are Gaussian, the scale-free form
    of Omega is a function of the firing rate, so that this penalty is the control for it.

    Args:
        weight: Weight of the mean firing rate in the loss, not negative.
        **kwargs: Those of `keras.layers.Layer`.

    Input shape: `(batch, time, ...)`, spikes.
    Output shape: the same.

    Attributes:
        eta_factor: Factor of the weight that `defenses.EtaWarmup` raises from 0 to 1, as that of
            `LIFLayer`.

    Raises:
        ValueError: If `weight` is not a number of at least 0, or the input is no sequence.

    Example:

    >>> import keras
    >>> penalty = FiringRatePenalty(weight=2.0)
    >>> spikes = penalty(keras.ops.array([[[0.0, 1.0], [0.0, 0.0]]]), training=True)
    >>> [float(loss) for loss in penalty.losses]
    [0.5]
    """

    def __init__(self, weight, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight
        # Not a weight of the model: loading one must not change how far a warm-up has come.
        self.eta_factor = tf.Variable(1.0, trainable=False, name="eta_factor")
        count_calls(self)

    def check_setting(self, name, value):
        if name != "weight":
            return value
        return check_number(name, value, "weight of the mean firing rate", least=0)

    def build(self, input_shape):
        check_sequence(self, input_shape)
        self.built = True

    def call(self, inputs, training=None):
        self.note_trace()
        if training and self.weight > 0:
            # float32: a mean over a feature map in half precision loses what it counts.
            rate = tf.reduce_mean(tf.cast(inputs, tf.float32))
            add_call_loss(self, self.weight * self.eta_factor * rate)
        return inputs

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}
