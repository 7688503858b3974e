"""Random numbers of an attack: one stream a sample, whatever batch the sample is in."""

import copy
import zlib

import numpy as np
import tensorflow as tf


class SampleDraws:
    """Draws that depend only on seed, stream, the sample's number and how many came before.

    Args:
        seed: Whole number.
        indices: `(n,)`, the samples' numbers.
        stream: Names, a tuple, that tell apart what draws for the same samples, such as the attacks
            of a suite.
    """

    def __init__(self, seed, indices, stream=()):
        self.seed, self.indices, self.stream = int(seed), np.asarray(indices), tuple(stream)
        names = [zlib.crc32(str(name).encode()) for name in self.stream]
        self._generators = [np.random.default_rng([self.seed, int(i), *names]) for i in indices]

    def of(self, name):
        """Another stream for the same samples, from its beginning."""
        return SampleDraws(self.seed, self.indices, (*self.stream, name))

    def take(self, rows):
        """The draws of some of the samples, which continue where these are.

        Args:
            rows: Which of the samples. A row that is named again draws the same once more.
        """
        taken = copy.copy(self)
        taken.indices = self.indices[rows]
        seen = set()
        taken._generators = []
        for row in map(int, rows):
            own = self._generators[row]
            taken._generators.append(copy.deepcopy(own) if row in seen else own)
            seen.add(row)
        return taken

    def uniform(self, shape, low=-1.0, high=1.0):
        """`(n, *shape)` float32, uniform in [low, high)."""
        return self._stack(lambda g: g.uniform(low, high, shape))

    def normal(self, shape):
        """`(n, *shape)` float32, standard normal."""
        return self._stack(lambda g: g.standard_normal(shape))

    def integers(self, high, shape):
        """`(n, *shape)` int32, uniform in 0..high - 1."""
        return self._stack(lambda g: g.integers(high, size=shape), tf.int32)

    def _stack(self, draw, dtype=tf.float32):
        return tf.constant(np.stack([draw(g) for g in self._generators]), dtype)
