"""Gradients by the image that half precision does not round to zero."""

import tensorflow as tf

from keras_mpdsgr.inputs import check_scores

# The largest gradient by a sample's logits is brought between this and twice this. float16 reaches
# from 6e-8 to 65504: as much room is left for gradients that grow on their way to the image.
_SCALE = 2.0**4
_EXPONENT_OF_FLOAT32 = 0x7F800000


def image_gradient(logits_of, x, loss):
    """Gradient with respect to the images alone of a loss of the logits.

    Where a model is sure, the cross-entropy's gradient is tiny, and a layer that computes in
    float16 would make it zero: such a model would seem robust. So each sample's gradient starts at
    its logits multiplied by a power of two, and is divided by it at the image, which is exact.

    Args:
        logits_of: Function of the images that gives float32 logits, `(batch, classes)`.
        x: Images, `(batch, ...)`, float32.
        loss: Function of logits that gives one value a sample, which depends on that sample's
            logits only.

    Returns:
        Gradient in the shape of `x`, logits and losses `(batch,)`.

    Example:

    >>> x = tf.constant([[3.0]])
    >>> gradient, *_ = image_gradient(tf.square, x, lambda logits: 1e-9 * logits[:, 0])
    >>> round(1e9 * float(gradient[0, 0]), 4)
    6.0
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        logits = logits_of(x)
    with tf.GradientTape(watch_accessed_variables=False) as of_loss:
        of_loss.watch(logits)
        values = loss(logits)
    slope = of_loss.gradient(values, logits, unconnected_gradients="zero")
    size = _power_of_two(tf.reduce_max(tf.abs(slope), axis=-1)) / _SCALE
    scaled = slope / size[:, None]
    gradient = tape.gradient(logits, x, output_gradients=scaled, unconnected_gradients="zero")
    return gradient * tf.reshape(size, (-1, *[1] * (len(x.shape) - 1))), logits, values


def float_logits(model, x):
    """What a model answers in inference mode, in float32."""
    return tf.cast(check_scores(model(x, training=False)), tf.float32)


def _power_of_two(values):
    """The largest power of two that is not above a positive value; 1 for zero and infinity."""
    # By the bits: a power by logarithms is exact to the last bit on some devices only.
    exponent = tf.bitwise.bitwise_and(tf.bitcast(values, tf.int32), _EXPONENT_OF_FLOAT32)
    power = tf.bitcast(exponent, tf.float32)
    # Below 2^-100 the quotient by it could overflow.
    power = tf.maximum(power, 2.0**-100)
    return tf.where((values > 0) & tf.math.is_finite(power), power, tf.ones_like(power))
