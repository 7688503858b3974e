"""The nearest valid image on a hyperplane, in the L-infinity norm."""

import tensorflow as tf


def shift_to_hyperplane(points, normals, values):
    """The smallest shifts, by their largest pixel, that bring points onto a plane inside [0, 1].

    Solves for each row `min ||d||_inf` with `value + normal . d = 0` and `0 <= point + d <= 1`, the
    linear problem of FAB (Croce & Hein, 2020, section 3.1). Each pixel of a slope moves by the same
    length, or as far as it can. So the length is read off a sum of sorted room, without a search.

    Args:
        points: `(batch, pixels)`, float32 in [0, 1].
        normals: `(batch, pixels)`, slopes of a linear function.
        values: `(batch,)`, that function at the points.

    Returns:
        Shifts, `(batch, pixels)`. Where no valid point lies on the plane, those to the valid point
        whose function is nearest to zero. Pixels of no slope do not move.

    Example:

    >>> points, normals = tf.constant([[0.5, 0.9]]), tf.constant([[1.0, 2.0]])
    >>> shift_to_hyperplane(points, normals, tf.constant([-0.5])).numpy()
    array([[0.3, 0.1]], dtype=float32)
    """
    slopes = tf.where(values[:, None] >= 0, -normals, normals)  # up these the value nears zero
    missing = tf.abs(values)[:, None]
    room = tf.where(slopes > 0, 1 - points, points)
    sizes = tf.abs(slopes)
    order = tf.argsort(room, axis=1)
    limits = tf.gather(room, order, batch_dims=1)
    weights = tf.gather(sizes, order, batch_dims=1)
    # Shifted by a limit, pixels of less room give what they have, the others that limit.
    spent = tf.cumsum(weights * limits, axis=1, exclusive=True)
    left = tf.cumsum(weights, axis=1, reverse=True)
    short = tf.reduce_sum(tf.cast(spent + left * limits < missing, tf.int32), axis=1)
    pixels = tf.shape(points)[1]
    at = tf.minimum(short, pixels - 1)[:, None]

    def chosen(values):
        return tf.gather(values, at, batch_dims=1)

    length = tf.math.divide_no_nan(missing - chosen(spent), chosen(left))
    # Between the two limits that it must lie between, whatever the sums' rounding.
    lowest = tf.where(at > 0, tf.gather(limits, tf.maximum(at - 1, 0), batch_dims=1), 0.0)
    length = tf.clip_by_value(length, lowest, chosen(limits))
    length = tf.where(short[:, None] < pixels, length, limits[:, -1:])
    return tf.sign(slopes) * tf.minimum(room, length)
