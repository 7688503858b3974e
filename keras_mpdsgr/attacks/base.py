"""What all attacks share: checked fields, checked input, chunks, seeds per sample."""

import abc
import dataclasses
import inspect
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mpdsgr import dynamics, surrogates
from keras_mpdsgr.arguments import check_choice, check_integer
from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.cohort import filled_batches, rows_of
from keras_mpdsgr.attacks.compiled import JIT_CHOICES
from keras_mpdsgr.attacks.draws import SampleDraws
from keras_mpdsgr.attacks.fields import (
    FIXED,
    OUTSIDE,
    STATIC,
    TENSOR,
    checked,
    mark,
    outside,
    static,
)
from keras_mpdsgr.attacks.target import Target, has_spiking_neurons
from keras_mpdsgr.inputs import check_attacked, check_fits


@dataclasses.dataclass(frozen=True, repr=False)
class Attack(abc.ABC):
    """Base of all attacks: a frozen dataclass of hyper-parameters that is called on a model.

    A subclass adds fields and defines `perturb` (or `attack_all`). What it runs through
    `Target.call` is compiled; how a field gets there is the field's mark (`attacks.fields`):
    `static`, as it is without one, `tensor` or `outside`.

    Args:
        gradient: Backward pass of spiking neurons: `"bptt"`, `"bptr"`, ... (`gradient_mode`).
        surrogate: Name or object of a surrogate to attack with; None for the model's own.
        detach_reset: Whether the backward pass is kept out of the neurons' reset; None as they
            train; `"auto"` as the backward pass was published (`gradient_mode`).
        sharpness: Constant A of `gradient="assg"`, positive; None for the published one.
        eot: Number of draws that a gradient is averaged over, for models random at inference.
        jit: XLA: `"auto"` (on a GPU), `"on"` or `"off"`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    _: dataclasses.KW_ONLY
    gradient: Any = outside("bptt")
    surrogate: Any = outside(None)
    detach_reset: Any = outside("auto")
    sharpness: float | None = outside(None)
    eot: int = static(1, check_integer, "draws that a gradient is averaged over", least=1)
    jit: str = outside("auto", check_choice, JIT_CHOICES)

    norm = "linf"
    targeted = False

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.init:
                self._set(field.name, checked(field, getattr(self, field.name)))
        surrogate = None if self.surrogate is None else surrogates.get(self.surrogate)
        dynamics.get_mode(self.gradient, surrogate, self.detach_reset, self.sharpness)

    def _set(self, name, value):
        object.__setattr__(self, name, value)  # the way of a frozen dataclass' own __init__

    def replace(self, **changes):
        """The same attack with other arguments, which are checked like those of a new one."""
        return type(self)(**{**self.get_config(), **changes})

    def __call__(self, model, x, y, seed=0, batch_size=100, indices=None, outputs="auto"):
        """Attacks a model.

        Args:
            model: A Keras classifier of pixels in [0, 1].
            x: Images, `(n, ...)`, floating point in [0, 1].
            y: True labels, `(n,)`, integers.
            seed: Of all that is random. A sample's draws depend on it and on the sample alone, not
                on the batch it is in.
            batch_size: Images attacked at a time.
            indices: `(n,)`, the samples' numbers that their random draws go by; by default 0..n-1.
            outputs: What the model gives, as of `Target`.

        Returns:
            The adversarial images, a float32 array in the shape of `x`.

        Raises:
            ValueError: If images or labels are not what is said above, the model is stateful, or a
                backward pass is asked for that needs spiking layers and the model has none.
        """
        return self.run(self.target(model, outputs), x, y, seed, batch_size, indices)

    def target(self, model, outputs="auto"):
        """The model as this attack sees it, a `Target`."""
        return Target(model, **self._backward(), eot=self.eot, outputs=outputs, jit=self.jit)

    def run(self, target, x, y, seed=0, batch_size=100, indices=None, stream=()):
        """As calling the attack, on a `Target`, which counts gradients; `stream` as of `chunks`."""
        x, y = check_attacked(x, y)
        adversarial = np.empty_like(x)
        batch_size = min(check_integer("batch_size", batch_size, "images", least=1), len(x))
        for chosen, found in self.chunks(target, x, y, seed, batch_size, indices, stream):
            adversarial[chosen] = found
        return adversarial

    def chunks(self, target, x, y, seed=0, batch_size=100, indices=None, stream=()):
        """Attacks batch by batch: yields samples' positions and their images, as they are done.

        Args:
            target: The `Target`.
            x, y, seed, batch_size, indices: As of calling the attack.
            stream: Names, a tuple, that tell the draws apart from those of another attack.
        """
        check_integer("seed", seed, least=0)
        check_fits(target.model, x, y)
        target.look(x)
        indices = np.arange(len(x)) if indices is None else np.asarray(indices)
        if indices.shape != (len(x),) or indices.dtype.kind not in "iu":
            raise ValueError(
                f"`indices` must hold one whole number for each of the {len(x)} images. "
                f"Received: shape={indices.shape}, dtype={indices.dtype}."
            )
        draws = SampleDraws(seed, indices, stream)
        for rows, images in self.attack_all(target, x, y, draws, batch_size):
            if len(rows):
                yield rows, images

    def attack_all(self, target, x, y, draws, batch_size):
        """Attacks any number of images: yields rows and their adversarial images, once done.

        Here by `perturb`, batch by batch; a batch is filled up to one of few sizes.

        Args:
            target: The `Target`.
            x: Images, `(n, ...)`, a float32 array.
            y: Labels, `(n,)`, an int32 array.
            draws: `SampleDraws` of these samples.
            batch_size: Images attacked at a time, at most.
        """
        for rows, filled in filled_batches(len(x), batch_size):
            target.padding = len(filled) - len(rows)
            with target.seeded(draws.seed, draws.indices[rows[0]]):
                images, labels = tf.nest.map_structure(tf.constant, rows_of((x, y), filled))
                found = self.perturb(target, images, labels, draws.take(filled))
            yield rows, np.asarray(found)[: len(rows)]

    def perturb(self, target, x, y, draws):
        """Adversarial images of one batch, unless `attack_all` is overridden.

        Args:
            target: The `Target`.
            x: Images, `(batch, ...)`, a float32 tensor.
            y: Labels, `(batch,)`, an int32 tensor; of a targeted attack the classes to reach, or a
                `losses.Goal` of both.
            draws: Source of random numbers, one stream a sample.

        Returns:
            Tensor in the shape of `x`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `perturb` or `attack_all`.")

    def judge(self, target, x, y, draws, batch_size):
        """Whether each of any number of images succeeds, and its margin: two arrays `(n,)`."""
        reached, margin = np.zeros(len(x), bool), np.zeros(len(x), np.float32)
        for rows, filled in filled_batches(len(x), batch_size):
            images, labels = tf.nest.map_structure(tf.constant, rows_of((x, y), filled))
            # What a random model drew for the attack is not a second opinion.
            with target.seeded(draws.seed, draws.indices[rows[0]], judged=_OF_ATTACKS):
                found = target.call(self.judged, images, labels)
            reached[rows], margin[rows] = (values.numpy()[: len(rows)] for values in found)
        return reached, margin

    def passes(self):
        """What a run asks of the model for one image, at most.

        Returns:
            A list of pairs: the backward pass, as arguments of an attack (`gradient`, `surrogate`,
            `detach_reset`, `sharpness`), or None for a forward pass alone, and how often. Empty
            where the attack asks nothing.
        """
        return []

    @property
    def needs_spikes(self):
        """Whether its backward pass is one of spiking neurons."""
        own = self.gradient == "bptt" and self.surrogate is None
        return not own or self.detach_reset not in ("auto", None)

    def refusal(self, model, x):
        """Why it does not apply to a model and images, one sentence; None if it does.

        An evaluation asks before the first attack runs. A subclass says what it needs.

        Args:
            model: A Keras model.
            x: Images, `(n, ...)`.
        """
        if self.needs_spikes and not has_spiking_neurons(model, x):
            return "its backward pass needs spiking neurons."
        return None

    def _backward(self):
        names = ("gradient", "surrogate", "detach_reset", "sharpness")
        return {name: getattr(self, name) for name in names}

    def succeeded(self, logits, y):
        """Whether each sample is where the attack wants it, `(batch,)`, boolean."""
        if isinstance(y, losses.Goal):
            return ~losses.correct(logits, y.label)
        right = losses.correct(logits, y)
        return right if self.targeted else ~right

    def breaks(self, target, x, y):
        """As `succeeded`, of images; a step for `Target.call`."""
        return self.succeeded(target.logits(x), y)

    def wrong_classes(self, target, x, y):
        """All classes but the label, the likeliest first; a step for `Target.call`."""
        return losses.wrong_classes(target.logits(x), y)

    def judged(self, target, x, y):
        """As `judge`, of one batch of tensors; a step for `Target.call`."""
        logits = target.logits(x)
        label = y.label if isinstance(y, losses.Goal) else y
        return self.succeeded(logits, y), losses.margin(logits, label)

    def numbers(self):
        """The values that a compiled step is given as tensors, by name."""
        return {name: value for name, value in vars(self).items() if self._mark(name) == TENSOR}

    def static_key(self):
        """The values that a step is compiled for.

        Raises:
            TypeError: If one is not hashable.
        """
        key = tuple((k, value) for k, value in vars(self).items() if self._mark(k) == STATIC)
        hash(key)
        return key

    def in_step(self, tensors):
        """This attack as a compiled step sees it.

        Args:
            tensors: Dictionary from the names of `numbers()` to scalar tensors.
        """
        seen = object.__new__(type(self))
        for name, value in vars(self).items():
            seen._set(name, _NOT_HERE if self._mark(name) == OUTSIDE else tensors.get(name, value))
        return seen

    def __getattribute__(self, name):
        value = super().__getattribute__(name)
        if value is _NOT_HERE:
            raise AttributeError(
                f"Field `{name}` is marked as outside of compiled steps, where another value would "
                "go unnoticed. Mark it `tensor` or `static`, or give it to the step as an argument."
            )
        return value

    @classmethod
    def _mark(cls, name):
        field = cls.__dataclass_fields__.get(name)
        return STATIC if field is None else mark(field)

    def get_config(self):
        """The arguments of this attack, by name."""
        names = self.argument_names()
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    @classmethod
    def argument_names(cls):
        """The names of the arguments that the class takes, sorted."""
        names: set[str] = set()
        for kind in cls.__mro__:
            taken = inspect.signature(kind).parameters
            names.update(taken)
            if all(parameter.kind != parameter.VAR_KEYWORD for parameter in taken.values()):
                break  # no others go on to the classes that it extends
        return sorted(name for name in names - {"options"} if cls._mark(name) != FIXED)

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


# The number of the forward pass by which attacks judge; an evaluation's votes have small ones.
_OF_ATTACKS = 2**20
# In place of a field's value, where it must not be read.
_NOT_HERE = object()
