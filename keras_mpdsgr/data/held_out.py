"""Training images set apart for choices: never trained on, never reported on."""

import dataclasses

import numpy as np

from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.data.image_data import ImageData


def hold_out(
    images: ImageData, count: int, seed: int
) -> tuple[ImageData, tuple[np.ndarray, np.ndarray]]:
    """Sets training images apart.

    Args:
        images: An `ImageData`.
        count: Number of training images set apart, 1 to one less than there are.
        seed: Of the split, not negative.

    Returns:
        The data set without them, its test images as they were, in the order they had; and those
        set apart: uint8 images `(count, H, W, C)` and int32 labels `(count,)`.

    Raises:
        ValueError: If `count` leaves one of the two parts empty, or an argument is of another kind.

    Example:

    >>> from keras_mpdsgr import data
    >>> rest, (x, y) = hold_out(data.load("digits"), 200, seed=0)
    >>> len(rest.x_train), x.shape, y.shape
    (1237, (200, 16, 16, 1), (200,))
    """
    if not isinstance(images, ImageData):
        raise ValueError(f"`images` must be an `ImageData`. Received: {images!r}.")
    check_integer("seed", seed, "of the split", least=0)
    n = len(images.x_train)
    check_integer("count", count, "images set apart, fewer than are left", least=1, most=n - 1)
    order = np.random.default_rng(seed).permutation(n)
    apart, rest = order[:count], np.sort(order[count:])
    left = dataclasses.replace(images, x_train=images.x_train[rest], y_train=images.y_train[rest])
    return left, (images.x_train[apart], images.y_train[apart])
