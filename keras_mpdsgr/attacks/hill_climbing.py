"""Hill climbing: a random search that starts from the best image of another attack."""

import dataclasses
from typing import Any

import tensorflow as tf

from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.ball import ball, per_image
from keras_mpdsgr.attacks.base import Attack
from keras_mpdsgr.attacks.cohort import BATCHES, Cohort, in_groups
from keras_mpdsgr.attacks.fields import outside, static
from keras_mpdsgr.attacks.gradient_free import GradientFreeAttack
from keras_mpdsgr.attacks.moves import Moves
from keras_mpdsgr.attacks.sa_pgd import SAPGD

# Queries between two looks at which samples are done.
_BLOCK = 50


def _check_start(name, value):
    right = isinstance(value, Attack) and value.norm == "linf" and not value.targeted
    if value is not None and not right:
        raise ValueError(
            f"`{name}` must be None or an untargeted L-infinity `Attack`. Received: {value!r}."
        )
    return value


# What it shares with its start: an argument that the start has already must equal that.
_SHARED = ("eps", "eot", "jit")


def _shared_by(attack, name):
    """An argument of an attack; of one made of others, that of the first of these."""
    if name == "eps" or not hasattr(attack, "parts"):
        return getattr(attack, name)
    return _shared_by(attack.parts()[0], name)


@dataclasses.dataclass(frozen=True, repr=False)
class HillClimbing(GradientFreeAttack):
    """Random search from another attack's image, L-infinity: for losses too rugged for gradients.

    Each query moves 1 to 8 random pixel values, or a square of 2 to 4 pixels' side, to a bound of
    the ball, and keeps the move where the margin rises. Gradients bring an image near the border of
    its class; what is left is a step that no slope shows.

    Args:
        start: The L-infinity attack whose images it starts from; None for `SAPGD` of 100 steps.
        queries: Forward passes an image, at least 1, besides those of `start`.
        eps, eot, jit: As of `SAPGD`. None for those of `start`, which they must equal. A model that
            is random at inference is judged by the mean of `eot` draws.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> HillClimbing(SAPGD(eps=4 / 255), queries=500).eps == 4 / 255
    True
    """

    start: Any = outside(None, _check_start)
    queries: int = outside(3000, check_integer, "forward passes", least=1)
    _: dataclasses.KW_ONLY
    eps: Any = outside(None)
    eot: Any = static(None)
    jit: Any = outside(None)

    def __post_init__(self):
        given = {name: getattr(self, name) for name in _SHARED}
        given = {name: value for name, value in given.items() if value is not None}
        if self.start is None:
            self._set("start", SAPGD(**given))
        super().__post_init__()
        for name in _SHARED:
            own = _shared_by(self.start, name)
            if given.get(name, own) != own:
                raise ValueError(
                    f"`{name}` must be that of `start`, {own!r}. Received: {given[name]!r}."
                )
            self._set(name, own)

    def target(self, model, outputs="auto"):
        # The climb's own steps take no gradient, and an attack made of others has its own targets.
        if hasattr(self.start, "parts"):
            return super().target(model, outputs)
        return self.start.target(model, outputs)

    @property
    def needs_spikes(self):
        return self.start.needs_spikes

    def refusal(self, model, x):
        return self.start.refusal(model, x)

    def passes(self):
        return [*self.start.passes(), (None, (self.queries + 1) * self.eot)]

    def attack_all(self, target, x, y, draws, batch_size):
        def run(rows):
            image, part = x[rows].copy(), (target, x[rows], y[rows], draws.take(rows))
            for chosen, images in self.start.attack_all(*part, batch_size):
                image[chosen] = images
            yield from self._climb(image, *part, batch_size)

        size = batch_size * (1 if target.draws_at_random else BATCHES)
        yield from in_groups(target, draws, len(x), size, run)

    def _climb(self, image, target, x, y, draws, batch_size):
        """Yields rows and their images, of those that are broken first."""
        states = []
        for begin in range(0, len(x), batch_size):
            part = slice(begin, begin + batch_size)
            at, allowed, labels = tf.constant(image[part]), ball(x[part], self.eps), y[part]
            margin = target.call(self.score, at, tf.constant(labels))
            states.append((at, margin, allowed, tf.constant(labels)))

        def step(state, rows, queries):
            return self._queried(target, state, draws.take(rows), queries)

        whole, rest = divmod(self.queries, _BLOCK)
        blocks = [*[_BLOCK] * whole, *[rest] * (rest > 0)]
        for rows, (at, *_) in Cohort(states, batch_size).search(
            blocks, lambda state: state[1] > 0, step
        ):
            yield rows, at.numpy()

    def _queried(self, target, state, draws, queries):
        image, margin, allowed, y = state
        moves = Moves(draws, image.shape[1:], queries).filled(len(margin))
        image, margin = target.call(self.search, image, margin, allowed, y, moves)
        return image, margin, allowed, y

    def score(self, target, image, y):
        """The margin: positive where misclassified."""
        return losses.margin(target.mean_logits(image), y)

    def search(self, target, image, margin, allowed, y, moves):
        """A block of queries one after the other."""
        inside, upwards = moves
        low, high = allowed

        def query(i, image, margin):
            bound = tf.where(upwards[:, i], high, low)
            tried = tf.where(inside[:, i], bound, image)
            reached = self.score(target, tried, y)
            better = (reached > margin) & (margin <= 0)
            chosen = tf.where(per_image(better, image), tried, image)
            return i + 1, chosen, tf.where(better, reached, margin)

        queries = tf.shape(inside)[1]
        _, image, margin = tf.while_loop(
            lambda i, *_: i < queries, query, (0, image, margin), parallel_iterations=1
        )
        return image, margin
