"""Image data sets by name, read into memory as numpy arrays in a fixed order."""

import os
from collections.abc import Callable

from keras_mpdsgr.data.cifar import load_cifar
from keras_mpdsgr.data.digits import load_digits
from keras_mpdsgr.data.image_data import DataNotFoundError, ImageData

__all__ = ["DataNotFoundError", "ImageData", "load", "names"]


def names() -> list[str]:
    """Names that `load` takes."""
    return list(_LOADERS)


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    limit_train: int | None = None,
    limit_test: int | None = None,
) -> ImageData:
    """Loads a data set, the same images in the same order every time.

    Args:
        name: `"digits"` (scikit-learn's handwritten digits at 16 x 16, needs no download),
            `"cifar10"` or `"cifar100"`.
        data_dir: Folder of TensorFlow Datasets, which holds for example `cifar10/3.0.2`. May be
            read-only. None: `$TFDS_DATA_DIR`, or else `~/tensorflow_datasets`. What is not there
            is downloaded into it. The digits need no folder.
        limit_train: Number of training images to keep, the first ones. None: all.
        limit_test: The same for test images.

    Returns:
        `ImageData`.

    Raises:
        ValueError: If there is no such data set, or a limit is below 1 or above what there is.
        DataNotFoundError: If the data is not on disk and cannot be downloaded, or is broken.

    Example:

    >>> digits = load("digits", limit_train=100)
    >>> digits.x_train.shape, digits.x_test.shape, digits.num_classes
    ((100, 16, 16, 1), (360, 16, 16, 1), 10)
    """
    if name not in _LOADERS:
        raise ValueError(f"There is no data set {name!r}. Those known are: {', '.join(names())}.")
    return _LOADERS[name](name, data_dir, limit_train, limit_test)


_LOADERS: dict[str, Callable[..., ImageData]] = {
    "digits": load_digits,
    "cifar10": load_cifar,
    "cifar100": load_cifar,
}
