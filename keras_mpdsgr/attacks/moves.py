"""The moves that hill climbing tries: a few pixel values or a small square go to a bound."""

import numpy as np
import tensorflow as tf

MOST_VALUES = 8
SIDES = (2, 3, 4)


class Moves:
    """Random moves of each sample, as masks.

    Half of them set 1 to 8 values at random places, each to the lower or the upper bound. The other
    half sets a square of 2 to 4 pixels' side, each channel to one of the bounds; where the input is
    no image (has less than three axes) these set values too.

    Args:
        draws: `SampleDraws`, which this moves on.
        shape: Shape of a sample.
        queries: Moves a sample.

    Attributes:
        inside: Which values move, `(n, queries, *shape)`, boolean.
        upwards: Which of them go to the upper bound, same shape; of no meaning elsewhere.
    """

    def __init__(self, draws, shape, queries):
        # One draw, so that a query's move does not depend on how many are drawn with it.
        drawn = draws.uniform((queries, 5 + 2 * MOST_VALUES + shape[-1]), low=0.0, high=1.0).numpy()
        numbers, places, signs, channels = np.split(
            drawn.reshape(-1, drawn.shape[-1]), np.cumsum([5, MOST_VALUES, MOST_VALUES]), axis=-1
        )
        signs, channels = signs < 0.5, channels < 0.5
        is_square = (numbers[:, 4] < 0.5) & (len(shape) >= 3)
        # Each kind is written into its own moves alone: the masks are most of what a query costs
        # besides the model.
        inside = np.zeros((len(numbers), *shape), bool)
        upwards = np.zeros_like(inside)
        few, squares = np.flatnonzero(~is_square), np.flatnonzero(is_square)
        _set_values(inside, upwards, few, numbers[few, 0], places[few], signs[few])
        if len(squares):
            inside[squares] = _squares(numbers[squares, 1:4], shape)
            channels = channels[squares]
            upwards[squares] = channels.reshape(-1, *[1] * (len(shape) - 1), shape[-1])
        self.inside, self.upwards = (
            mask.reshape(len(drawn), queries, *shape) for mask in (inside, upwards)
        )

    def filled(self, size):
        """Both masks, filled up to `size` rows, as a pair of tensors."""
        if size == len(self.inside):
            return tf.constant(self.inside), tf.constant(self.upwards)
        filled = np.resize(np.arange(len(self.inside)), size)
        return tf.constant(self.inside[filled]), tf.constant(self.upwards[filled])


def _set_values(inside, upwards, moves, number, places, signs):
    """Writes moves of a few values into the rows `moves` of both masks, `(rows, *shape)`."""
    inside, upwards = (mask.reshape(len(mask), -1) for mask in (inside, upwards))
    places = (places * inside.shape[1]).astype(int)
    # The first place is always taken; those beyond the number repeat it.
    taken = np.arange(MOST_VALUES) <= (number * MOST_VALUES).astype(int)[:, None]
    places = np.where(taken, places, places[:, :1])
    signs = np.where(taken, signs, signs[:, :1])
    for place, sign in zip(places.T, signs.T, strict=True):
        inside[moves, place], upwards[moves, place] = True, sign


def _squares(numbers, shape):
    height, width = shape[-3:-1]
    side = np.take(SIDES, (numbers[..., 0] * len(SIDES)).astype(int))
    side = np.minimum(side, min(height, width))
    top = (numbers[..., 1] * (height - side + 1)).astype(int)
    left = (numbers[..., 2] * (width - side + 1)).astype(int)
    rows, columns = np.arange(height), np.arange(width)
    down = (rows >= top[..., None]) & (rows < (top + side)[..., None])
    across = (columns >= left[..., None]) & (columns < (left + side)[..., None])
    square = down[..., :, None] & across[..., None, :]
    leading = [1] * (len(shape) - 3)
    square = square.reshape(len(square), *leading, height, width, 1)
    return np.broadcast_to(square, (len(square), *shape))
