"""Attacks that follow a gradient step by step inside a ball around the image."""

import tensorflow as tf

from keras_mpdsgr.arguments import check_choice, check_flag, check_integer
from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.ball import NORMS, direction, per_image, project, random_offset, region
from keras_mpdsgr.attacks.base import Attack
from keras_mpdsgr.inputs import check_radius

KEEPS = ("last", "first")


class IterativeAttack(Attack):
    """Base of the iterative gradient attacks: `steps` steps of `step_size`, projected each time.

    A subclass says how it starts (`random_start`), how it steps (`step`), and which images it can
    keep (`keeps`).

    Args:
        eps: Radius of the ball, in units of pixels scaled to [0, 1]; for `norm="l2"` any length.
        steps: Number of gradient steps, at least 1.
        step_size: Length of one step, same unit as `eps`.
        keep: `"last"` for the last image, `"first"` for the first that succeeds (and the last where
            none does). The loss of a spiking network is rugged, so `"first"` is stronger. With
            `eot` above 1, where one success is luck, it keeps the image of the highest mean loss.
        norm: `"linf"` or `"l2"`.
        loss: `"cross_entropy"`, `"dlr"` or `"margin"`, which the attack raises.
        restarts: Runs from different starts; the first success of each sample counts.
        targeted: Whether `y` holds the classes to reach, not those to leave.
        **options: `gradient`, `surrogate`, `eot`, `jit`, as of `Attack`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    random_start = True
    keeps: tuple[str, ...] = KEEPS
    tensor_arguments: tuple[str, ...] = ("step_size",)
    outside_the_step: tuple[str, ...] = ("eps", "steps", "restarts")

    def __init__(
        self,
        eps=8 / 255,
        steps=7,
        step_size=0.01,
        keep="last",
        norm="linf",
        loss="cross_entropy",
        restarts=1,
        targeted=False,
        **options,
    ):
        super().__init__(**options)
        self.norm = check_choice("norm", norm, NORMS)
        most = 1.0 if norm == "linf" else float("inf")
        self.eps = check_radius("eps", eps, most)
        self.steps = check_integer("steps", steps, "gradient steps", least=1)
        self.step_size = check_radius("step_size", step_size, most)
        self.keep = check_choice("keep", keep, self.keeps)
        self.loss = check_choice("loss", loss, tuple(losses.LOSSES))
        self.restarts = check_integer("restarts", restarts, "runs from different starts", least=1)
        self.targeted = check_flag("targeted", targeted)

    def passes(self):
        return [(self._backward(), self.steps * self.restarts * self.eot)]

    def perturb(self, target, x, y, draws):
        allowed = region(x, self.eps, self.norm)
        found = self.descend(target, x, y, allowed, draws)
        for _ in range(self.restarts - 1):
            broken = target.call(self, "breaks", found, y)
            again = self.descend(target, x, y, allowed, draws)
            found = tf.where(per_image(broken, x), found, again)
        return found

    def descend(self, target, x, y, allowed, draws):
        """One run from one start."""
        state = {"image": self.start(x, allowed, draws), "mode": ()}
        if self.keep == "first":
            state |= self.nothing_kept(state["image"], y)
        for _ in range(self.steps):
            state = target.call(self, "iterate", state, allowed, y)
            self.count_gradients(target, y)
        if self.keep == "last":
            return state["image"]
        known = state["broken"] | (self.eot > 1)
        return tf.where(per_image(known, x), state["kept"], state["image"])

    def start(self, x, allowed, draws):
        """The image that the first gradient is taken at."""
        if not self.random_start:
            return x
        return project(x + random_offset(draws, x, self.eps, self.norm), allowed, self.norm)

    def iterate(self, target, state, allowed, y, *schedule):
        image = state["image"]
        gradient, logits, values, mode = target.input_gradient(
            image, y, self.objective, state["mode"]
        )
        following = {**state, "mode": mode}
        if self.keep == "first":
            following |= self.keep_image(state, image, logits, values, y)
        following["image"] = project(self.step(image, gradient), allowed, self.norm)
        return following

    def nothing_kept(self, image, y):
        """The part of the state that remembers images, at the start."""
        return {
            "kept": image,
            "broken": tf.zeros(tf.shape(y), tf.bool),
            "best": tf.fill(tf.shape(y), -float("inf")),
        }

    def keep_image(self, state, image, logits, values, y):
        """The same part after one more look: the first success, or the highest mean loss."""
        reached = self.succeeded(logits, y)
        better = values > state["best"]
        kept = better if self.eot > 1 else reached & ~state["broken"]
        return {
            "kept": tf.where(per_image(kept, image), image, state["kept"]),
            "broken": state["broken"] | reached,
            "best": tf.where(better, values, state["best"]),
        }

    def is_over(self, state):
        """Whether every sample has what it will keep."""
        traced = tf.inside_function()
        return not traced and self.eot == 1 and bool(tf.reduce_all(state["broken"]))

    def step(self, x, gradient):
        """The next image, before projection."""
        return x + self.step_size * direction(gradient, self.norm)

    def objective(self, logits, y):
        """What the attack raises, one value a sample."""
        value = losses.LOSSES[self.loss](logits, y)
        return -value if self.targeted else value

    def succeeded(self, logits, y):
        """Whether each sample is where the attack wants it."""
        right = losses.correct(logits, y)
        return right if self.targeted else ~right

    def breaks(self, target, x, y):
        return self.succeeded(target.logits(x), y)

    def count_gradients(self, target, y):
        target.gradient_calls += int(y.shape[0]) * target.eot
