"""Terms of the loss that leave what they look at as it is: of spikes, of membrane potentials."""

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
        ValueError: If `weight` is not a number of at least 0, or the input is not a sequence.

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


def check_membrane_regularizer(value):
    """Returns the `membrane_regularizer` of neurons, if it is None or a Keras regularizer."""
    regularizer = keras.regularizers.get(value) if isinstance(value, dict) else value
    if not isinstance(regularizer, keras.regularizers.Regularizer | None):
        raise ValueError(
            f"`membrane_regularizer` must be None or a Keras regularizer. Received: {value!r}."
        )
    return regularizer


@keras.saving.register_keras_serializable("keras_mpdsgr")
class ThresholdMargin(keras.regularizers.Regularizer):
    """A penalty on membrane potentials nearer than a margin to the threshold.

    `weight * mean of max(0, margin - |v|)`, v = u - v_th, over batch, time and neurons (C_l of TGO,
    arXiv 2602.20548): the `membrane_regularizer` of a `LIFLayer`. With the triangle's gamma for
    the margin it is gamma^2 times the mean of the surrogate gradient, so that it is to Omega, a
    share of a distribution, what a sample is.

    Args:
        margin: The distance within which a potential is penalised, positive, in units of membrane
            potential.
        weight: Weight of the mean in the loss, not negative.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import keras
    >>> float(ThresholdMargin(margin=1.0, weight=2.0)(keras.ops.array([0.5, -0.75, 3.0, 1.0])))
    0.375
    """

    def __init__(self, margin, weight):
        self.margin = check_number("margin", margin, "distance from the threshold", above=0)
        self.weight = check_number("weight", weight, "weight of the penalty", least=0)

    def __call__(self, distance):
        return self.weight * tf.reduce_mean(tf.nn.relu(self.margin - tf.abs(distance)))

    def get_config(self):
        return {"margin": self.margin, "weight": self.weight}
