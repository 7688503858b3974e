"""The fast gradient sign method."""

import dataclasses

from keras_mpdsgr.attacks import ascent, losses
from keras_mpdsgr.attacks.ball import ball
from keras_mpdsgr.attacks.base import Attack
from keras_mpdsgr.attacks.fields import tensor
from keras_mpdsgr.inputs import check_radius


@dataclasses.dataclass(frozen=True, repr=False)
class FGSM(Attack):
    """Fast gradient sign method (Goodfellow et al., 2014): one step of length eps along the sign.

    Args:
        eps: Radius of the ball, in units of pixels scaled to [0, 1].
        gradient, surrogate, eot, jit: As of `Attack`.

    Example:

    >>> import numpy as np
    >>> from keras_mpdsgr import models
    >>> model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02)
    >>> x, y = np.full((4, 8, 8, 1), 0.5, "float32"), np.zeros(4, int)
    >>> bool(abs(FGSM(eps=2 / 255)(model, x, y) - x).max() <= 2 / 255)
    True
    """

    eps: float = tensor(8 / 255, check_radius)

    def passes(self):
        return [(self._backward(), self.eot)]

    def perturb(self, target, x, y, draws):
        target.count(len(y) - target.padding)
        allowed = ball(x, self.eps)
        return target.call(self.iterate, {"image": x, "mode": ()}, allowed, y)["image"]

    def iterate(self, target, state, allowed, y):
        return ascent.advance(
            state,
            allowed,
            lambda image, mode: target.input_gradient(image, y, losses.cross_entropy, mode),
            lambda image, gradient: ascent.steepest(image, gradient, self.eps),
        )
