"""Random numbers of an attack: one stream a sample, whatever batch the sample is in."""

import numpy as np
import tensorflow as tf


class SampleDraws:
    """Draws that depend on the seed, the sample's number and how many came before, and no more.

    Args:
        seed: Whole number.
        indices: `(batch,)`, the samples' numbers.
    """

    def __init__(self, seed, indices):
        self._generators = [np.random.default_rng([int(seed), int(i)]) for i in indices]

    def uniform(self, shape, low=-1.0, high=1.0):
        """`(batch, *shape)` float32, uniform in [low, high)."""
        return self._stack(lambda g: g.uniform(low, high, shape))

    def normal(self, shape):
        """`(batch, *shape)` float32, standard normal."""
        return self._stack(lambda g: g.standard_normal(shape))

    def _stack(self, draw):
        return tf.constant(np.stack([draw(g) for g in self._generators]), tf.float32)
