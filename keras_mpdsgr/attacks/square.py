"""The Square Attack: random search that asks for scores only."""

import dataclasses

import numpy as np
import tensorflow as tf

from keras_mpdsgr.arguments import check_flag, check_integer, check_number
from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.ball import ball, per_image
from keras_mpdsgr.attacks.cohort import BATCHES, Cohort, in_groups
from keras_mpdsgr.attacks.fields import outside
from keras_mpdsgr.attacks.gradient_free import GradientFreeAttack
from keras_mpdsgr.inputs import check_radius

# Of 10,000 queries, those at which the square's area is halved (Andriushchenko et al., 2020).
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclasses.dataclass(frozen=True, repr=False)
class Square(GradientFreeAttack):
    """Square Attack (Andriushchenko et al., 2020), L-infinity: no gradient, 5,000 queries.

    Starts from vertical stripes of plus and minus eps, then sets squares at random places to plus
    or minus eps and keeps what raises the margin. Needs images, `(batch, height, width, channels)`.

    Args:
        eps: Radius of the ball, in units of pixels scaled to [0, 1].
        steps: Number of queries; 5,000 is the published check.
        initial_share: Share of the image that the first squares cover, in (0, 1].
        rescale_schedule: Whether the halvings of the squares' area, published for 10,000 queries,
            are spread over `steps`. AutoAttack does not: the last 1,000 of its 5,000 queries have
            squares of a 128th of the first area.
        jit: As of `Attack`.

    Raises:
        ValueError: If an argument is out of its range, or the input holds no images.
    """

    eps: float = outside(8 / 255, check_radius)
    steps: int = outside(5000, check_integer, "queries", least=1)
    initial_share: float = outside(0.8, check_number, above=0, most=1)
    rescale_schedule: bool = outside(True, check_flag)

    def passes(self):
        return [(None, self.steps)]

    def refusal(self, model, x):
        if len(x.shape) != 4:
            return f"Square needs images, (n, height, width, channels), not {tuple(x.shape)}."
        return None

    def attack_all(self, target, x, y, draws, batch_size):
        if self.refusal(target.model, x):
            raise ValueError(
                "Square needs images, (batch, height, width, channels). "
                f"Received: shape={tuple(x.shape)}."
            )

        def run(rows):
            return self._searched(target, x[rows], y[rows], draws.take(rows), batch_size)

        size = batch_size * (1 if target.draws_at_random else BATCHES)
        yield from in_groups(target, draws, len(x), size, run)

    def _searched(self, target, x, y, draws, batch_size):
        """Yields rows and their images, of those that are broken first."""
        width, channels = x.shape[2:]
        stripes = self.eps * tf.sign(draws.uniform((1, width, channels)))
        states = []
        for begin in range(0, len(x), batch_size):
            part = slice(begin, begin + batch_size)
            clean, labels = tf.constant(x[part]), tf.constant(y[part])
            allowed = ball(clean, self.eps)
            image = tf.clip_by_value(clean + stripes[part], *allowed)
            states.append((image, target.call(self.score, image, labels), clean, labels, allowed))

        def step(state, rows, query):
            return self._queried(target, state, draws.take(rows), query)

        searched = Cohort(states, batch_size).search(
            range(1, self.steps), lambda state: state[1] > 0, step
        )
        for rows, (image, *_) in searched:
            yield rows, image.numpy()

    def _queried(self, target, state, draws, query):
        image, best, x, y, allowed = state
        height, width, channels = image.shape[1:]
        side = self.side(query, height, width)
        places = draws.uniform((2,), low=0.0, high=1.0).numpy()
        signs = tf.sign(draws.uniform((channels,)))
        # What fills a batch up is its first sample again.
        filled = np.resize(np.arange(len(places)), len(best))
        inside = _squares(places[filled], side, height, width)
        change = self.eps * tf.gather(signs, filled)
        image, best = target.call(self.improve, image, best, x, y, allowed, inside, change)
        return image, best, x, y, allowed

    def side(self, query, height, width):
        """Side of the square at a query, in pixels."""
        if self.rescale_schedule:
            query = int(query / self.steps * 10_000)
        share = self.initial_share / 2 ** sum(query > halving for halving in _HALVINGS)
        return int(np.clip(round((share * height * width) ** 0.5), 1, min(height, width)))

    def score(self, target, image, y):
        """The margin: positive where misclassified."""
        return losses.margin(target.logits(image), y)

    def improve(self, target, image, best, x, y, allowed, inside, change):
        moved = tf.clip_by_value(x + change[:, None, None, :], *allowed)
        tried = tf.where(inside, moved, image)
        margin = self.score(target, tried, y)
        better = (margin > best) & (best <= 0)
        return tf.where(per_image(better, image), tried, image), tf.where(better, margin, best)


def _squares(places, side, height, width):
    """Masks `(batch, height, width, 1)` of one square an image, from places in [0, 1)."""
    tops = (places[:, 0] * (height - side + 1)).astype(int)[:, None]
    lefts = (places[:, 1] * (width - side + 1)).astype(int)[:, None]
    rows, columns = np.arange(height)[None], np.arange(width)[None]
    down = (rows >= tops) & (rows < tops + side)
    across = (columns >= lefts) & (columns < lefts + side)
    return tf.constant((down[:, :, None] & across[:, None, :])[..., None])
