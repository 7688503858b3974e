"""Attacks that follow a gradient step by step inside a ball around the image."""

import abc
import dataclasses
import functools
import math

import numpy as np
import tensorflow as tf

from keras_mpdsgr import dynamics
from keras_mpdsgr.arguments import check_choice, check_flag, check_integer
from keras_mpdsgr.attacks import ascent, losses
from keras_mpdsgr.attacks.ball import NORMS, per_image, random_offset, region
from keras_mpdsgr.attacks.base import Attack
from keras_mpdsgr.attacks.cohort import BATCHES, Cohort, in_groups, rows_of
from keras_mpdsgr.attacks.fields import outside, static, tensor
from keras_mpdsgr.inputs import check_radius

KEEPS = ("last", "first")


@dataclasses.dataclass(frozen=True, repr=False)
class GradientAttack(Attack):
    """Base of the attacks that take gradient steps of any kind inside a ball.

    A subclass defines what one run is: `begin`, `schedule`, `iterate` and `finish`. Samples that
    are broken leave the run, unless it keeps the last image or averages over draws.

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

    def attack_all(self, target, x, y, draws, batch_size):
        # A subclass may attack a batch in a way of its own.
        if type(self).perturb is not GradientAttack.perturb:
            yield from super().attack_all(target, x, y, draws, batch_size)
            return

        def run(rows):
            own = x[rows], rows_of(y, rows), draws.take(rows)
            yield from self._runs(target, *own, batch_size)

        size = batch_size * (1 if self.eot > 1 or target.draws_at_random else BATCHES)
        yield from in_groups(target, draws, len(x), size, run)

    def perturb(self, target, x, y, draws):
        rows = np.arange(len(x) - target.padding)
        images, labels = x.numpy(), tf.nest.map_structure(lambda each: each.numpy(), y)
        own = images[rows], rows_of(labels, rows), draws.take(rows)
        for done, found in self._runs(target, *own, batch_size=len(rows)):
            images[done] = found
        return tf.constant(images)

    def _runs(self, target, x, y, draws, batch_size):
        """All runs on one group of samples."""
        left = np.arange(len(x))
        for _ in range(self.restarts - 1):
            unbroken = []
            own = x[left], rows_of(y, left), draws.take(left)
            for rows, images in self.ascend(target, *own, batch_size):
                rows = left[rows]
                judged = images, rows_of(y, rows), draws.take(rows)
                broken, _ = self.judge(target, *judged, batch_size)
                yield rows[broken], images[broken]
                unbroken.append(rows[~broken])
            left = np.sort(np.concatenate(unbroken))
            if not len(left):
                return
        own = x[left], rows_of(y, left), draws.take(left)
        for rows, images in self.ascend(target, *own, batch_size):
            yield left[rows], images

    def ascend(self, target, x, y, draws, batch_size):
        """One run from one start: yields rows and their images, of those that are broken first."""
        states = []
        for begin in range(0, len(x), batch_size):
            rows = np.arange(begin, min(begin + batch_size, len(x)))
            image, labels = tf.nest.map_structure(tf.constant, rows_of((x, y), rows))
            allowed = region(image, self.eps, self.norm)
            state = self.begin(image, allowed, draws.take(rows))
            state["mode"] = ()
            states.append((state, allowed, labels))
        cohort = Cohort(states, batch_size)
        mode = dynamics.get_mode(self.gradient)
        leaves = self.keep == "first" and self.eot == 1 and not mode.depends_on_batch
        look = True
        for numbers in self.schedule():
            numbers = [tf.constant(number, tf.float32) for number in numbers]
            cohort.apply(functools.partial(self._advance, target, numbers, look))
            look = False
            if leaves:
                for rows, (state, *_) in cohort.leave(lambda each: each[0]["broken"]):
                    yield rows, state["kept"].numpy()
                    look = True  # whoever took these may have changed the model
        for rows, (state, _, labels) in cohort.batches:
            yield rows, self.finish(target, state, labels).numpy()[: len(rows)]

    def _advance(self, target, numbers, look, state, samples):
        state, allowed, y = state
        target.count(samples)
        state = target.call(self.iterate, state, allowed, y, *numbers, look=look)
        return state, allowed, y

    @abc.abstractmethod
    def begin(self, x, allowed, draws):
        """The state at the start: a dictionary of tensors with one row a sample.

        `"mode"` is added, what the backward pass carries from step to step.

        Args:
            x: Images, `(batch, ...)`, a float32 tensor.
            allowed: The `ball.region` they stay in.
            draws: Source of random numbers, one stream a sample.
        """

    @abc.abstractmethod
    def schedule(self):
        """For each step the numbers that `iterate` is given, a tuple."""

    @abc.abstractmethod
    def iterate(self, target, state, allowed, y, *numbers):
        """One step, a pure function of tensors that is compiled: the following state."""

    @abc.abstractmethod
    def finish(self, target, state, y):
        """The images that a state after the last step stands for."""

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

    def begin(self, x, allowed, draws):
        image = self.start(x, allowed, draws)
        kept = ascent.nothing_kept(image) if self.keep == "first" else {}
        return {"image": image, **kept}

    def schedule(self):
        return [()] * self.steps

    def finish(self, target, state, y):
        if self.keep == "last":
            return state["image"]
        known = state["broken"] | (self.eot > 1)
        return tf.where(per_image(known, state["image"]), state["kept"], state["image"])

    def iterate(self, target, state, allowed, y):
        keep = functools.partial(self.keep_image, y=y) if self.keep == "first" else None
        gradient_at = self.gradient_of(target, y)
        return ascent.advance(state, allowed, gradient_at, self.step, self.norm, keep)

    def step(self, x, gradient):
        """The next image, before projection."""
        return ascent.steepest(x, gradient, self.step_size, self.norm)
