"""Attacks many images step by step: finished ones leave, the others continue together."""

import numpy as np
import tensorflow as tf

# Images that are attacked at once, in batches: more would fill batches better and take more memory.
BATCHES = 4
# Moving the others together copies their state: done where it saves a quarter of the work.
_WORTH = 0.75


class Cohort:
    """Samples that are at the same step of an attack, in batches of few sizes.

    A size is the batch size, or a half, a quarter, ... of it, so that few shapes are compiled; what
    a batch lacks is filled by a copy of its first sample.

    Args:
        states: Nested structures of tensors with one row a sample, at most `batch_size` rows each.
        batch_size: Samples in a batch, at most.
    """

    def __init__(self, states, batch_size):
        sizes = [len(tf.nest.flatten(state)[0]) for state in states]
        first = np.cumsum([0, *sizes])
        self._batch_size = batch_size
        self.batches = [
            self._padded(np.arange(start, start + size), state)
            for start, size, state in zip(first, sizes, states, strict=False)
        ]

    @property
    def samples(self):
        """Samples that are left."""
        return sum(len(rows) for rows, _ in self.batches)

    def apply(self, function):
        """Replaces each batch's state by what a function of state and number of samples gives."""
        self.batches = [(rows, function(state, len(rows))) for rows, state in self.batches]

    def leave(self, done):
        """Takes samples out, once enough are done or all are.

        Args:
            done: Function of a state that gives one truth a row.

        Returns:
            Pairs of the samples' numbers and their states, of those that have left.
        """
        gone = [np.asarray(done(state))[: len(rows)] for rows, state in self.batches]
        left = sum(int((~g).sum()) for g in gone)
        if left == self.samples or (left and self._work(left) > _WORTH * self._work()):
            return []
        leaving = [
            (rows[g], rows_of(state, np.flatnonzero(g)))
            for g, (rows, state) in zip(gone, self.batches, strict=True)
            if g.any()
        ]
        if not left:
            self.batches = []
            return leaving
        staying = [
            (rows[~g], rows_of(state, np.flatnonzero(~g)))
            for g, (rows, state) in zip(gone, self.batches, strict=True)
        ]
        rows = np.concatenate([rows for rows, _ in staying])
        parts = [state for _, state in staying]
        state = tf.nest.map_structure(lambda *tensors: tf.concat(tensors, axis=0), *parts)
        size = self._batch_size
        self.batches = [
            self._padded(rows[start : start + size], _slice(state, start, start + size))
            for start in range(0, left, size)
        ]
        return leaving

    def search(self, rounds, done, step):
        """Runs rounds until all samples are done; yields samples' numbers and their states.

        Args:
            rounds: What each round is told, such as how many queries it has.
            done: As of `leave`.
            step: Function of a batch's state, the samples' numbers and the round, that gives the
                state after it.
        """
        for told in rounds:
            yield from self.leave(done)
            if not self.batches:
                return
            self.batches = [(rows, step(state, rows, told)) for rows, state in self.batches]
        for rows, state in self.batches:
            yield rows, _slice(state, 0, len(rows))

    def _padded(self, rows, state):
        size = fitting_size(len(rows), self._batch_size)
        return rows, rows_of(state, np.resize(np.arange(len(rows)), size))

    def _work(self, samples=None):
        if samples is None:
            return sum(fitting_size(len(rows), self._batch_size) for rows, _ in self.batches)
        whole, rest = divmod(samples, self._batch_size)
        return whole * self._batch_size + (fitting_size(rest, self._batch_size) if rest else 0)


def fitting_size(samples, batch_size):
    """The least of `batch_size`, its half, its quarter, ... (rounded up) that holds all samples."""
    size = batch_size
    while (size + 1) // 2 >= samples and size > 1:
        size = (size + 1) // 2
    return size


def filled_batches(samples, batch_size):
    """Rows of each batch, and the same rows filled up to a `fitting_size`."""
    for start in range(0, samples, batch_size):
        rows = np.arange(start, min(start + batch_size, samples))
        yield rows, np.resize(rows, fitting_size(len(rows), batch_size))


def in_groups(target, draws, samples, size, run):
    """Runs groups of samples one after the other; yields rows and their images, once done.

    Args:
        target: The `Target`. If it draws at random, a group is run as a whole by a seed of its own.
        draws: `SampleDraws` of the samples.
        samples: Number of samples.
        size: Samples in a group, at most.
        run: Function of a group's rows that yields rows of the group and their images.
    """
    for begin in range(0, samples, size):
        rows = np.arange(begin, min(begin + size, samples))
        runs = run(rows)
        if target.draws_at_random:
            with target.seeded(draws.seed, draws.indices[begin]):
                runs = list(runs)
        for chosen, images in runs:
            yield rows[chosen], images


def rows_of(values, rows):
    """The same rows of every tensor or array of a nested structure."""

    def chosen(each):
        return each[rows] if isinstance(each, np.ndarray) else tf.gather(each, rows)

    return tf.nest.map_structure(chosen, values)


def _slice(state, start, stop):
    return tf.nest.map_structure(lambda tensor: tensor[start:stop], state)
