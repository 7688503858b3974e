"""Auto-PGD: projected gradient descent that sets its own step size."""

import dataclasses

import tensorflow as tf

from keras_mpdsgr.arguments import check_choice, check_integer
from keras_mpdsgr.attacks import ascent
from keras_mpdsgr.attacks.ball import NORMS, direction, per_image, project, random_offset
from keras_mpdsgr.attacks.fields import outside, static
from keras_mpdsgr.attacks.iterative import GradientAttack

# Constants of Croce & Hein (2020).
_MOMENTUM = 0.75
_RHO = 0.75
_FIRST_STEP = 2.0
_FIRST_CHECKPOINT = 0.22
_SHRINKING = 0.03
_SHORTEST = 0.06


@dataclasses.dataclass(frozen=True, repr=False)
class APGD(GradientAttack):
    """Auto-PGD (Croce & Hein, 2020): momentum, and step sizes halved where the loss stops rising.

    At each checkpoint a sample whose loss rose in too few of the steps, or whose best loss did not
    improve, halves its step and continues from its best point. Keeps the first image that succeeds,
    else the one of the highest loss.

    Args:
        eps: Radius of the ball, in units of pixels scaled to [0, 1].
        steps: Number of gradient steps, at least 1.
        keep: `"first"`, which is what it does.
        norm: `"linf"` or `"l2"`.
        loss, restarts, targeted: As of `GradientAttack`.
        gradient, surrogate, eot, jit: As of `Attack`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    steps: int = outside(100, check_integer, "gradient steps", least=1)
    keep: str = static("first", check_choice, ("first",))
    _: dataclasses.KW_ONLY
    norm: str = static("linf", check_choice, NORMS)

    def passes(self):
        # The last image is looked at too.
        return [(self._backward(), (self.steps + 1) * self.restarts * self.eot)]

    def offset(self, x, draws):
        # On the border of the ball, not anywhere inside.
        offset = random_offset(draws, x, 1.0, self.norm)
        if self.norm == "linf":
            largest = tf.reduce_max(tf.abs(offset), axis=list(range(1, len(x.shape))))
        else:
            largest = tf.ones(tf.shape(x)[0])
        return self.eps * offset / per_image(largest, x)

    def begin(self, x, allowed, draws):
        image = self.start(x, allowed, draws)
        ones = tf.ones(tf.shape(x)[:1])
        lowest = -float("inf") * ones
        return {
            "image": image,
            "previous": image,
            "step_size": _FIRST_STEP * self.eps * ones,
            **ascent.nothing_kept(image),
            "best_image": image,
            "best_gradient": tf.zeros_like(x),
            "last_value": lowest,
            "rises": 0.0 * ones,
            "best_at_check": lowest,
            "reduced_at_check": ones > 0,
        }

    def schedule(self):
        momenta = [1.0] + [_MOMENTUM] * self.steps
        return list(zip(momenta, self.checkpoints(), strict=True))

    def finish(self, target, state, y):
        broken = per_image(state["broken"], state["image"])
        return tf.where(broken, state["kept"], state["best_image"])

    def checkpoints(self):
        """For each gradient: the steps since the last checkpoint if one is due there, else 0.

        One gradient more than steps: the last image is looked at too.
        """
        n = self.steps
        interval, since, due = max(int(_FIRST_CHECKPOINT * n), 1), 0, [0]
        for _ in range(n):
            since += 1
            reached = since == interval
            due.append(interval if reached else 0)
            if reached:
                shortest = max(int(_SHORTEST * n), 1)
                interval, since = max(interval - max(int(_SHRINKING * n), 1), shortest), 0
        return due

    def iterate(self, target, state, allowed, y, momentum, interval):
        image = state["image"]
        gradient, logits, value, mode = self.gradient_of(target, y)(image, state["mode"])
        state = self._remember(state, image, gradient, logits, value, y) | {"mode": mode}
        halve = self._halve(state, interval)
        due = interval > 0
        state["step_size"] = tf.where(halve, state["step_size"] / 2, state["step_size"])
        state["reduced_at_check"] = tf.where(due, halve, state["reduced_at_check"])
        state["best_at_check"] = tf.where(due, state["best"], state["best_at_check"])
        state["rises"] = tf.where(due, tf.zeros_like(value), state["rises"])
        back = per_image(halve, image)
        image = tf.where(back, state["best_image"], image)
        gradient = tf.where(back, state["best_gradient"], gradient)
        following = self._step(image, state["previous"], gradient, state, allowed, momentum)
        return state | {"image": following, "previous": image}

    def _step(self, image, previous, gradient, state, allowed, momentum):
        length = per_image(state["step_size"], image)
        ahead = project(image + length * direction(gradient, self.norm), allowed, self.norm)
        mixed = image + momentum * (ahead - image) + (1 - momentum) * (image - previous)
        return project(mixed, allowed, self.norm)

    def _halve(self, state, interval):
        due = interval > 0
        oscillates = state["rises"] <= _RHO * interval
        stuck = ~state["reduced_at_check"] & (state["best_at_check"] >= state["best"])
        return due & (oscillates | stuck)

    def _remember(self, state, image, gradient, logits, value, y):
        better = value > state["best"]
        rose = tf.cast(value > state["last_value"], value.dtype)
        first = tf.math.is_inf(state["last_value"])
        return {
            **state,
            **self.keep_image(state, image, logits, value, y),
            "best_image": tf.where(per_image(better, image), image, state["best_image"]),
            "best_gradient": tf.where(per_image(better, image), gradient, state["best_gradient"]),
            "rises": state["rises"] + tf.where(first, tf.zeros_like(rose), rose),
            "last_value": value,
        }
