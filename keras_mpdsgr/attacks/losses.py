"""Losses that attacks raise: functions of logits `(batch, classes)` and labels `(batch,)`."""

import tensorflow as tf


def cross_entropy(logits, y):
    """Cross-entropy of each sample, `(batch,)`.

    As softplus(log-sum-exp of the wrong logits less the right one): in float32 softmax's own form
    loses the right class' part of the gradient where the model is sure of it.
    """
    right = tf.gather(logits, y, axis=1, batch_dims=1)
    return tf.nn.softplus(tf.reduce_logsumexp(_without(logits, y), axis=1) - right)


def margin(logits, y):
    """Best wrong logit less the right one, `(batch,)`: positive where misclassified."""
    right = tf.gather(logits, y, axis=1, batch_dims=1)
    return tf.reduce_max(_without(logits, y), axis=1) - right


def dlr(logits, y):
    """Difference of logits ratio (Croce & Hein, 2020), `(batch,)`: free of the logits' scale.

    The margin over the distance from the largest to the third largest logit; with 2 classes, where
    there is no third, the margin.
    """
    if logits.shape[1] < 3:
        return margin(logits, y)
    ordered = tf.sort(logits, axis=1, direction="DESCENDING")
    return margin(logits, y) / (ordered[:, 0] - ordered[:, 2] + 1e-12)


def correct(logits, y):
    """Whether each sample is classified as `y`, `(batch,)`, boolean."""
    return tf.equal(tf.argmax(logits, axis=-1, output_type=y.dtype), y)


def _without(logits, y):
    hidden = tf.one_hot(y, logits.shape[1], on_value=True, off_value=False, dtype=tf.bool)
    return tf.where(hidden, logits.dtype.min, logits)


LOSSES = {"cross_entropy": cross_entropy, "dlr": dlr, "margin": margin}
