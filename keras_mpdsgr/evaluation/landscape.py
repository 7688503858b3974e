"""Input gradients, and how the loss rises along them and along random directions."""

import dataclasses

import numpy as np
import tensorflow as tf

from keras_mpdsgr import attacks
from keras_mpdsgr.attacks.losses import cross_entropy

_DIRECTIONS = 8


@dataclasses.dataclass(frozen=True)
class GradientProbe(attacks.Attack):
    """Returns the input gradient itself, in chunks, with the attacks' own machinery."""

    def perturb(self, target, x, y, draws):
        return target.call(self.gradient_at, x, y)

    def gradient_at(self, target, x, y):
        gradient, *_ = target.input_gradient(x, y, cross_entropy)
        return tf.cast(gradient, tf.float32)

    def gradients(self, model, outputs, x, y, batch_size):
        """The cross-entropy's gradients by the images, `(n, ...)`, as an array."""
        chunks = self.chunks(self.target(model, outputs), x, y, 0, batch_size)
        return np.concatenate([gradient for _, gradient in chunks])


def landscape(predictor, x, y, signs, lengths, seed):
    """True losses along the gradient's sign and along random signs.

    Args:
        predictor: The model's `Predictor`.
        x, y: Images, `(n, ...)`, and their labels.
        signs: Of the gradient, in the shape of `x`.
        lengths: How far is gone, in units of pixels.
        seed: Of the random signs.

    Returns:
        Losses along the gradient, `(length, n)`, and along the others, `(direction, length, n)`.
    """
    generator = np.random.default_rng(seed)

    def losses(signs):
        moved = (np.clip(x + length * signs, 0, 1) for length in lengths)
        return np.stack([predictor(m.astype(np.float32), y)[1] for m in moved])

    along = losses(signs)
    random = [losses(generator.choice([-1.0, 1.0], x.shape)) for _ in range(_DIRECTIONS)]
    return along, np.stack(random)
