"""Compiled functions of a model, dropped once the model differs from the traced one."""

import tensorflow as tf

from keras_mpdsgr.arguments import check_choice
from keras_mpdsgr.attacks.snapshot import Snapshot

JIT_CHOICES = ("auto", "on", "off")


class CompiledFunctions(dict):
    """Functions of a model by key, compiled at their first call and after the model changed.

    A trace builds in the model's layers and their settings. So the model is compared with what it
    was (`Snapshot`), and all functions are dropped where it differs. Weights are read again at each
    call: training them changes nothing.

    Args:
        model: The Keras model that the functions call.

    Attributes:
        neurons: Passes of neurons that all these functions share, as of `neurons_kept_in`.
    """

    def __init__(self, model):
        super().__init__()
        self.neurons = []
        self._model = model
        self._known = Snapshot(model)
        self._written = set()

    @classmethod
    def of(cls, model):
        """Those kept on a model, and so freed with it."""
        name = "_keras_mpdsgr_compiled"
        if name not in vars(model):
            vars(model)[name] = cls(model)  # past Keras' tracking of attributes
        return vars(model)[name]

    def call(self, key, function, *arguments, jit_compile=None, look=True):
        """Calls a function, compiled.

        Args:
            key: What tells it from the other functions: all that its trace depends on besides the
                model and the arguments' shapes. Hashable.
            function: The function; of two with one key the first is kept.
            *arguments: Nested structures of tensors, whose first axis is that of the samples.
            jit_compile: As of `tf.function`.
            look: Whether to see if the model has changed. False between the steps of one run, where
                nobody else has had a turn: it takes longer than a small batch.
        """
        if look:
            self._drop_if_changed()
        # Traced for any number of samples, so that another size of batch traces nothing.
        specs = tf.nest.map_structure(_of_any_length, arguments)
        key = (key, *map(str, tf.nest.flatten(specs)))
        if key not in self:
            self[key] = tf.function(function, jit_compile=jit_compile, autograph=False)
            if not tf.config.functions_run_eagerly():
                self[key].get_concrete_function(*specs)
                self._note_what_the_trace_wrote()
        return self[key](*arguments)

    def _drop_if_changed(self):
        now = Snapshot(self._model)
        if now.differences(self._known) - self._written:
            self.clear()
            self.neurons.clear()
            self._written.clear()
            self._known = now

    def _note_what_the_trace_wrote(self):
        # Such as a layer's count of its calls, which is not a setting. What one of the two does not
        # have is what the first call has built.
        now = Snapshot(self._model)
        self._written |= now.differences(self._known, of_both=True)
        self._known = now


def _of_any_length(tensor):
    shape = tf.TensorShape([None, *tensor.shape[1:]]) if tensor.shape.rank else tensor.shape
    return tf.TensorSpec(shape, tensor.dtype)


def jit_compile(jit):
    """Whether to compile by XLA: `"on"`, `"off"`, or `"auto"`: where there is a GPU.

    Raises:
        ValueError: If `jit` is none of the three.
    """
    check_choice("jit", jit, JIT_CHOICES)
    return jit == "on" or (jit == "auto" and bool(tf.config.list_physical_devices("GPU")))
