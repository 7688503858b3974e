"""A model as an attack sees it: logits, input gradients, one compiled function for each step."""

import contextlib
import functools
import warnings

import numpy as np
import tensorflow as tf

from keras_mpdsgr import dynamics, keras_internals, surrogates
from keras_mpdsgr.arguments import check_choice, check_integer, check_model
from keras_mpdsgr.attacks import seeding
from keras_mpdsgr.attacks.compiled import CompiledFunctions, jit_compile
from keras_mpdsgr.attacks.gradients import image_gradient
from keras_mpdsgr.attacks.outputs import (
    LOGITS,
    OUTPUTS,
    PROBABILITIES,
    classes_of,
    fit,
    logits_of,
    seen_in,
    told_by_graph,
    without_activation,
)
from keras_mpdsgr.inputs import check_scores

_LOOKED_AT = 16


class Target:
    """A Keras classifier under attack.

    Args:
        model: A Keras model from pixels in [0, 1], `(batch, ...)`, to logits, probabilities or
            independent sigmoids, `(batch, classes)`. Always called in inference mode.
        gradient: The backward pass of its spiking neurons: a name of `dynamics.mode_names()` or a
            `GradientMode`.
        surrogate: Name or object of a surrogate that replaces the layers' own; None keeps them.
        eot: Number of forward passes whose gradients are averaged (expectation over
            transformation), for models that draw at random.
        outputs: `"logits"`, `"probabilities"` (a softmax), `"sigmoids"` (one for each class), or
            `"auto"`: by the last layers where these tell, else by the values (`look`).
        jit: XLA: `"on"` compiles each step of an attack, `"off"` nothing, and `"auto"` the step
            where there is a GPU, elsewhere the neurons alone (`dynamics.fused_neurons`).
        detach_reset, sharpness: Of the backward pass, as of `gradient_mode`.

    Attributes:
        gradient_calls: Number of input gradients computed so far, counted per image.
        padding: Rows of the batch in work that only fill it.
        classes: Number of classes; None where the model does not say.
        outputs: What the model's outputs are taken for: `"logits"`, `"probabilities"` or
            `"sigmoids"`.

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
        own = gradient == "bptt" and surrogate is None
        self._mode_spikes = not own or detach_reset not in ("auto", None)
        self._detach_reset, self._sharpness = detach_reset, sharpness
        dynamics.get_mode(gradient, self._surrogate, detach_reset, sharpness)
        self.classes = classes_of(model)
        told, head = told_by_graph(model)
        asked = None if check_choice("outputs", outputs, OUTPUTS) == "auto" else outputs
        self.outputs = asked or told or LOGITS
        self._is_asked, self._is_told = asked is not None, told is not None
        # Past a saturated activation no gradient comes; before it, logits are what they were.
        self._head = head if self.outputs == told else None
        self._jit = jit_compile(jit)
        # Where the whole step is compiled, its neurons are.
        self._fuse = not self._jit and jit != "off"

    def look(self, x, check=False):
        """Tells what the model's outputs are by its answers to images, where nothing else tells.

        Args:
            x: Images, `(n, ...)`, clean ones; of the first it is seen.
            check: Whether to look also where `outputs` or the last layers tell.

        Raises:
            ValueError: If they cannot be what they are said to be.
        """
        if (self._is_asked or self._is_told) and not check:
            return
        outputs = check_scores(self.model(tf.constant(x[:_LOOKED_AT]), training=False))
        if not np.isfinite(outputs).all():
            raise ValueError("`model` gives outputs that are not finite (NaN or infinite).")
        if fit(outputs, self.outputs) and (self._is_asked or self._is_told):
            return
        seen = seen_in(outputs)
        if self._is_asked:
            raise ValueError(
                f"`outputs` must be what the model gives. Received: {self.outputs!r}, but on the "
                f"clean images the outputs look like {seen}."
            )
        if seen != LOGITS:
            warnings.warn(
                f"The model's outputs are taken for {seen}, by their values on the clean images. "
                f"Say outputs={seen!r} if so, else what they are: {', '.join(OUTPUTS[1:])}.",
                stacklevel=2,
            )
        self.outputs, self._head = seen, None

    def beside(self, attack):
        """The same model, with the same outputs, as another attack sees it, a `Target`."""
        return attack.target(self.model, self.outputs)

    def logits(self, x):
        """Logits in float32; those that stand for probabilities or sigmoids, if it gives these."""
        if self._head is not None:
            with without_activation(self._head):
                outputs = check_scores(self.model(x, training=False))
            return tf.cast(outputs, tf.float32)
        return logits_of(check_scores(self.model(x, training=False)), self.outputs)

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

    def mean_logits(self, x):
        """As `logits`, the mean over `eot` draws: one lucky draw must not count as success."""
        return tf.add_n([self.logits(x) for _ in range(self.eot)]) / self.eot

    def count(self, samples):
        """Counts the gradients of one step for a number of samples, without padding."""
        self.gradient_calls += int(samples) * self.eot

    def counting(self, own, runs):
        """Yields what runs on another `Target` yield; its gradients are counted here too."""
        known = own.gradient_calls
        for done in runs:
            self.gradient_calls += own.gradient_calls - known
            known = own.gradient_calls
            yield done
        self.gradient_calls += own.gradient_calls - known

    @property
    def probabilities(self):
        """Whether the model's outputs are taken for probabilities."""
        return self.outputs == PROBABILITIES

    @property
    def draws_at_random(self):
        """Whether the model holds seeds to draw by (it may use them in training alone)."""
        return bool(keras_internals.seed_generators(self.model))

    def call(self, step, *arguments, look=True):
        """Runs a step of an attack, a method `step(target, *arguments)`, as a compiled function.

        In the step the attack holds its numbers (radius, step size, ...) as scalar tensors, so that
        other values compile nothing; a surrogate's numbers likewise. Another model, attack class,
        static field, backward pass or batch shape compiles another function.

        Args:
            step: A bound method, such as `self.iterate`.
            *arguments: Nested structures of tensors.
            look: As of `CompiledFunctions.call`.
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
            self._fuse, self.outputs,
        )  # fmt: skip
        return self._functions.call(
            key,
            functools.partial(self._traced, function, attack),
            tf.nest.map_structure(lambda number: tf.constant(number, tf.float32), numbers),
            *arguments,
            jit_compile=self._jit,
            look=look,
        )

    def _traced(self, function, attack, numbers, *arguments):
        surrogate = self._surrogate
        if surrogate is not None:
            surrogate = surrogate.with_numbers(numbers["surrogate"])
        mode_scope = dynamics.gradient_mode(
            self._gradient, surrogate, self._detach_reset, **numbers["mode"]
        )
        with self._fused(), mode_scope as mode:
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
        return self._functions.call(self._predicting(1), self._predicted, tf.constant(x)).numpy()

    def answers(self, x):
        """As `mean_logits`, outside compiled steps: by the function of `predict` where `eot` is 1.

        What looks at logits alone need not be compiled for each attack and backward pass.
        """
        function = self._predicted if self.eot == 1 else self._mean_predicted
        return self._functions.call(self._predicting(self.eot), function, x)

    def _predicting(self, eot):
        return "predict", self.outputs, self._fuse, eot

    def _predicted(self, x):
        with self._fused():
            return self.logits(x)

    def _mean_predicted(self, x):
        with self._fused():
            return self.mean_logits(x)

    @contextlib.contextmanager
    def _fused(self):
        kept = dynamics.neurons_kept_in(self._functions.neurons)
        with kept, dynamics.fused_neurons(self._fuse):
            yield

    def seeded(self, seed, part, judged=None):
        """A scope in which the model draws by a seed; as of `seeding.seeded`."""
        return seeding.seeded(self.model, seed, part, judged)

    @property
    def _functions(self):
        return CompiledFunctions.of(self.model)


def has_spiking_neurons(model, x):
    """Whether a model has neurons that a `GradientMode` is a backward pass of.

    Args:
        model: A Keras model.
        x: Images, `(n, ...)`, of which the first is shown to it.
    """
    with dynamics.gradient_mode("bptt") as mode:
        model(tf.constant(x[:1]), training=False)
    return mode.calls > 0
