"""What a data set is once it is loaded: images and labels in memory."""

import dataclasses
from typing import Any, NoReturn

import numpy as np

from keras_mpdsgr.arguments import check_integer


class DataNotFoundError(OSError):
    """A data set is missing or unreadable; the message says in one line what to do."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """A data set of labelled images, all in memory.

    Args:
        name: The name it was loaded by.
        x_train: uint8 training images `[N, H, W, C]`, 0 to 255.
        y_train: int32 labels `[N]`, 0 to `num_classes - 1`.
        x_test: uint8 test images, of the same H, W and C.
        y_test: int32 labels of the test images.
        mean: Per channel, of pixels in [0, 1]; the published constants, whatever the limits.
        std: Deviation per channel, in the same unit.
        flip: Whether a mirrored image keeps its label.
        class_names: One name for each label.
        part: Where not the whole published set is on disk, what part of it is, with the counts.
            Belongs beside any figure measured on it. Empty: the whole set.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool
    class_names: tuple[str, ...]
    part: str = ""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of an image."""
        return self.x_train.shape[1:]

    @property
    def num_classes(self) -> int:
        """Number of labels, whether or not each occurs in a limited split."""
        return len(self.class_names)


def checked(
    name: str, images: ImageData, limit_train: int | None, limit_test: int | None
) -> ImageData:
    """What the function of a registered data set has returned, by that name and within the limits.

    Raises:
        ValueError: If it is not an `ImageData`, or its contents are not as documented.
    """
    if not isinstance(images, ImageData):
        _refuse(name, "return an `ImageData`", repr(images))
    limits = {"train": limit_train, "test": limit_test}
    arrays = {}
    for split, limit in limits.items():
        x = np.asarray(getattr(images, f"x_{split}"))
        y = np.asarray(getattr(images, f"y_{split}"))
        if x.dtype != np.uint8 or x.ndim != 4 or 0 in x.shape:
            what = f"give `x_{split}` as uint8 images (n, height, width, channels)"
            _refuse(name, what, f"shape={x.shape}, dtype={x.dtype}")
        if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
            what = f"give `y_{split}` as one whole number for each of {len(x)} images"
            _refuse(name, what, f"shape={y.shape}, dtype={y.dtype}")
        if y.min() < 0 or y.max() >= images.num_classes:
            what = f"give labels in `y_{split}` from 0 to {images.num_classes - 1}, by class_names"
            _refuse(name, what, f"{y.min()} to {y.max()}")
        check_limit(f"limit_{split}", limit, len(x), f"the data set {name}")
        arrays |= {f"x_{split}": x[:limit], f"y_{split}": y[:limit].astype(np.int32)}
    shape = arrays["x_train"].shape[1:]
    if arrays["x_test"].shape[1:] != shape:
        _refuse(name, f"give `x_test` in the shape {shape} too", f"{arrays['x_test'].shape[1:]}")
    moments: dict[str, Any] = {}
    for of in ("mean", "std"):
        values = np.asarray(getattr(images, of), np.float64)
        if values.shape != shape[-1:] or not np.isfinite(values).all():
            _refuse(name, f"give `{of}` as a number for each of {shape[-1]} channels", f"{values}")
        moments[of] = tuple(values.tolist())
    if min(moments["std"]) <= 0:
        _refuse(name, "give a positive `std`", f"{moments['std']}")
    return dataclasses.replace(images, name=name, **arrays, **moments)


def _refuse(name: str, what: str, received: str) -> NoReturn:
    raise ValueError(f"The data set {name!r} must {what}. Received: {received}.")


def check_limit(argument: str, limit: int | None, available: int, title: str) -> None:
    """Raises a ValueError if there are not `limit` images."""
    if limit is not None:
        meaning = f"images of that split of {title}"
        check_integer(argument, limit, meaning, least=1, most=available)


def describe_part(title: str, found: dict[str, int], published: dict[str, int]) -> str:
    """Says how many of the published images there are; nothing if there are all of them."""
    if found == published:
        return ""
    return (
        f"a part of {title}: {found['train']:,} of {published['train']:,} training and "
        f"{found['test']:,} of {published['test']:,} test images"
    )
