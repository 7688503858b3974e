"""All uses of what Keras, TensorFlow and KerasTuner do not publish.

Each use stands here with its reason, and `tests/test_keras_internals.py` says which one a new
version breaks. All were seen in Keras 3.13.0, 3.14.0 and 3.15.1, TensorFlow 2.21 and KerasTuner
1.4.8. Where a public way appears, it belongs in this module's place.
"""

import contextlib
import gc
import pathlib
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.python.eager import record

from keras_mpdsgr.files import write_json

if TYPE_CHECKING:
    from keras import Model as _Model
    from keras_tuner import Oracle as _Oracle
    from keras_tuner import Tuner as _Tuner
else:
    # With Keras' model as a mixin's base, Keras would make all its subclasses functional models at
    # once; and KerasTuner is slow to import.
    _Model = _Oracle = _Tuner = object


def all_layers(model):
    """The model and all layers in it, those inside wrappers and inner models too, each once.

    `Layer._flatten_layers`: the public `layers` has those of one level, and wrappers have none.
    """
    return model._flatten_layers()


def seed_generators(model):
    """All `keras.random.SeedGenerator`s of a model, in the order of its layers.

    `Layer._seed_generators`: the public variables do not tell a seed's state from other states.
    """
    found = (getattr(layer, "_seed_generators", ()) for layer in all_layers(model))
    return [generator for generators in found for generator in generators]


def takes_training(layer):
    """Whether a layer's `call` has the argument `training`.

    `Layer._call_has_training_arg`, by which Keras itself decides whether to pass it on.
    """
    return layer._call_has_training_arg


def operation_behind(tensor):
    """The layer or operation that a symbolic tensor of a functional model comes from.

    `KerasTensor._keras_history`: the public configuration of a model has it for saving only.
    """
    return tensor._keras_history.operation


def inputs_behind(tensor):
    """The symbolic tensors that the operation behind one was called on there, a list.

    `KerasTensor._keras_history` and `Operation._inbound_nodes`: the public `input` of a layer fails
    where the layer was called twice.
    """
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index].input_tensors


def calls_of(layer):
    """How often a layer was called on symbolic tensors.

    `Operation._inbound_nodes`, as above.
    """
    return len(layer._inbound_nodes)


def keep_losses_in(layer, losses):
    """Has a layer keep its losses in a list of ours.

    `Layer._losses`: the threads of a `MirroredStrategy`'s replicas fill Keras' one list together,
    and it is summed up whatever its losses mean.

    Args:
        layer: The layer.
        losses: An object with `extend`, `clear` and `[:]`.
    """
    layer._losses = losses


def plain_error(message):
    """A ValueError that stays one line where it is raised in a layer's `call`.

    `_keras_call_info_injected` of an exception: else Keras adds the arguments of that call.
    """
    error = ValueError(message)
    vars(error)["_keras_call_info_injected"] = True
    return error


@contextlib.contextmanager
def unlocked(layer):
    """A scope in which a built layer takes new state, as a seed generator.

    `Layer._tracker`: Keras locks it as the layer is built, and has no public way in.
    """
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.lock()


def compiled_loss(model, y, outputs, sample_weight=None):
    """The loss that a model was compiled with, without the losses that its layers add.

    `Trainer._compile_loss`: the public `compute_loss` adds those of the last call.
    """
    return model._compile_loss(y, outputs, sample_weight)


def show_loss(model, loss, count):
    """Adds a batch's loss to the mean that `fit` shows.

    `Trainer._loss_tracker`: else only Keras' own training step updates it.

    Args:
        model: A compiled model.
        loss: Scalar, the mean over the batch.
        count: Number of samples.
    """
    model._loss_tracker.update_state(loss, sample_weight=count)


def trace_anew(layer):
    """Makes all Keras models that hold a layer compile their steps again, as settings have changed.

    `Trainer.train_function` and its like. A layer does not know the models around it, which may be
    of any class; hence the garbage collector's list of them.
    """
    from keras import Model  # slow, and most of this module does without

    for model in [found for found in gc.get_objects() if issubclass(type(found), Model)]:
        for function in ("train_function", "test_function", "predict_function"):
            compiled = getattr(model, function, None) is not None
            if compiled and any(inner is layer for inner in all_layers(model)):
                # Made right away, not only dropped: a `fit` may be running.
                getattr(model, f"make_{function}")(force=True)


def after_next_step(model, act):
    """Calls a function behind the next training step of a `fit`, also if the step fails.

    `Trainer.train_function`: no callback is called behind a step that raises.
    """
    step = model.train_function

    def step_then_act(iterator):
        try:
            return step(iterator)
        finally:
            model.train_function = step
            act()

    model.train_function = step_then_act


