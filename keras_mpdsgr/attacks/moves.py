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
        upwards: Which of them go to the upper bound, same shape.
    """

    def __init__(self, draws, shape, queries):
        # One draw, so that a query's move does not depend on how many are drawn with it.
        drawn = draws.uniform((queries, 5 + 2 * MOST_VALUES + shape[-1]), low=0.0, high=1.0).numpy()
        numbers, places, signs, channels = np.split(
            drawn, np.cumsum([5, MOST_VALUES, MOST_VALUES]), axis=-1
        )
        signs, channels = signs < 0.5, channels < 0.5
        self.inside, self.upwards = _values(numbers[..., 0], places, signs, shape)
        if len(shape) >= 3:
            square = _squares(numbers[..., 1:4], shape)
            is_square = _like(numbers[..., 4] < 0.5, square)
            by_channel = channels.reshape(*channels.shape[:2], *[1] * (len(shape) - 1), -1)
            self.inside = np.where(is_square, square, self.inside)
            self.upwards = np.where(is_square, by_channel, self.upwards)

    def filled(self, size):
        """Both masks, filled up to `size` rows, as a pair of tensors."""
        filled = np.resize(np.arange(len(self.inside)), size)
        return tf.constant(self.inside[filled]), tf.constant(self.upwards[filled])


def _values(number, places, signs, shape):
    pixels = int(np.prod(shape))
    places = (places * pixels).astype(int)
    inside = np.zeros((*places.shape[:2], pixels), bool)
    upwards = np.zeros_like(inside)
    # The first place is always taken; those beyond the number repeat it.
    taken = np.arange(MOST_VALUES) <= (number * MOST_VALUES).astype(int)[..., None]
    places = np.where(taken, places, places[..., :1])
    signs = np.where(taken, signs, signs[..., :1])
    np.put_along_axis(inside, places, True, axis=-1)
    np.put_along_axis(upwards, places, signs, axis=-1)
    whole = (*places.shape[:2], *shape)
    return inside.reshape(whole), upwards.reshape(whole)


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
    square = square.reshape(*square.shape[:2], *leading, height, width, 1)
    return np.broadcast_to(square, (*square.shape[:2], *shape))


def _like(values, masks):
    return values.reshape(*values.shape, *[1] * (masks.ndim - 2))
