"""What all defences share: one interface, and a Keras model that minimises any objective."""

import inspect

import keras
import tensorflow as tf

from keras_mpdsgr import attacks
from keras_mpdsgr.arguments import check_model
from keras_mpdsgr.layers import multi_worker
from keras_mpdsgr.layers.fitting import SpikingFit

_registry: dict[str, type["Defense"]] = {}


class Defense:
    """Base of all defences: a way of building, preparing and training a model.

    A small object that holds hyper-parameters. A subclass stores its arguments under their own
    names and overrides what differs; this class changes nothing.

    Attributes:
        name: What `get` knows it by.
        own_weight_rule: Whether it has a rule of its own for weights, so that a trainer adds no
            weight decay.

    Example:

    >>> get("none").objective() is None
    True
    """

    name = "none"
    own_weight_rule = False

    def model_options(self, timesteps):
        """Keyword arguments for a builder of `models`, for networks of `timesteps` steps."""
        del timesteps
        return {}

    def prepare(self, model):
        """Changes a model that was just built, before it is compiled."""

    def objective(self, adversary=None):
        """What a training step minimises.

        Args:
            adversary: An `AdversarialTraining` to train against; None for clean images.

        Returns:
            An `Objective`; None for the plain loss that the model is compiled with.
        """
        return None if adversary is None else adversary.objective()

    def callbacks(self, total_steps, warmup_steps=0):
        """Keras callbacks of a training of `total_steps` optimizer steps."""
        del total_steps, warmup_steps
        return []

    def get_config(self):
        """The arguments that make this defence, by name."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names}

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


def register(defense):
    """Class decorator: makes a `Defense` available by its `name`."""
    _registry[defense.name] = defense
    return defense


register(Defense)


def names():
    """Names that `get` knows."""
    return list(_registry)


def get(name, **arguments):
    """A defence by its name.

    Args:
        name: One of `names()`.
        **arguments: Of the defence's class; those it does not take are refused.

    Raises:
        ValueError: If there is none of that name, or it does not take an argument.

    Example:

    >>> get("none")
    Defense()
    """
    if not isinstance(name, str) or name not in _registry:
        raise ValueError(f"`defense` must be one of {', '.join(_registry)}. Received: {name!r}.")
    kind = _registry[name]
    taken = inspect.signature(kind).parameters
    for argument in arguments:
        if argument not in taken:
            known = ", ".join(taken) or "no arguments"
            raise ValueError(f"Defence {name!r} takes {known}. Received: {argument}.")
    return kind(**arguments)


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
            task_loss: `task_loss(y, logits)` is the compiled loss, the mean over the batch.

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


class DefendedModel(SpikingFit, keras.Model):
    """Trains a Keras model by an `Objective`, with `compile` and `fit` as usual.

    `fit` changes the weights of the model in place; `evaluate`, `predict`, `summary`, `save` and
    `export` are the model's own. `save_weights` holds the model's weights and the optimizer. Losses
    that layers add (Omega) and regularizers of weights count once a step: where an objective calls
    the model on several sets of images in training, as the mean over these passes.

    Args:
        model: Any Keras model, functional, sequential or subclassed, from images to logits.
        objective: The `Objective`; None for the plain loss.
        **kwargs: Those of `keras.Model`.

    Raises:
        ValueError: If the model is none of Keras', gives probabilities, or is stateful, or the
            objective is no `Objective`.

    Example:

    >>> import keras, numpy as np
    >>> from keras_mpdsgr import defenses
    >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model = DefendedModel(inner, defenses.AdversarialTraining().objective())
    >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> history = model.fit(np.full((8, 4), 0.5, "float32"), np.zeros(8, "int32"), verbose=0)
    >>> list(history.history)
    ['loss']
    """

    def __init__(self, model, objective=None, **kwargs):
        check_model("model", model)
        if not isinstance(objective, Objective | None):
            raise ValueError(
                "`objective` must be None or an `Objective`, as a defence's `objective()` gives. "
                f"Received: {objective!r}."
            )
        kwargs.setdefault("name", f"defended_{model.name}")
        # The images go to the model as they are; its own layers cast them.
        super().__init__(dtype=model.dtype_policy, autocast=False, **kwargs)
        if attacks.Target(model).probabilities:
            raise ValueError(
                "`model` must give logits: an objective takes differences of them. Received: "
                f"{model.name!r}, which ends in a softmax."
            )
        self.model = model
        self.objective = Objective() if objective is None else objective
        # Under Keras' eye, so that they are found by whatever sets seeds, and saved.
        self._objective_seeds = list(self.objective.seed_generators())
        self.built = model.built

    def build(self, input_shape):
        if not self.model.built:
            self.model.build(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        return self.model(inputs, training=training)

    def compute_output_shape(self, input_shape):
        return self.model.compute_output_shape(input_shape)

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync

        def task_loss(y, logits):
            # Keras' losses are shares of the mean over all replicas.
            return self._compile_loss(y, logits, sample_weight) * replicas

        passes = TrainingPasses(self.model)
        with tf.GradientTape() as tape:
            logits, loss = self.objective(passes, x, y, task_loss)
            loss = tf.cast(loss, keras.config.floatx()) + passes.mean_of_added_losses()
            share = loss / replicas
            scaled = share if self.optimizer is None else self.optimizer.scale_loss(share)
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(x)[0])
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(scaled, weights), weights, strict=True))
        return multi_worker.step_results(self.compute_metrics(x, y, logits, sample_weight))

    def get_layer(self, name=None, index=None):
        return self.model.get_layer(name, index)

    def summary(self, *args, **kwargs):
        self.model.summary(*args, **kwargs)

    def save(self, *args, **kwargs):
        """Saves the model itself, without the objective it was trained by."""
        self.model.save(*args, **kwargs)

    def export(self, *args, **kwargs):
        """Exports the model itself."""
        return self.model.export(*args, **kwargs)


class TrainingPasses:
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
        """Mean over the passes of the sum of added losses and weight regularizers."""
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
