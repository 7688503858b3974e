"""A Keras model that trains any Keras model by an objective of its own."""

import keras
import tensorflow as tf

from keras_mpdsgr import attacks, keras_internals
from keras_mpdsgr.arguments import check_model
from keras_mpdsgr.fitting import multi_worker
from keras_mpdsgr.fitting.objective import ModelInStep, Objective, TaskLoss
from keras_mpdsgr.fitting.spiking_fit import SpikingFit
from keras_mpdsgr.fitting.spiking_model import SpikingModel
from keras_mpdsgr.fitting.weight_average import WeightAverage, averaged


class DefendedModel(SpikingFit, keras.Model):
    """Trains a Keras model by an `Objective`, with `compile` and `fit` as usual.

    `fit` changes the weights of the model in place; `evaluate`, `predict`, `summary`, `save` and
    `export` are the model's own. `save_weights` holds the model's weights and the optimizer. Losses
    that layers add (Omega) and regularizers of weights count once a step: where an objective calls
    the model on several sets of images in training, as the mean over these passes.

    With an `average` the training itself continues from the weights as they are, and whatever looks
    at the model gets their average: `evaluate` (so the validation of `fit`), `predict`, `save` and
    `export`. The model inside has its averaged weights in the scope `average.applied()`, or where
    it is loaded from what was saved. `save_weights` holds both, so that a training can be resumed.

    Args:
        model: Any Keras model, functional, sequential or subclassed, from images to logits.
        objective: The `Objective`; None for the plain loss.
        average: A `WeightAverage` of its own; None for none. Then the model must be built.
        **kwargs: Those of `keras.Model`.

    Raises:
        ValueError: If the model is none of Keras', gives probabilities, or is stateful, the
            objective is no `Objective`, or the average no `WeightAverage`, or of an unbuilt model.

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

    def __init__(self, model, objective=None, average=None, **kwargs):
        check_model("model", model)
        if not isinstance(objective, Objective | None):
            raise ValueError(
                "`objective` must be None or an `Objective`, as a defence's `objective()` gives. "
                f"Received: {objective!r}."
            )
        if not isinstance(average, WeightAverage | None):
            raise ValueError(f"`average` must be None or a `WeightAverage`. Received: {average!r}.")
        if average is not None and not model.built:
            raise ValueError(
                "`model` must be built where its weights are averaged: give it an input shape, or "
                f"call it once. Received: {model.name!r}, which is not."
            )
        kwargs.setdefault("name", f"defended_{model.name}")
        # The images go to the model as they are; its own layers cast them.
        super().__init__(dtype=model.dtype_policy, autocast=False, **kwargs)
        outputs = attacks.Target(model).outputs
        if outputs != "logits":
            raise ValueError(
                "`model` must give logits: an objective takes differences of them. Received: "
                f"{model.name!r}, which gives {outputs}."
            )
        self.model = model
        self.objective = Objective() if objective is None else objective
        # Under Keras' eye, so that they are found by whatever sets seeds, and saved.
        self._objective_seeds = list(self.objective.seed_generators())
        self.average = average
        if average is not None:
            average.follow(model)
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
            return keras_internals.compiled_loss(self, y, logits, sample_weight) * replicas

        model = ModelInStep(
            self.model, None if self.optimizer is None else self.optimizer.iterations
        )
        with tf.GradientTape() as tape:
            logits, loss = self.objective(model, x, y, TaskLoss(task_loss, sample_weight))
            loss = tf.cast(loss, keras.config.floatx()) + model.mean_of_added_losses()
            share = loss / replicas
            scaled = share if self.optimizer is None else self.optimizer.scale_loss(share)
        keras_internals.show_loss(self, loss, tf.shape(x)[0])
        weights = self.trainable_weights
        gradients = tape.gradient(scaled, weights)
        model.put_back()
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        if self.average is not None:
            self.average.update()
        return multi_worker.step_results(self.compute_metrics(x, y, logits, sample_weight))

    def fit(self, x=None, *args, **kwargs):
        self._check_pixels(x)
        if self.average is not None:
            self.average.refuse_applied("`fit`")
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        self._check_pixels(x)
        with averaged(self):
            return super().evaluate(x, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        self._check_pixels(x)
        with averaged(self):
            return super().predict(x, *args, **kwargs)

    def _check_pixels(self, x):
        if isinstance(self.model, SpikingModel):
            self.model.check_pixels(x)

    def save_weights(self, *args, **kwargs):
        if self.average is not None:
            self.average.refuse_applied("`save_weights`")
        super().save_weights(*args, **kwargs)

    def count_params(self):
        return self.model.count_params()

    def get_config(self):
        # Of a subclass Keras makes a config of what `__init__` was given: no objective has one.
        raise ValueError(
            f"A DefendedModel cannot be cloned or serialized. Received: {self.name!r}. Clone its "
            "`model` and wrap that: DefendedModel(keras.models.clone_model(defended.model), "
            "objective)."
        )

    def get_layer(self, name=None, index=None):
        return self.model.get_layer(name, index)

    def summary(self, *args, **kwargs):
        self.model.summary(*args, **kwargs)

    def save(self, *args, **kwargs):
        """Saves the model itself, without the objective it was trained by."""
        with averaged(self):
            self.model.save(*args, **kwargs)

    def export(self, *args, **kwargs):
        """Exports the model itself."""
        with averaged(self):
            return self.model.export(*args, **kwargs)
