"""What a training step minimises, and the model as it calls it."""

import keras
import tensorflow as tf


class Objective:
    """What one training step minimises; this class: the plain loss on the images as they come.

    A subclass overrides `loss`, and `examples` where it makes images of another kind. One that
    overrides `__call__` in their place trains too, but not by `AdversarialWeightPerturbation`,
    which takes the loss twice on images that are made once.

    Args:
        adversary: The `AdversarialTraining` whose images are trained on; None for clean images.
    """

    def __init__(self, adversary=None):
        self.adversary = adversary

    def __call__(self, model, x, y, task_loss):
        """Runs inside the step's gradient tape.

        Args:
            model: The `ModelInStep`: `model(x, training=True)` gives logits. A pass with
                `training=False` uses the statistics of inference and counts no Omega.
            x: Images, `(batch, ...)`, in [0, 1].
            y: Labels, as they were given to `fit`.
            task_loss: The `TaskLoss`: `task_loss(y, logits)` is the compiled loss, the mean over
                the batch; `task_loss.mean(values)` is that of one value a sample.

        Returns:
            Logits, `(batch, classes)`, that metrics are computed on, and the loss, a scalar.
        """
        return self.loss(model, x, self.examples(model, x, y), y, task_loss)

    def examples(self, model, x, y):
        """The images that the loss is taken on, made in each step; arguments as above."""
        return x if self.adversary is None else self.adversary.examples(model, x, y)

    def loss(self, model, x, examples, y, task_loss):
        """Logits and loss as of `__call__`, on images that `examples` has made.

        Args:
            model, x, y, task_loss: As of `__call__`.
            examples: What `examples` gave, in the shape of `x`.
        """
        logits = model(examples, training=True)
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


class ModelInStep:
    """A model as an objective calls it in one training step.

    It notes the losses that layers add in training, and holds weights that an objective has moved
    for the time of the step's gradient.

    Args:
        keras_model: The Keras model.
        step: Number of optimizer steps done, an integer tensor or variable; None if not known.
        notes_losses: Whether it notes losses; not for passes that are to leave no trace.
    """

    def __init__(self, keras_model, step=None, notes_losses=True):
        self.keras_model = keras_model
        self.step = step
        self._notes_losses = notes_losses
        self._added = []
        self._held = []

    def __call__(self, x, training=None):
        outputs = self.keras_model(x, training=training)
        if training and self._notes_losses:
            # Keras drops them at the next call.
            self._added.append(_total(self.keras_model.losses))
        return outputs

    def move(self, variables, values):
        """Gives variables other values until `put_back`, which the step calls behind its gradient.

        Args:
            variables: Keras variables, each at most once in a step.
            values: Tensors of their shapes; under `tf.distribute` the same on each replica.
        """
        # Copies: what was added would not come off again to the last bit.
        held = [(variable, tf.identity(variable.value)) for variable in variables]
        self._held += held
        with tf.control_dependencies([value for _, value in held]):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def put_back(self):
        """Gives the variables that were moved the very values they had."""
        for variable, value in self._held:
            variable.assign(value)
        self._held = []

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


def class_numbers(y):
    """Labels as class numbers, `(batch,)` int32, from class numbers or one-hot rows."""
    y = tf.convert_to_tensor(y)
    if y.shape.rank == 2 and y.shape[1] != 1:
        return tf.argmax(y, axis=1, output_type=tf.int32)
    return tf.cast(tf.reshape(y, (-1,)), tf.int32)
