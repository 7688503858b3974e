"""The fast gradient sign method."""

import tensorflow as tf

from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.ball import ball
from keras_mpdsgr.attacks.base import Attack
from keras_mpdsgr.inputs import check_radius


class FGSM(Attack):
    """Fast gradient sign method (Goodfellow et al., 2014): one step of length eps along the sign.

    Args:
        eps: Radius of the ball, in units of pixels scaled to [0, 1].
        **options: `gradient`, `surrogate`, `eot`, `jit`, as of `Attack`.

    Example:

    >>> import numpy as np
    >>> from keras_mpdsgr import models
    >>> model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02)
    >>> x, y = np.full((4, 8, 8, 1), 0.5, "float32"), np.zeros(4, int)
    >>> bool(abs(FGSM(eps=2 / 255)(model, x, y) - x).max() <= 2 / 255)
    True
    """

    tensor_arguments = ("eps",)

    def __init__(self, eps=8 / 255, **options):
        super().__init__(**options)
        self.eps = check_radius("eps", eps)

    def passes(self):
        return [(self._backward(), self.eot)]

    def perturb(self, target, x, y, draws):
        target.gradient_calls += int(y.shape[0]) * target.eot
        return tf.clip_by_value(target.call(self, "step", x, y), *ball(x, self.eps))

    def step(self, target, x, y):
        gradient, *_ = target.input_gradient(x, y, losses.cross_entropy)
        return x + self.eps * tf.sign(gradient)
