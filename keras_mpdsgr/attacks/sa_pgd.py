"""Stable adaptive projected gradient descent."""

import dataclasses
from typing import Any

import tensorflow as tf

from keras_mpdsgr.arguments import check_choice, check_integer
from keras_mpdsgr.attacks import ascent
from keras_mpdsgr.attacks.ball import per_image, project
from keras_mpdsgr.attacks.fields import outside, static
from keras_mpdsgr.attacks.iterative import GradientAttack

# Constants of arXiv 2512.22522.
_MOMENTUM = 0.5
_SECOND_MOMENTUM = 0.8
_TINY = 1e-12
_FIRST_CHECKPOINT = 0.22
_SHRINKING = 0.03
_SHORTEST = 0.06


@dataclasses.dataclass(frozen=True, repr=False)
class SAPGD(GradientAttack):
    """SA-PGD (arXiv 2512.22522): steps scaled by running moments of the gradient, clipped, halved.

    By default with the adaptive sharpness surrogate gradient of the same source (`"assg"`), the
    strongest gradient attack on spiking networks known here. Keeps the first image of each sample
    that succeeds, else the one of the highest loss.

    Args:
        eps: Radius of the L-infinity ball, in units of pixels scaled to [0, 1].
        steps: Number of gradient steps N, at least 1; 100 and more in the source.
        keep: `"first"`, which is what it does.
        loss, restarts, targeted: As of `GradientAttack`.
        gradient, surrogate, eot, jit: As of `Attack`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    steps: int = outside(100, check_integer, "gradient steps", least=1)
    _: dataclasses.KW_ONLY
    keep: str = static("first", check_choice, ("first",))
    gradient: Any = outside("assg")

    def begin(self, x, allowed, draws):
        image = self.start(x, allowed, draws)
        return {
            "image": image,
            **ascent.nothing_kept(image),
            "first_moment": tf.zeros_like(x),
            "second_moment": tf.zeros_like(x),
        }

    def schedule(self):
        return [(size,) for size in self.step_sizes()]

    def step_sizes(self):
        """The length of each step: eps at first, halved at checkpoints ever closer together."""
        n, size = self.steps, self.eps
        interval, since, sizes = max(int(_FIRST_CHECKPOINT * n), 1), 0, []
        shrinking, shortest = max(int(_SHRINKING * n), 1), max(int(_SHORTEST * n), 1)
        for _ in range(n):
            sizes.append(size)
            since += 1
            if since == interval:
                size, since = size / 2, 0
                interval = max(interval - shrinking, shortest)
        return sizes

    def iterate(self, target, state, allowed, y, step_size):
        image = state["image"]
        gradient, logits, values, mode = self.gradient_of(target, y)(image, state["mode"])
        following = self._remember(state, image, logits, values, y) | {"mode": mode}
        first = _MOMENTUM * state["first_moment"] + _over_mean(tf.abs(gradient), gradient)
        squared = tf.square(_over_mean(tf.abs(gradient), gradient))
        second = _SECOND_MOMENTUM * state["second_moment"] + _over_mean(squared, squared)
        offset = first / (tf.sqrt(second) + _TINY) * step_size
        image = project(image + tf.clip_by_value(offset, -step_size, step_size), allowed, self.norm)
        return following | {"image": image, "first_moment": first, "second_moment": second}

    def finish(self, target, state, y):
        # The last image too, which no gradient was taken at.
        logits = target.answers(state["image"])
        return self._remember(state, state["image"], logits, self.objective(logits, y), y)["kept"]

    def _remember(self, state, image, logits, values, y):
        following = self.keep_image(state, image, logits, values, y)
        # Where nothing has succeeded yet, the highest loss is kept.
        higher = ~following["broken"] & (values > state["best"])
        kept = tf.where(per_image(higher, image), image, following["kept"])
        return {**state, **following, "kept": kept}


def _over_mean(size, values):
    """Values over the mean size of one sample's pixels; zero where all are zero."""
    axes = list(range(1, len(values.shape)))
    return tf.math.divide_no_nan(values, tf.reduce_mean(size, axes, keepdims=True))
