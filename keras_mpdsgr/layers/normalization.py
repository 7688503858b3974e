"""Threshold-dependent batch normalization."""

import keras
import tensorflow as tf

from keras_mpdsgr import dynamics
from keras_mpdsgr.arguments import check_number
from keras_mpdsgr.layers.traces import TracedSettings


@keras.saving.register_keras_serializable("keras_mpdsgr")
class TDBatchNormalization(TracedSettings, keras.layers.Layer):
    """Threshold-dependent batch normalization, tdBN (Zheng et al., 2021).

    Normalises input currents per channel, with statistics over batch, time and space together, to
    the scale of the threshold:
    `lambda_c * alpha * v_threshold * (I - mean_c) / sqrt(var_c + epsilon) + beta_c`.

    Args:
        alpha: Positive factor: 1, or 1/sqrt(2) where two normalised branches are summed into one
            neuron.
        v_threshold: Threshold of the neurons that follow, positive.
        momentum: Of the running averages that inference uses, in [0, 1].
        epsilon: Added to the variance, positive.
        **kwargs: Those of `keras.layers.Layer`.

    Input shape: `(..., channels)`, with or without a time axis: `(batch, time, height, width,
        channels)`, or `(batch, height, width, channels)` for a current that is the same at all
        times, whose statistics are equal.
    Output shape: the same.

    Under `tf.distribute` the statistics are those of the global batch. Whatever the layer's dtype,
    they are computed and kept in single precision or better.

    Raises:
        ValueError: If an argument is out of its range, or the number of channels is unknown.

    Example:

    >>> import keras
    >>> x = keras.random.normal((8, 4, 6, 6, 3), mean=5.0, stddev=2.0, seed=0)
    >>> y = TDBatchNormalization(v_threshold=0.5)(x, training=True)
    >>> round(float(keras.ops.std(y)), 3)
    0.5
    """

    def __init__(self, alpha=1.0, v_threshold=1.0, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.alpha, self.v_threshold = alpha, v_threshold
        self.momentum, self.epsilon = momentum, epsilon

    def check_setting(self, name, value):
        return check_number(name, value, **_RANGES[name]) if name in _RANGES else value

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels is None or len(input_shape) < 2:
            raise ValueError(
                "TDBatchNormalization needs an input (..., channels) with a static number of "
                f"channels. Received: input_shape={tuple(input_shape)}."
            )
        trained = {"shape": (channels,), "dtype": self.variable_dtype, "autocast": False}
        half = self.variable_dtype in ("float16", "bfloat16")
        fixed = {**trained, "trainable": False, **({"dtype": "float32"} if half else {})}
        self.lambda_ = self.add_weight(name="lambda", initializer="ones", **trained)
        self.beta = self.add_weight(name="beta", initializer="zeros", **trained)
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", **fixed)
        self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", **fixed)
        self.built = True

    def call(self, inputs, training=None):
        self.note_trace()
        outputs = self._normalized(inputs, training)
        dynamics.note_normalization(self, outputs)
        return outputs

    def _normalized(self, inputs, training):
        dtype = self.moving_mean.dtype
        scale = tf.cast(self.lambda_, dtype) * (self.alpha * self.v_threshold)
        offset = tf.cast(self.beta, dtype)
        if not (training and self.trainable):
            slope = scale * tf.math.rsqrt(self.moving_variance + self.epsilon)
            shift = offset - self.moving_mean * slope
            return tf.cast(tf.cast(inputs, dtype) * slope + shift, inputs.dtype)
        if _fused_kernel_serves(inputs):
            outputs, mean, variance = self._normalize_fused(inputs, scale, offset)
        else:
            outputs, mean, variance = self._normalize(inputs, scale, offset)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            value = tf.cast(tf.stop_gradient(value), dtype)
            average.assign(average * self.momentum + value * (1.0 - self.momentum))
        return outputs

    def _normalize(self, inputs, scale, offset):
        x = tf.cast(inputs, scale.dtype)
        axes = list(range(len(inputs.shape) - 1))
        mean, variance = keras.ops.moments(x, axes=axes, synchronized=True)
        slope = scale * tf.math.rsqrt(variance + self.epsilon)
        return tf.cast(x * slope + (offset - mean * slope), inputs.dtype), mean, variance

    def _normalize_fused(self, inputs, scale, offset):
        # TensorFlow's fused kernel: 4 times as fast on a CPU as the formula op by op.
        shape = tf.shape(inputs)
        channels = inputs.shape[-1]
        flat = tf.reshape(inputs, (-1, 1, 1, channels))
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=flat,
            scale=scale,
            offset=offset,
            mean=tf.zeros((0,)),
            variance=tf.zeros((0,)),
            epsilon=self.epsilon,
            is_training=True,
        )
        outputs = tf.ensure_shape(tf.reshape(outputs, shape), inputs.shape)
        # The kernel returns the unbiased estimate; Keras' running variance is the biased one.
        count = tf.cast(tf.shape(flat)[0], variance.dtype)
        return outputs, mean, variance * (count - 1.0) / count

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        config = super().get_config()
        config.update(
            alpha=self.alpha,
            v_threshold=self.v_threshold,
            momentum=self.momentum,
            epsilon=self.epsilon,
        )
        return config


_RANGES = {
    "alpha": {"meaning": "factor of the normalised current", "above": 0},
    "v_threshold": {"meaning": "firing threshold", "above": 0},
    "momentum": {"meaning": "of the running averages", "least": 0, "most": 1},
    "epsilon": {"meaning": "added to the variance", "above": 0},
}


def _fused_kernel_serves(inputs):
    """Whether one kernel on this device computes the statistics: no float64, no other replicas."""
    context = tf.distribute.get_replica_context()
    alone = context is not None and context.num_replicas_in_sync == 1
    return alone and inputs.dtype in (tf.float32, tf.float16, tf.bfloat16)
