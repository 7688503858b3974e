"""What a training step minimises, and the model as it calls it."""

import keras
import tensorflow as tf


class Objective:
    """What one training step minimises; this class: the plain loss on the images as they come.

    Args:
        adversary: The `AdversarialTraining` whose images are trained on; None for clean images.
    """

    def __init__(self, adversary=None):
        self.adversary = adversary

    def __call__(self, model, x, y, task_loss):
        """Runs inside the step's gradient tape.

        Args:
            model: The model in training: `model(x, training=True)` gives logits. A pass with
                `training=False` uses the statistics of inference and counts no Omega.
            x: Images, `(batch, ...)`, in [0, 1].
            y: Labels, as they were given to `fit`.
            task_loss: The `TaskLoss`: `task_loss(y, logits)` is the compiled loss, the mean over
                the batch; `task_loss.mean(values)` is that of one value a sample.

        Returns:
            Logits, `(batch, classes)`, that metrics are computed on, and the loss, a scalar.
        """
        if self.adversary is not None:
            x = self.adversary.examples(model, x, y)
        logits = model(x, training=True)
        return logits, task_loss(y, logits)

    def seed_generators(self):
        """The `keras.random.SeedGenerator`s that it draws from, for the model to keep."""
        return [] if self.adversary is None else self.adversary.seed_generators()


class TaskLoss:
    """The compiled loss of a batch, and means over its samples that are weighted alike.

    Args:
        loss: Function of labels and logits.
        sample_weight: `(batch,)`, of `sample_weight` and `class_weight` in `fit`; None for none.
    """

    def __init__(self, loss, sample_weight=None):
        self._loss = loss
        self._sample_weight = sample_weight

    def __call__(self, y, logits):
        return self._loss(y, logits)

    def mean(self, values):
        """Mean over the batch of one value a sample, `(batch,)`, each times its weight."""
        if self._sample_weight is not None:
            weight = tf.cast(self._sample_weight, values.dtype)
            values = values * tf.reshape(weight, tf.shape(values))
        return tf.reduce_mean(values)


class LossCollectingModel:
    """A model as an objective calls it; notes the losses that its layers add in training.

    Args:
        model: The Keras model.
    """

    def __init__(self, model):
        self._model = model
        self._added = []

    def __call__(self, x, training=None):
        outputs = self._model(x, training=training)
        if training:
            # Keras drops them at the next call.
            self._added.append(_total(self._model.losses))
        return outputs

    def mean_of_added_losses(self):
        """Mean over the calls in training of the sum of added losses and weight regularizers."""
        return _total(self._added) / max(len(self._added), 1)


def _total(losses):
    dtype = keras.config.floatx()
    return tf.add_n([tf.zeros((), dtype), *(tf.reduce_sum(tf.cast(x, dtype)) for x in losses)])


def seed_of_step(generator):
    """The next seed of a `keras.random.SeedGenerator`, another one on each replica."""
    seed = generator.next()
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.random.experimental.stateless_fold_in(seed, replica)
    return seed