def after_failing_batch_begin(callback, act):
    """Calls a function where another callback of the same `fit` fails as a training batch begins.

    No callback is called behind one that raises, and none knows its `CallbackList`; hence the
    garbage collector's list of them.
    """
    from keras.callbacks import CallbackList  # slow, and most of this module does without

    def guarded(begin):
        def begin_or_act(batch, logs=None):
            try:
                begin(batch, logs)
            except BaseException:
                act()
                raise

        return begin_or_act

    for found in [found for found in gc.get_objects() if issubclass(type(found), CallbackList)]:
        if any(one is callback for one in found.callbacks):
            found.on_train_batch_begin = guarded(found.on_train_batch_begin)


def is_iterator_of_fit(value):
    """Whether a value is what `fit` walks through batches by, which it keeps on the model.

    `keras.src.trainers.epoch_iterator`: the base class of `Trainer._eval_epoch_iterator` has no
    public name.
    """
    module = "keras.src.trainers.epoch_iterator"
    return any(kind.__module__ == module for kind in type(value).__mro__)


class BuildHook(_Model):
    """Mixin of a `keras.Model`: `build_source` chooses what `fit` builds the model from.

    `Trainer._maybe_symbolic_build`: Keras has no public step between a data set and the building.
    """

    def build_source(self, iterator, data_batch):
        """Iterator and batch to build from: those that Keras has found."""
        return iterator, data_batch

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        super()._maybe_symbolic_build(*self.build_source(iterator, data_batch))


@contextlib.contextmanager
def tensors_as_arrays(layers):
    """A scope in which the constants that layers hold as tensors are NumPy arrays.

    Writes into attributes of Keras' layers, as a `Normalization`'s mean: TensorFlow captures such a
    tensor like an argument, and tf2onnx 1.17 makes it an input of the file, its value lost.
    """
    held = [
        (layer, name, value)
        for layer in layers
        for name, value in vars(layer).items()
        if tf.is_tensor(value) and not isinstance(value, tf.Variable)
    ]
    try:
        for layer, name, value in held:
            setattr(layer, name, value.numpy())
        yield
    finally:
        for layer, name, value in held:
            setattr(layer, name, value)


def function_of_its_own(function, **options):
    """A `tf.function` that stays one call in the functions that call it.

    The attribute `_noinline` of a TensorFlow function: a formula of hundreds of small operations is
    then traced and optimized once for all layers. There is no public switch.
    """
    attributes = {"_noinline": True}
    return tf.function(function, autograph=False, experimental_attributes=attributes, **options)


def kept_by_graph(name):
    """A list that belongs to the graph being traced, and is freed with it.

    Collections of TensorFlow 1: a TensorFlow 2 graph has no place for a caller's objects.
    """
    return tf.compat.v1.get_default_graph().get_collection_ref(name)


def is_recorded(tensor):
    """Whether a `tf.GradientTape` records what is made of a tensor.

    `should_record_backprop` of its recorder: a public tape does not say what it watches.
    """
    return record.should_record_backprop([tensor])


def on_several_machines(strategy):
    """Whether a `tf.distribute.Strategy` runs on several machines.

    `_in_multi_worker_mode` of its extension: a `MultiWorkerMirroredStrategy` of one machine is of
    the same class.
    """
    kind = tf.distribute.MultiWorkerMirroredStrategy
    return isinstance(strategy, kind) and strategy.extended._in_multi_worker_mode()


def switch_off_grappler():
    """Turns off TensorFlow's graph optimizer, for sums whose order is fixed.

    Past an estimated peak of 205 MB its memory pass adds up a sum of three or more tensors in the
    order in which they arrive, op determinism or not. It takes no switch for this pass alone; the
    option for all of it is experimental.
    """
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


class RestartableOracle(_Oracle):
    """Mixin of a `keras_tuner.Oracle`: a search outlives a kill at any moment.

    KerasTuner writes its files in place, by `_get_oracle_fname`, `_get_trial_dir` and
    `_save_trial`, so that a kill in the middle would lose the search; and a kill between two files
    leaves a trial that is in no `_retry_queue`, which nobody would run again.
    """

    trials: dict

    def save(self):
        write_json(pathlib.Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial):
        path = pathlib.Path(self._get_trial_dir(trial.trial_id)) / "trial.json"
        write_json(path, trial.get_state())

    def reload(self):
        super().reload()
        self.trials = dict(sorted(self.trials.items(), key=lambda entry: int(entry[0])))
        for name, trial in self.trials.items():
            if trial.status == "RUNNING" and name not in self._retry_queue:
                self._retry_queue.append(name)


class RestartableTuner(_Tuner):
    """Mixin of a `keras_tuner.Tuner`, for `RestartableOracle`s; `populate_space` names the values.

    `_populate_initial_space` would build a whole network to learn the names; `_get_tuner_fname` and
    `_is_worker` are needed to write the tuner's file whole.
    """

    def populate_space(self):
        """Adds all values to the oracle's space."""
        raise NotImplementedError

    def _populate_initial_space(self):
        self.populate_space()

    @property
    def is_worker(self):
        """Whether it runs trials for a chief elsewhere."""
        return self._is_worker()

    def save(self):
        if not self.is_worker:
            self.oracle.save()
        write_json(pathlib.Path(self._get_tuner_fname()), self.get_state())
