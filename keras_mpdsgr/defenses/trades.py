"""TRADES (Zhang et al., 2019): the loss of clean images, and a divergence to adversarial ones."""

import tensorflow as tf

from keras_mpdsgr.fitting.objective import Objective


class TradesObjective(Objective):
    """TRADES' loss (Zhang et al., 2019): `CE(clean) + beta * KL(p_clean || p_adversarial)`.

    Metrics are computed on the clean logits.

    Args:
        adversary: The `AdversarialTraining`; it holds beta.
    """

    def loss(self, model, x, examples, y, task_loss):
        clean = model(x, training=True)
        perturbed = tf.cast(model(examples, training=True), tf.float32)
        divergence = task_loss.mean(kl_divergence(perturbed, tf.cast(clean, tf.float32)))
        return clean, task_loss(y, clean) + self.adversary.beta * divergence


def refuse_trades(adversary, name):
    """Raises ValueError if a defence with a loss of its own is given TRADES'."""
    if adversary is not None and adversary.loss == "trades":
        raise ValueError(
            f'Defence {name!r} has a loss of its own, which goes with loss="pgd". '
            'Received: loss="trades".'
        )


def kl_divergence(logits, reference):
    """KL(p || q) in nats, `(batch,)`: p from the reference's logits, q from the others."""
    log_p, log_q = tf.nn.log_softmax(reference), tf.nn.log_softmax(logits)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)
