"""Mean and variance per channel of a layer's potentials, over batch and space, on all replicas."""

import tensorflow as tf


def channel_moments(tensors):
    """Mean and variance of each tensor, over all axes but the last.

    Args:
        tensors: A list of T tensors, each `(..., channels)`.

    Returns:
        Mean and variance, each `(T, channels)`, of the global batch under `tf.distribute`. For an
        empty list: two empty tensors.
    """
    if not tensors:
        return tf.zeros((0, 0)), tf.zeros((0, 0))
    sizes = tf.stack([tf.cast(tf.size(x) // x.shape[-1], x.dtype) for x in tensors])
    sums = [
        tf.stack([_sum_by_sample(y) for y in kind]) for kind in (tensors, map(tf.square, tensors))
    ]
    both = tf.reduce_sum(tf.stack(sums), axis=2) / sizes[:, None]
    mean, square = tf.unstack(_mean_over_replicas(both))
    # In one pass, without another one about the mean: what cancels matters only in channels whose
    # potentials hardly vary at all.
    return mean, tf.maximum(square - tf.square(mean), 0.0)


def moments_gradient(tensors, mean, mean_gradient, variance_gradient):
    """Gradient of `channel_moments` with respect to each of its tensors.

    Args:
        tensors: A list of T tensors, each `(..., channels)`.
        mean: `(T, channels)`, as `channel_moments` gave it.
        mean_gradient, variance_gradient: `(T, channels)`, the loss' gradient of the two moments.

    Returns:
        A list of T tensors.
    """
    both = _mean_over_replicas(tf.stack([mean_gradient, variance_gradient]))
    mean_gradient, variance_gradient = tf.unstack(both)
    gradients = []
    for t, x in enumerate(tensors):
        count = tf.cast(tf.size(x) // x.shape[-1], x.dtype)
        slope = 2.0 * variance_gradient[t] / count
        gradients.append(slope * x + (mean_gradient[t] / count - slope * mean[t]))
    return gradients


def _sum_by_sample(x):
    # On a CPU much faster than one sum over all leading axes.
    samples = tf.shape(x)[0] if len(x.shape) > 2 else 1
    return tf.reduce_sum(tf.reshape(x, (samples, -1, x.shape[-1])), axis=1)


def _mean_over_replicas(x):
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x) / context.num_replicas_in_sync
