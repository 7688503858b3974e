"""Random perturbations: noise as the paper adds it, and random search as a control."""

import dataclasses

import tensorflow as tf

from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.attacks.ball import ball, per_image
from keras_mpdsgr.attacks.fields import outside
from keras_mpdsgr.attacks.gradient_free import GradientFreeAttack
from keras_mpdsgr.inputs import check_radius


@dataclasses.dataclass(frozen=True, repr=False)
class GaussianNoise(GradientFreeAttack):
    """Gaussian noise on every pixel, clipped to valid pixels: no attack, and no threat model.

    Args:
        std: Standard deviation, in units of pixels scaled to [0, 1]. (The paper's N(0, 0.1) does
            not say whether 0.1 is the deviation; it is taken so here.)
        jit: As of `Attack`.
    """

    std: float = outside(0.1, check_radius)

    norm = "noise"

    def perturb(self, target, x, y, draws):
        return tf.clip_by_value(x + self.std * draws.normal(x.shape[1:]), 0.0, 1.0)


@dataclasses.dataclass(frozen=True, repr=False)
class UniformNoise(GradientFreeAttack):
    """Uniform noise on every pixel, clipped to valid pixels: no attack, and no threat model.

    Args:
        bound: Noise lies in [-bound, bound), in units of pixels scaled to [0, 1].
        jit: As of `Attack`.
    """

    bound: float = outside(0.1, check_radius)

    norm = "noise"

    def perturb(self, target, x, y, draws):
        return tf.clip_by_value(x + self.bound * draws.uniform(x.shape[1:]), 0.0, 1.0)


@dataclasses.dataclass(frozen=True, repr=False)
class RandomSigns(GradientFreeAttack):
    """Random search: perturbations of random sign and full length, until one misclassifies.

    The control of every gradient attack, which must do better at the same number of steps.

    Args:
        eps: Radius of the L-infinity ball, in units of pixels scaled to [0, 1].
        steps: Number of random perturbations tried.
        jit: As of `Attack`.
    """

    eps: float = outside(8 / 255, check_radius)
    steps: int = outside(50, check_integer, "perturbations tried", least=1)

    def passes(self):
        return [(None, self.steps)]

    def perturb(self, target, x, y, draws):
        bounds = ball(x, self.eps)
        kept, broken = x, tf.zeros(tf.shape(y), tf.bool)
        for _ in range(self.steps):
            signs = tf.sign(draws.uniform(x.shape[1:]))
            tried = tf.clip_by_value(x + self.eps * signs, *bounds)
            newly = target.call(self.breaks, tried, y) & ~broken
            kept = tf.where(per_image(newly, x), tried, kept)
            broken |= newly
            if bool(tf.reduce_all(broken)):
                break
        return kept
