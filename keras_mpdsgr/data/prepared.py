"""Data sets in the prepared form of TensorFlow Datasets: found, made and read."""

import contextlib
import dataclasses
import io
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_mpdsgr.data.image_data import DataNotFoundError, check_limit


@dataclasses.dataclass(frozen=True, eq=False)
class Copy:
    """What was read of a prepared copy, and how many images it holds in all."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    available: dict[str, int]


def root_of(data_dir: str | os.PathLike | None) -> pathlib.Path:
    """The folder given, or else that of TFDS: `$TFDS_DATA_DIR` or `~/tensorflow_datasets`."""
    default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    return pathlib.Path(default if data_dir is None else data_dir).expanduser()


def newest_version(folder: pathlib.Path) -> pathlib.Path | None:
    """Of folders named like 3.0.2, the one with the highest number."""
    versions = [path for path in folder.glob("*") if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
    return max(versions, key=lambda path: [int(n) for n in path.name.split(".")], default=None)


def prepare(name: str, root: pathlib.Path, build: Callable[[str], object]) -> pathlib.Path:
    """Prepares a data set; only what is complete appears under `root`.

    Args:
        name: Of the data set, which is its folder's too.
        root: Folder of prepared data sets. Made if it is not there.
        build: Given a scratch folder, prepares `<name>/<version>` in it.

    Returns:
        The folder of the version prepared.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="incomplete.", dir=root) as scratch, _silence():
        build(scratch)
        prepared = newest_version(pathlib.Path(scratch) / name)
        if prepared is None:
            raise OSError("TFDS prepared nothing")
        target = root / name / prepared.name
        target.parent.mkdir(exist_ok=True)
        try:
            prepared.rename(target)
        except OSError:
            if not target.is_dir():  # Else another process has been faster.
                raise
    return target


def read(
    folder: pathlib.Path,
    title: str,
    advice: str,
    limit_train: int | None,
    limit_test: int | None,
    test_splits: Sequence[str] = ("test",),
    decoder: object = None,
) -> Copy:
    """Reads the first images of a prepared copy, in the order of its files.

    Args:
        folder: The version's folder.
        title: Of the data set, for messages.
        advice: What to do if the copy is broken.
        limit_train: How many training images. None: all.
        limit_test: How many test images. None: all.
        test_splits: Names that the test split may have; the first there is taken.
        decoder: A `tfds.decode.Decoder` of the images. None: TFDS' own.
    """
    import tensorflow_datasets as tfds  # here: slow to import, and the digits do without

    decoders = None if decoder is None else {"image": decoder}

    with _broken_data_as_one_line(title, folder, advice):
        builder = tfds.builder_from_directory(folder)
        splits = builder.info.splits
        test = next((split for split in test_splits if split in splits), test_splits[0])
        available = {"train": splits["train"].num_examples, "test": splits[test].num_examples}
        class_names = tuple(builder.info.features["label"].names)
    check_limit("limit_train", limit_train, available["train"], title)
    check_limit("limit_test", limit_test, available["test"], title)
    with _broken_data_as_one_line(title, folder, advice):
        x_train, y_train = _read_split(
            builder, "train", limit_train or available["train"], decoders
        )
        x_test, y_test = _read_split(builder, test, limit_test or available["test"], decoders)
    return Copy(x_train, y_train, x_test, y_test, class_names, available)


def _read_split(builder, split: str, count: int, decoders) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` images and labels of a split."""
    import tensorflow_datasets as tfds

    batches = builder.as_dataset(
        split=f"{split}[:{count}]",
        batch_size=min(count, 1000),
        shuffle_files=False,
        decoders=decoders,
        # One file after the other, or the order depends on how many there are; and no second copy.
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    images: np.ndarray | None = None
    labels = np.empty(count, np.int32)
    found = 0
    for batch in batches.as_numpy_iterator():
        if images is None:
            # Filled as it comes: Tiny-ImageNet twice over would be 2.5 GB.
            images = np.empty((count, *batch["image"].shape[1:]), batch["image"].dtype)
        images[found : found + len(batch["image"])] = batch["image"]
        labels[found : found + len(batch["label"])] = batch["label"]
        found += len(batch["image"])
    if images is None or found != count:
        raise OSError(f"{split} holds {found} images where dataset_info.json promises {count}")
    return images, labels


def first_line(error: Exception) -> str:
    """What an error says, without the names of operations that TensorFlow puts around it."""
    text = re.sub(r"\{\{function_node .*?\}\} | \[Op:.*", "", str(error)).strip()
    return text.splitlines()[0] if text else type(error).__name__


@contextlib.contextmanager
def _broken_data_as_one_line(title: str, folder: pathlib.Path, advice: str) -> Iterator[None]:
    """Whatever TFDS or TensorFlow make of a damaged folder (a dozen types) is one error here."""
    try:
        yield
    except Exception as error:
        raise DataNotFoundError(
            f"{title} in {folder} is broken ({first_line(error)}). {advice}"
        ) from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps TFDS' banners and progress bars off the screen."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
