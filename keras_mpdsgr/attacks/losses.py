"""Losses that attacks raise: functions of logits `(batch, classes)` and labels `(batch,)`."""

from typing import NamedTuple

import tensorflow as tf

# Of the largest logit: what float32 cannot tell from rounding.
_ROUNDING = 1e-6


class Goal(NamedTuple):
    """Where an attack steers, and what it must leave: any class but the label is a success.

    Stands in place of labels where a targeted attack is one of several ways to an error.

    Attributes:
        label: The true classes, `(batch,)`.
        towards: The wrong classes that the loss steers towards, `(batch,)`.
    """

    label: tf.Tensor
    towards: tf.Tensor


def cross_entropy(logits, y):
    """Cross-entropy of each sample, `(batch,)`.

    As softplus(log-sum-exp of the wrong logits less the right one): in float32 softmax's own form
    loses the right class' part of the gradient where the model is sure of it.
    """
    right = _of_class(logits, y)
    return tf.nn.softplus(tf.reduce_logsumexp(_without(logits, y), axis=1) - right)


def margin(logits, y):
    """Best wrong logit less the right one, `(batch,)`: positive where misclassified."""
    return tf.reduce_max(_without(logits, y), axis=1) - _of_class(logits, y)


def dlr(logits, y):
    """Difference of logits ratio (Croce & Hein, 2020), `(batch,)`: free of the logits' scale.

    The margin over the distance from the largest to the third largest logit. The margin itself with
    2 classes, where there is no third, and where that distance is zero up to rounding: there the
    ratio has no value, and its gradient no bound.
    """
    if logits.shape[1] < RATIO_CLASSES[False]:
        return margin(logits, y)
    largest = tf.math.top_k(logits, 3).values
    return _ratio(margin(logits, y), largest[:, 0] - largest[:, 2], logits)


def cross_entropy_towards(logits, y):
    """Minus the cross-entropy of the classes to reach, `(batch,)`; `y` as of `lead`."""
    return -cross_entropy(logits, y.towards if isinstance(y, Goal) else y)


def lead(logits, y):
    """Logit of the class to reach less that of the label, `(batch,)`.

    Args:
        logits: `(batch, classes)`.
        y: A `Goal`; or the classes to reach alone, `(batch,)`, whose best rival stands for the
            label.
    """
    if isinstance(y, Goal):
        return _of_class(logits, y.towards) - _of_class(logits, y.label)
    return -margin(logits, y)


def dlr_towards(logits, y):
    """Targeted difference of logits ratio, `(batch,)`; `y` as of `lead`.

    `-(z_y - z_t) / (z_1 - (z_3 + z_4) / 2)`, with logits z sorted downwards, as the public code of
    AutoAttack (Croce & Hein, 2020). The `lead` itself with fewer than 4 classes, and where the
    divisor is zero up to rounding.
    """
    if logits.shape[1] < RATIO_CLASSES[True]:
        return lead(logits, y)
    largest = tf.math.top_k(logits, 4).values
    spread = largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2
    return _ratio(lead(logits, y), spread, logits)


def correct(logits, y):
    """Whether each sample is classified as `y`, `(batch,)`, boolean."""
    return tf.equal(tf.argmax(logits, axis=-1, output_type=y.dtype), y)


def wrong_classes(logits, y):
    """All classes but the label, the likeliest first, `(batch, classes - 1)`."""
    number = logits.shape[1] - 1
    return tf.cast(tf.math.top_k(_without(logits, y), number).indices, y.dtype)


def _of_class(logits, y):
    return tf.gather(logits, y, axis=1, batch_dims=1)


def _without(logits, y):
    hidden = tf.one_hot(y, logits.shape[1], on_value=True, off_value=False, dtype=tf.bool)
    return tf.where(hidden, logits.dtype.min, logits)


def _ratio(difference, spread, logits):
    sizes = tf.reduce_max(tf.abs(logits), axis=1)
    return difference / tf.where(spread > _ROUNDING * sizes, spread, tf.ones_like(spread))


# Classes that DLR needs, by whether it is targeted.
RATIO_CLASSES = {False: 3, True: 4}
LOSSES = {"cross_entropy": cross_entropy, "dlr": dlr, "margin": margin}
# Of the same names: what a targeted attack raises.
TARGETED_LOSSES = {"cross_entropy": cross_entropy_towards, "dlr": dlr_towards, "margin": lead}
