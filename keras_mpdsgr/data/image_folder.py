"""Any folder of images sorted into class folders, read as Keras reads it, and TIFF too."""

import os
import pathlib

import numpy as np

from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.data.image_data import DataNotFoundError, ImageData, check_limit
from keras_mpdsgr.data.image_files import FORMATS, decode, images_below, read_resized
from keras_mpdsgr.data.order import mixed, shuffled

_TEST_FOLDERS = ("test", "val")
_TEST_SHARE = 0.2


def load_folder(name, data_dir, limit_train, limit_test, image_size=None) -> ImageData:
    """A folder of images, with its own split or one of four to one, in RGB.

    Args:
        name: The name it is loaded by.
        data_dir: Holds `train/<class>/` and `test/<class>/` (or `val/<class>/`), or `<class>/`.
        limit_train: Number of training images to keep.
        limit_test: Number of test images to keep.
        image_size: Side in pixels, or height and width. None: those of the first image.
    """
    root = _check_root(data_dir)
    size = _check_size(image_size)
    parts = _parts(root)
    class_names = _same_classes(root, parts)
    listed = [_images(root, part, class_names) for part in parts]
    train, test = map(mixed, listed if len(listed) == 2 else _split(root, listed[0]))
    check_limit("limit_train", limit_train, len(train), f"the folder {root}")
    check_limit("limit_test", limit_test, len(test), f"the folder {root}")
    size = size or decode(root / listed[0][0][0]).shape[:2]
    training = [name for name, _ in train]
    train, test = train[:limit_train], test[:limit_test]
    pixels, (mean, std) = _read(root, size, [name for name, _ in train + test], training)
    labels = np.array([label for _, label in train + test], np.int32)
    return ImageData(
        name=name,
        x_train=pixels[: len(train)],
        y_train=labels[: len(train)],
        x_test=pixels[len(train) :],
        y_test=labels[len(train) :],
        mean=mean,
        std=std,
        flip=True,
        class_names=tuple(class_names),
    )


def _check_root(data_dir: str | os.PathLike | None) -> pathlib.Path:
    if data_dir is None:
        raise ValueError(
            "`data_dir` must be a folder of images in class folders, if the data set is 'folder'. "
            "Received: data_dir=None."
        )
    root = pathlib.Path(data_dir).expanduser()
    if not root.is_dir():
        raise DataNotFoundError(
            f"{root} is not a folder, so no images can be read from it. Pass a `data_dir` that "
            "holds train/<class>/ and test/<class>/, or <class>/."
        )
    return root


def _check_size(image_size) -> tuple[int, int] | None:
    if image_size is None:
        return None
    sides = image_size if isinstance(image_size, tuple | list) else (image_size, image_size)
    if len(sides) != 2:
        raise ValueError(
            "`image_size` must be a side, or height and width, in pixels. Received: "
            f"image_size={image_size!r}."
        )
    height, width = (
        check_integer("image_size", side, "pixels of a side", least=1) for side in sides
    )
    return height, width


def _parts(root: pathlib.Path) -> list[str]:
    """Folders of the two splits below `root`; or "" alone, if the classes are right there."""
    if not _class_names(root / "train"):
        return [""]
    for test in _TEST_FOLDERS:
        if (root / test).is_dir():
            return ["train", test]
    raise DataNotFoundError(
        f"{root} holds train/ and neither test/ nor val/. Put test images into test/<class>/, or "
        "pass a `data_dir` that holds <class>/ alone."
    )


def _class_names(folder: pathlib.Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _same_classes(root: pathlib.Path, parts: list[str]) -> list[str]:
    first, last = root / parts[0], root / parts[-1]
    for here, there in ((first, last), (last, first)):
        lacking = sorted(set(_class_names(here)) - set(_class_names(there)))
        if lacking:
            raise DataNotFoundError(
                f"{there} has no class folder {lacking[0]}, and {here} has one. Both must have the "
                "same classes."
            )
    class_names = _class_names(first)
    if len(class_names) < 2:
        raise DataNotFoundError(
            f"{first} holds {len(class_names)} class folders, and at least 2 are needed. Pass a "
            "`data_dir` that holds train/<class>/ and test/<class>/, or <class>/."
        )
    return class_names


def _images(root: pathlib.Path, part: str, class_names: list[str]) -> list[list[str]]:
    """Images of each class, by their path below `root`."""
    classes = []
    for class_name in class_names:
        found = images_below(root / part / class_name)
        classes.append([os.path.relpath(path, root) for path in found])
    if not any(classes):
        raise DataNotFoundError(
            f"{root / part} holds no images. Pass a `data_dir` whose class folders hold "
            f"{FORMATS} files."
        )
    for class_name, names in zip(class_names, classes, strict=True):
        if not names:
            raise DataNotFoundError(
                f"{root / part / class_name} holds no images. Put {FORMATS} files into it, or "
                "remove that folder."
            )
    return classes


def _split(root: pathlib.Path, classes: list[list[str]]) -> list[list[list[str]]]:
    """The same fifth of each class for testing every time, wherever `root` lies."""
    train, test = [], []
    for names in classes:
        if len(names) < 2:
            raise DataNotFoundError(
                f"{(root / names[0]).parent} holds one image, and at least 2 are needed: one to "
                "train on, one to test."
            )
        held_out = max(1, round(_TEST_SHARE * len(names)))
        order = shuffled(names)
        test.append(order[:held_out])
        train.append(order[held_out:])
    return [train, test]


class _Moments:
    """Mean and deviation per channel of images, summed up as they come."""

    def __init__(self):
        self._count = 0
        self._sums = np.zeros((2, 3), np.int64)  # whole numbers, so exact in any order

    def add(self, image: np.ndarray) -> None:
        pixels = image.reshape(-1, 3).astype(np.int64)
        self._count += len(pixels)
        self._sums += [pixels.sum(0), (pixels**2).sum(0)]

    def result(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        mean, square = self._sums / self._count / np.array([[255], [255**2]])
        std = np.sqrt(np.maximum(square - mean**2, 0))
        # A channel that never changes has no scale to divide by.
        return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())


def _read(root, size, wanted: list[str], training: list[str]):
    """Pixels of the wanted files, in that order; the moments of all training images."""
    rows = {name: row for row, name in enumerate(wanted)}
    names = list(dict.fromkeys([*wanted, *training]))
    result = np.empty((len(wanted), *size, 3), np.uint8)
    moments, counted = _Moments(), set(training)
    images = read_resized((root / name for name in names), size)
    for name, image in zip(names, images, strict=True):
        if name in counted:
            moments.add(image)
        if name in rows:
            result[rows[name]] = image
    return result, moments.result()
