"""The region an attack may move in: a ball around each image, cut to valid pixels."""

import tensorflow as tf

NORMS = ("linf", "l2")


def region(x, eps, norm):
    """What `project` needs to keep images in the ball of radius `eps` around `x`.

    Args:
        x: Images, float32 in [0, 1].
        eps: Radius, in units of pixels scaled to [0, 1].
        norm: `"linf"` or `"l2"`.

    Returns:
        For `"linf"` the lowest and highest pixels, for `"l2"` the centres and the radii: one row a
        sample.
    """
    return (
        ball(x, eps) if norm == "linf" else (x, tf.fill(tf.shape(x)[:1], tf.cast(eps, tf.float32)))
    )


def ball(x, eps):
    """Lowest and highest pixels of the L-infinity ball around `x`, within [0, 1].

    Args:
        x: Images, float32 in [0, 1].
        eps: Radius, in units of pixels scaled to [0, 1], a number or a float64 tensor.

    Returns:
        Two float32 tensors in the shape of `x`, rounded inwards: no pixel between them is farther
        than `eps` from `x`, by not so much as a rounding.
    """
    exact = tf.cast(x, tf.float64)
    radius = tf.convert_to_tensor(eps, tf.float64)
    low = tf.cast(tf.maximum(exact - radius, 0.0), tf.float32)
    high = tf.cast(tf.minimum(exact + radius, 1.0), tf.float32)
    ones = tf.ones_like(low)
    too_low = exact - tf.cast(low, tf.float64) > radius
    too_high = tf.cast(high, tf.float64) - exact > radius
    low = tf.where(too_low, tf.math.nextafter(low, ones), low)
    high = tf.where(too_high, tf.math.nextafter(high, -ones), high)
    return low, high


def project(images, allowed, norm):
    """The nearest images inside a `region`."""
    if norm == "linf":
        return tf.clip_by_value(images, *allowed)
    center, radius = allowed
    offset = images - center
    # A hair inside, so that rounding (6e-8 a pixel, and of the length) puts no image outside.
    pixels = offset.shape[1:].num_elements()
    inside = tf.maximum(radius * (1 - 1e-6) - 6e-8 * pixels**0.5, 0.0)
    scale = tf.minimum(1.0, inside / tf.maximum(image_norm(offset), 1e-30))
    # Pixels of the centre are valid, so that clipping only brings an image nearer to it.
    return tf.clip_by_value(center + offset * per_image(scale, images), 0.0, 1.0)


def direction(gradient, norm):
    """Steepest ascent at unit length: the sign, or the gradient over its L2 norm."""
    if norm == "linf":
        return tf.sign(gradient)
    length = image_norm(gradient)
    return gradient * per_image(tf.math.divide_no_nan(1.0, length), gradient)


def random_offset(draws, x, eps, norm):
    """A random point of the ball, uniform: an offset in the shape of `x`."""
    if norm == "linf":
        return eps * draws.uniform(x.shape[1:])
    pixels = x.shape[1:].num_elements()
    radius = draws.uniform((), low=0.0, high=1.0) ** (1.0 / pixels)
    return per_image(eps * radius, x) * direction(draws.normal(x.shape[1:]), "l2")


def image_norm(images):
    """L2 norm of each image, `(batch,)`; finite slope at zero is not needed."""
    # Scaled by the largest pixel first: squares of tiny gradients underflow in float32.
    flat = tf.reshape(images, (tf.shape(images)[0], -1))
    largest = tf.reduce_max(tf.abs(flat), axis=1)
    scaled = tf.math.divide_no_nan(flat, largest[:, None])
    return largest * tf.sqrt(tf.reduce_sum(tf.square(scaled), axis=1))


def per_image(values, images):
    """One value an image, `(batch,)`, in a shape that broadcasts against the images."""
    return tf.reshape(values, (-1, *[1] * (len(images.shape) - 1)))
