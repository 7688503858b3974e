"""What a data set is once it is loaded: images and labels in memory."""

import dataclasses

import numpy as np

from keras_mpdsgr.arguments import check_integer


class DataNotFoundError(OSError):
    """A data set is not on disk, or not readable there; the message says in one line what to do."""


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
