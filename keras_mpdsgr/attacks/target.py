"""A model as an attack sees it: logits, input gradients, one compiled function for each step."""

import contextlib
import functools

import keras
import tensorflow as tf

from keras_mpdsgr import dynamics, keras_internals, surrogates
from keras_mpdsgr.arguments import check_choice, check_integer, check_model
from keras_mpdsgr.attacks.compiled import CompiledFunctions
from keras_mpdsgr.attacks.gradients import float_logits, image_gradient

JIT_CHOICES = ("auto", "on", "off")
OUTPUTS = ("auto", "logits", "probabilities")


class Target:
    """A Keras classifier under attack.

    Args:
        model: A Keras model from pixels in [0, 1], `(batch, ...)`, to logits or probabilities
            `(batch, classes)`. Always called in inference mode.
        gradient: The backward pass of its spiking neurons: a name of `dynamics.mode_names()` or a
            `GradientMode`.
        surrogate: Name or object of a surrogate that replaces the layers' own; None keeps them.
        eot: Number of forward passes whose gradients are averaged (expectation over
            transformation), for models that draw at random.
        outputs: `"logits"`, `"probabilities"`, or `"auto"` to tell by the last layer's activation.
        jit: XLA: `"on"` compiles each step of an attack, `"off"` nothing, and `"auto"` the step
            where there is a GPU, elsewhere the neurons alone (`dynamics.fused_neurons`).
        detach_reset, sharpness: Of the backward pass, as of `gradient_mode`.

    Attributes:
        gradient_calls: Number of input gradients computed so far, counted per image.
        padding: Rows of the batch in work that only fill it.
        classes: Number of classes; None where the model does not say.
        probabilities: Whether the model's outputs are taken for probabilities, not logits.

    Raises:
        ValueError: If an argument is out of its range, or the model is stateful.
    """

    def __init__(
        self,
        model,
        gradient="bptt",
        surrogate=None,
        eot=1,
        outputs="auto",
        jit="auto",
        detach_reset="auto",
        sharpness=None,
    ):
        check_model("model", model)
        if any(getattr(layer, "stateful", False) for layer in keras_internals.all_layers(model)):
            raise ValueError(
                f"`model` must not be stateful: {model.name!r} keeps potentials from one batch to "
                "the next, so that an attack would not be repeatable. Build it without "
                "stateful=True."
            )
        self.model = model
        self.gradient_calls = 0
        self.padding = 0
        self.eot = check_integer("eot", eot, "draws that a gradient is averaged over", least=1)
        self._gradient = gradient
        self._surrogate = None if surrogate is None else surrogates.get(surrogate)
        self._mode_spikes = gradient not in ("bptt",) or surrogate is not None
        self._detach_reset, self._sharpness = detach_reset, sharpness
        dynamics.get_mode(gradient, self._surrogate, detach_reset, sharpness)
        shape = getattr(model, "output_shape", None)
        self.classes = shape[-1] if isinstance(shape, tuple) else None
        self.probabilities = _gives_probabilities(model, outputs)
        self._jit = jit_compile(jit)
        # Where the whole step is compiled, its neurons are.
        self._fuse = not self._jit and jit != "off"

    def logits(self, x):
        """Logits in float32 (logarithms of the probabilities, where the model gives those)."""
        outputs = float_logits(self.model, x)
        if self.probabilities:
            return tf.math.log(tf.maximum(outputs, 1e-30))
        return outputs

    def input_gradient(self, x, y, loss, state=()):
        """Gradient of a loss with respect to the image alone, averaged over `eot` draws.

        Args:
            x: Images, `(batch, ...)`.
            y: Labels, `(batch,)`.
            loss: Function of logits and labels that gives one value a sample, which depends on that
                sample alone.
            state: What the gradient mode carries from one step to the next; empty at the start.

        Returns:
            Gradient in the shape of `x`, logits and losses, each the mean over draws; the mode's
            new state.
        """
        mode = dynamics.current_mode()
        gradients, answers, values = [], [], []
        for draw in range(self.eot):
            mode.begin(state, update=draw == 0)
            gradient, logits, losses = image_gradient(self.logits, x, lambda z: loss(z, y))
            gradients.append(gradient)
            answers.append(logits)
            values.append(losses)
            if draw == 0:
                state = mode.state()
        # One lucky draw must not count as success.
        means = (tf.add_n(draws) / self.eot for draws in (gradients, answers, values))
        return *means, state

    def count(self, samples):
        """Counts the gradients of one step for a number of samples, without padding."""
        self.gradient_calls += int(samples) * self.eot

    @property
    def draws_at_random(self):
        """Whether the model holds seeds to draw by (it may use them in training alone)."""
        return bool(keras_internals.seed_generators(self.model))

    def call(self, step, *arguments):
        """Runs a step of an attack, a method `step(target, *arguments)`, as a compiled function.

        In the step the attack holds its numbers (radius, step size, ...) as scalar tensors, so that
        other values compile nothing; a surrogate's numbers likewise. Another model, attack class,
        static field, backward pass or batch shape compiles another function.

        Args:
            step: A bound method, such as `self.iterate`.
            *arguments: Nested structures of tensors.
        """
        attack, function = step.__self__, step.__func__
        surrogate = self._surrogate
        numbers = {
            "attack": attack.numbers(),
            "surrogate": {} if surrogate is None else surrogate.numbers(),
            "mode": {} if self._sharpness is None else {"sharpness": self._sharpness},
        }
        key = (
            function, type(attack), attack.static_key(), type(self), self._gradient,
            self._detach_reset, self._sharpness is None, type(surrogate), self.eot, self._jit,
            self._fuse, self.probabilities,
        )  # fmt: skip
        return self._functions.call(
            key,
            functools.partial(self._traced, function, attack),
            tf.nest.map_structure(lambda number: tf.constant(number, tf.float32), numbers),
            *arguments,
            jit_compile=self._jit,
        )

    def _traced(self, function, attack, numbers, *arguments):
        surrogate = self._surrogate
        if surrogate is not None:
            surrogate = surrogate.with_numbers(numbers["surrogate"])
        mode_scope = dynamics.gradient_mode(
            self._gradient, surrogate, self._detach_reset, **numbers["mode"]
        )
        with dynamics.fused_neurons(self._fuse), mode_scope as mode:
            results = function(attack.in_step(numbers["attack"]), self, *arguments)
        if self._mode_spikes and mode.calls == 0:
            asked = f"gradient={mode.name!r}"
            if surrogate is not None:
                asked = f"surrogate={self._surrogate!r}"
            raise ValueError(
                f"{asked} needs a model with spiking layers. Received: {self.model.name!r}, which "
                "has none."
            )
        return results

    def predict(self, x):
        """Logits of one batch as an array, by a compiled function that is kept for the model."""
        key = ("predict", self.probabilities, self._fuse)
        return self._functions.call(key, self._predicted, tf.constant(x)).numpy()

    def _predicted(self, x):
        with dynamics.fused_neurons(self._fuse):
            return self.logits(x)

    @contextlib.contextmanager
    def seeded(self, seed, part):
        """Inside, a model that draws at random does so by this seed; behind, as it did before."""
        states = [generator.state for generator in keras_internals.seed_generators(self.model)]
        before = [keras.ops.convert_to_numpy(state) for state in states]
        for number, state in enumerate(states):
            own = [(int(seed) + number) % 2**31, int(part) % 2**31]
            state.assign(keras.ops.cast(own, state.dtype))
        try:
            yield
        finally:
            for state, value in zip(states, before, strict=True):
                state.assign(value)

    @property
    def _functions(self):
        return CompiledFunctions.of(self.model)


def jit_compile(jit):
    """Whether to compile by XLA: `"on"`, `"off"`, or `"auto"`: where there is a GPU.

    Raises:
        ValueError: If `jit` is none of the three.
    """
    check_choice("jit", jit, JIT_CHOICES)
    return jit == "on" or (jit == "auto" and bool(tf.config.list_physical_devices("GPU")))


def _gives_probabilities(model, outputs):
    check_choice("outputs", outputs, OUTPUTS)
    if outputs != "auto":
        return outputs == "probabilities"
    last = model.layers[-1] if getattr(model, "layers", None) else model
    while hasattr(last, "layers") and last.layers:
        last = last.layers[-1]
    made_by = last
    if getattr(model, "outputs", None):
        made_by = keras_internals.operation_behind(model.outputs[0])
    softmax = keras.activations.softmax
    named = {type(last).__name__, type(made_by).__name__}
    return getattr(last, "activation", None) is softmax or "Softmax" in named
