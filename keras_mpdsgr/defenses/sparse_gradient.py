"""SR: a penalty on the slope of the right class' probability (Liu et al., 2024)."""

import tensorflow as tf

from keras_mpdsgr.arguments import check_number
from keras_mpdsgr.defenses.base import Defense, register
from keras_mpdsgr.defenses.trades import refuse_trades
from keras_mpdsgr.fitting.objective import Objective, class_numbers
from keras_mpdsgr.inputs import check_scores


@register
class SparseGradient(Defense):
    """Sparse gradients (SR): the loss holds the squared slope of the right class' probability.

    With `f = exp(z_y) / (exp(z_y) + exp(z_j))`, j the best wrong class at x, and
    `d = sign(df / dx)`, the loss is `CE + weight * mean(((f(x + h d) - f(x)) / h)^2)` (Liu et al.,
    2024): a finite difference for the squared L1 norm of the gradient. No gradient flows through
    d, and j is the same in both terms. `x + h d` is not cut to [0, 1], or it would not be h away.
    With an adversary both terms are taken at its images, as in the authors' code.

    Args:
        weight: Weight of the penalty, not negative. The values behind the paper's tables were not
            found: the authors' command line leaves the penalty off unless told, and names its runs
            by thousandths, which is where a penalty of some hundreds weighs as much as the
            cross-entropy.
        h: Length of the difference, positive, in units of pixels scaled to [0, 1].

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> SparseGradient(weight=0.004)
    SparseGradient(weight=0.004, h=0.01)
    """

    name = "sr"

    def __init__(self, weight=0.002, h=0.01):
        self.weight = check_number("weight", weight, "weight of the penalty in the loss", least=0)
        self.h = check_number(
            "h", h, "length of the finite difference, in pixels of [0, 1]", above=0
        )

    def objective(self, adversary=None):
        return SparseGradientObjective(self.weight, self.h, adversary)


class SparseGradientObjective(Objective):
    """The loss of `SparseGradient`; its arguments are that class' and the adversary."""

    def __init__(self, weight, h, adversary=None):
        super().__init__(adversary)
        refuse_trades(adversary, "sr")
        self.weight = weight
        self.h = h

    def loss(self, model, x, examples, y, task_loss):
        x = tf.convert_to_tensor(examples)  # an array, where `train_on_batch` runs eagerly
        classes = class_numbers(y)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = check_scores(model(x, training=True))
            rivals = best_wrong_class(logits, classes)
            there = duel(logits, classes, rivals)
            total = tf.reduce_sum(there)
        slope_signs = tf.sign(tape.gradient(total, x, unconnected_gradients="zero"))
        moved = x + self.h * tf.stop_gradient(slope_signs)
        beyond = duel(model(moved, training=True), classes, rivals)
        penalty = task_loss.mean(tf.square((beyond - there) / self.h))
        return logits, task_loss(y, logits) + self.weight * penalty


def best_wrong_class(logits, classes):
    """The class of the highest logit but the right one's, `(batch,)`."""
    right = tf.one_hot(classes, logits.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
    hidden = tf.where(right, logits.dtype.min, logits)
    return tf.argmax(hidden, axis=-1, output_type=tf.int32)


def duel(logits, classes, rivals):
    """`exp(z_y) / (exp(z_y) + exp(z_j))` of each sample, `(batch,)` float32."""
    logits = tf.cast(logits, tf.float32)
    right = tf.gather(logits, classes, axis=1, batch_dims=1)
    wrong = tf.gather(logits, rivals, axis=1, batch_dims=1)
    return tf.sigmoid(right - wrong)
