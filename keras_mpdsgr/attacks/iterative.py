"""Attacks that follow a gradient step by step inside a ball around the image."""

import dataclasses
import functools
import math

import tensorflow as tf

from keras_mpdsgr.arguments import check_choice, check_flag, check_integer
from keras_mpdsgr.attacks import ascent, losses
from keras_mpdsgr.attacks.ball import NORMS, per_image, random_offset, region
from keras_mpdsgr.attacks.base import Attack
from keras_mpdsgr.attacks.fields import outside, static, tensor
from keras_mpdsgr.inputs import check_radius

KEEPS = ("last", "first")


@dataclasses.dataclass(frozen=True, repr=False)
class GradientAttack(Attack):
    """Base of the attacks that take gradient steps of any kind inside a ball.

    A subclass defines `descend`, one run from one start.

    Args:
        eps: Radius of the ball, in units of pixels scaled to [0, 1]; for `norm="l2"` any length.
        steps: Number of gradient steps, at least 1.
        keep: `"last"` for the last image, `"first"` for the first that succeeds (and the last where
            none does). The loss of a spiking network is rugged, so `"first"` is stronger. With
            `eot` above 1, where one success is luck, it keeps the image of the highest mean loss.
        loss: `"cross_entropy"`, `"dlr"` or `"margin"`, which the attack raises. `"dlr"` is the
            margin with 2 classes, and with 3 where it is targeted.
        restarts: Runs from different starts; the first success of each sample counts.
        targeted: Whether `y` holds the classes to reach, not those to leave.
        gradient, surrogate, eot, jit: As of `Attack`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    eps: float = outside(8 / 255)
    steps: int = outside(7, check_integer, "gradient steps", least=1)
    _: dataclasses.KW_ONLY
    keep: str = static("last", check_choice, KEEPS)
    loss: str = static("cross_entropy", check_choice, tuple(losses.LOSSES))
    restarts: int = outside(1, check_integer, "runs from different starts", least=1)
    targeted: bool = static(False, check_flag)

    random_start = True

    def __post_init__(self):
        super().__post_init__()
        self._check_length("eps")

    def _check_length(self, name):
        most = 1.0 if self.norm == "linf" else math.inf
        self._set(name, check_radius(name, getattr(self, name), most))

    def passes(self):
        return [(self._backward(), self.steps * self.restarts * self.eot)]

    def perturb(self, target, x, y, draws):
        allowed = region(x, self.eps, self.norm)
        found = self.descend(target, x, y, allowed, draws)
        for _ in range(self.restarts - 1):
            broken = target.call(self.breaks, found, y)
            again = self.descend(target, x, y, allowed, draws)
            found = tf.where(per_image(broken, x), found, again)
        return found

    def start(self, x, allowed, draws):
        """The image that the first gradient is taken at."""
        offset = self.offset(x, draws) if self.random_start else None
        return ascent.start(x, allowed, self.norm, offset)

    def offset(self, x, draws):
        """What a random start moves the images by, in the shape of `x`."""
        return random_offset(draws, x, self.eps, self.norm)

    def gradient_of(self, target, y):
        """The gradient of `objective`, as a function of an image and a mode's state."""
        return lambda image, mode: target.input_gradient(image, y, self.objective, mode)

    def keep_image(self, state, image, logits, values, y):
        """What `ascent.keep` remembers: the first success, or the highest mean loss."""
        reached = self.succeeded(logits, y)
        return ascent.keep(state, image, reached, values, highest=self.eot > 1)

    def is_over(self, state):
        """Whether every sample has what it will keep."""
        traced = tf.inside_function()
        return not traced and self.eot == 1 and bool(tf.reduce_all(state["broken"]))

    def objective(self, logits, y):
        """What the attack raises, one value a sample."""
        kinds = losses.TARGETED_LOSSES if self.targeted else losses.LOSSES
        return kinds[self.loss](logits, y)


@dataclasses.dataclass(frozen=True, repr=False)
class IterativeAttack(GradientAttack):
    """Base of projected gradient ascent: `steps` steps of `step_size`, projected each time.

    A subclass says how it starts (`random_start`) and how it steps (`step`).

    Args:
        eps, steps, keep, loss, restarts, targeted: As of `GradientAttack`.
        step_size: Length of one step, same unit as `eps`.
        norm: `"linf"` or `"l2"`.
        gradient, surrogate, eot, jit: As of `Attack`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    step_size: float = tensor(0.01)
    _: dataclasses.KW_ONLY
    norm: str = static("linf", check_choice, NORMS)

    def __post_init__(self):
        super().__post_init__()
        self._check_length("step_size")

    def descend(self, target, x, y, allowed, draws):
        image = self.start(x, allowed, draws)
        state = {"image": image, "mode": ()}
        if self.keep == "first":
            state |= ascent.nothing_kept(image)
        for _ in range(self.steps):
            state = target.call(self.iterate, state, allowed, y)
            target.count(y)
        if self.keep == "last":
            return state["image"]
        known = state["broken"] | (self.eot > 1)
        return tf.where(per_image(known, x), state["kept"], state["image"])

    def iterate(self, target, state, allowed, y):
        keep = functools.partial(self.keep_image, y=y) if self.keep == "first" else None
        gradient_at = self.gradient_of(target, y)
        return ascent.advance(state, allowed, gradient_at, self.step, self.norm, keep)

    def step(self, x, gradient):
        """The next image, before projection."""
        return ascent.steepest(x, gradient, self.step_size, self.norm)
