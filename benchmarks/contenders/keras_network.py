"""Training, input gradient and weights of a Keras VGG11."""

import contextlib

import keras
import tensorflow as tf

from benchmarks.contenders.base import LEARNING_RATE, MOMENTUM, Contender
from keras_mpdsgr import attacks, dynamics, keras_internals
from keras_mpdsgr.attacks.compiled import jit_compile
from keras_mpdsgr.attacks.losses import cross_entropy

_STATISTICS = ("beta", "moving_mean", "moving_variance")


class KerasNetwork(Contender):
    """A Keras model, trained as `fit` trains it.

    Args:
        case: The `Case`.
        model: The Keras model, from `(batch, h, w, c)` to logits.
        jit: XLA: `"auto"` (whole steps on a GPU, neurons alone on a CPU), `"on"` or `"off"`.
    """

    def __init__(self, case, model, jit="auto"):
        super().__init__(case)
        compiles = jit_compile(jit)
        self._jit = jit
        self.model = model
        self.trained = self.trainer(model)
        self.trained.compile(
            keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=compiles,
        )
        self.images, self.labels = case.images()
        self._target = attacks.Target(model, jit=jit)
        self._gradient = tf.function(self._input_gradient, jit_compile=compiles, autograph=False)
        self._batches = None

    def trainer(self, model):
        """The Keras model that is compiled and fitted in training this one."""
        return model

    def train_step(self):
        if self._batches is None:
            batch = tf.data.Dataset.from_tensors((self.images, self.labels))
            self._batches = iter(batch.repeat())
            self.trained.make_train_function()
        with dynamics.fused_neurons(False) if self._jit != "auto" else contextlib.nullcontext():
            logs = self.trained.train_function(self._batches)
        return float(logs["loss"])

    def input_gradient(self):
        return self._gradient(tf.constant(self.images), tf.constant(self.labels)).numpy()

    def _input_gradient(self, x, y):
        with dynamics.fused_neurons(self._jit == "auto"):
            return self._target.input_gradient(x, y, cross_entropy)[0]

    def load(self, weights):
        for name, (variable, factor) in self._variables().items():
            variable.assign(weights[name] / factor)

    def weights(self):
        """Arrays by name: `0/kernel` of the first stage, with `bias`, or `scale` and statistics."""
        return {name: v.numpy() * factor for name, (v, factor) in self._variables().items()}

    def _variables(self):
        layers = keras_internals.all_layers(self.model)
        norms = iter([layer for layer in layers if hasattr(layer, "lambda_")])
        weighted = [a for a in layers if isinstance(a, keras.layers.Conv2D | keras.layers.Dense)]
        variables = {}
        for number, layer in enumerate(weighted):
            variables[f"{number}/kernel"] = layer.kernel, 1.0
            if layer.use_bias:
                variables[f"{number}/bias"] = layer.bias, 1.0
                continue
            norm = next(norms)
            variables[f"{number}/scale"] = norm.lambda_, norm.alpha * norm.v_threshold
            variables |= {f"{number}/{name}": (getattr(norm, name), 1.0) for name in _STATISTICS}
        return variables
