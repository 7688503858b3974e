"""Image data sets by name, read into memory as numpy arrays in a fixed order."""

import os
import re
from collections.abc import Callable
from typing import Any

from keras_mpdsgr import plugins
from keras_mpdsgr.arguments import check_choice, check_free, check_path
from keras_mpdsgr.data.cifar import load_cifar
from keras_mpdsgr.data.digits import load_digits
from keras_mpdsgr.data.image_data import DataNotFoundError, ImageData, checked
from keras_mpdsgr.data.image_folder import load_folder

__all__ = ["DataNotFoundError", "ImageData", "load", "names", "register"]

_registry: dict[str, Callable[..., ImageData]] = {}


def register(name: str) -> Callable[[Any], Any]:
    """Function decorator: makes a data set available by a name.

    The function takes `data_dir`, `limit_train` and `limit_test`, as `load` has got them, and
    returns an `ImageData`. It may return more images than the limits say; the first ones are kept.

    Args:
        name: Name for `load`, of letters, digits, `_`, `-` and `.`. ValueError if it is taken.

    Example:

    >>> import dataclasses
    >>> @register("odd_digits")
    ... def load_odd_digits(data_dir, limit_train, limit_test):
    ...     digits = load("digits")
    ...     odd_train, odd_test = digits.y_train % 2 == 1, digits.y_test % 2 == 1
    ...     return dataclasses.replace(
    ...         digits,
    ...         x_train=digits.x_train[odd_train],
    ...         y_train=digits.y_train[odd_train] // 2,
    ...         x_test=digits.x_test[odd_test],
    ...         y_test=digits.y_test[odd_test] // 2,
    ...         class_names=("1", "3", "5", "7", "9"),
    ...     )
    >>> load("odd_digits", limit_train=20).x_train.shape
    (20, 16, 16, 1)
    """
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(
            f"`name` must be of letters, digits, `_`, `-` and `.`. Received: {name!r}."
        )

    def decorate(function):
        if not callable(function):
            raise ValueError(f"A data set must be a function. Received: {function!r}.")
        check_free(name, function, _LOADERS | _registry)
        _registry[name] = function
        return function

    return decorate


def names() -> list[str]:
    """Names that `load` takes, those of installed plug-ins among them."""
    plugins.load(plugins.DATASETS, lambda name, function: register(name)(function))
    return [*_LOADERS, *_registry]


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    limit_train: int | None = None,
    limit_test: int | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> ImageData:
    """Loads a data set, the same images in the same order every time.

    Args:
        name: `"digits"` (scikit-learn's handwritten digits at 16 x 16, needs no download),
            `"cifar10"`, `"cifar100"`, `"tiny_imagenet"` (its validation images are the test
            images here), `"folder"`: any folder of images in class folders, or one that was
            registered (`register`).
        data_dir: Folder of TensorFlow Datasets, which holds for example `cifar10/3.0.2`. May be
            read-only. None: `$TFDS_DATA_DIR`, or else `~/tensorflow_datasets`. CIFAR, if it is not
            there, is downloaded into it. The digits need no folder.

            For Tiny-ImageNet, a folder that holds `tiny-imagenet-200/` or is it, or that holds
            `tiny-imagenet-200*.zip`, or the zip file itself. From these `tiny_imagenet/<version>`
            is prepared once: in that folder or, where it cannot be written, in the one above. Such
            a prepared copy alone will do too. A balanced part of the published images loads as
            the whole does; `ImageData.part` says so.

            For `"folder"`, one that holds `train/<class>/` and `test/<class>/` (or `val/`). If it
            holds `<class>/` alone, a fifth of each class is for testing, the same one every time.
        limit_train: Number of training images to keep, the first ones. None: all. The order of
            Tiny-ImageNet and of a folder is mixed, so that the first ones hold every class in its
            share.
        limit_test: The same for test images.
        image_size: For `"folder"` only: side in pixels, or height and width, that all images are
            resized to. None: those of the first image.

    Returns:
        `ImageData`.

    Raises:
        ValueError: If there is no such data set, or an argument is out of its range.
        DataNotFoundError: If the data is not on disk and cannot be downloaded, or is broken.

    Example:

    >>> digits = load("digits", limit_train=100)
    >>> digits.x_train.shape, digits.x_test.shape, digits.num_classes
    ((100, 16, 16, 1), (360, 16, 16, 1), 10)
    """
    if not isinstance(name, str) or name not in _LOADERS | _registry:
        check_choice("name", name, names())
    check_path("data_dir", data_dir)
    if name == "folder":
        return load_folder(name, data_dir, limit_train, limit_test, image_size)
    if image_size is not None:
        raise ValueError(
            "`image_size` must be None except for the data set 'folder': the others keep their "
            f"published size. Received: image_size={image_size!r} for {name!r}."
        )
    if name in _registry:
        images = _registry[name](data_dir, limit_train, limit_test)
        return checked(name, images, limit_train, limit_test)
    return _LOADERS[name](name, data_dir, limit_train, limit_test)


def _load_tiny_imagenet(*arguments) -> ImageData:
    # Imported here, as its builder needs TFDS, which is slow to import.
    from keras_mpdsgr.data.tiny_imagenet import load_tiny_imagenet

    return load_tiny_imagenet(*arguments)


_LOADERS: dict[str, Callable[..., ImageData]] = {
    "digits": load_digits,
    "cifar10": load_cifar,
    "cifar100": load_cifar,
    "tiny_imagenet": _load_tiny_imagenet,
    "folder": load_folder,
}
