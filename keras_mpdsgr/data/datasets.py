"""Image data sets by name, read into memory as numpy arrays in a fixed order."""

import contextlib
import dataclasses
import io
import os
import pathlib
import re
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import numpy as np
import sklearn.datasets
import sklearn.model_selection
import tensorflow as tf

# The split of the digits is part of the data set: no seed of a run may change it.
_DIGITS_SEED = 42
_DIGITS_SIDE = 16
_DIGITS_MEAN, _DIGITS_STD = (0.3059,), (0.3189,)

# As the SNN-RAT code states them. CIFAR-10's deviation is the mean of the images' own ones (the
# pixels' is .2470 .2435 .2616); it stays, so that results compare.
_CIFAR_MEAN_AND_STD = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}

# Where TFDS fetches CIFAR from, and for how many seconds the host may be silent.
_CIFAR_URL = "https://www.cs.toronto.edu/~kriz/cifar.html"
_TIMEOUT = 5

_TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


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

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of an image."""
        return self.x_train.shape[1:]

    @property
    def num_classes(self) -> int:
        """Number of labels, whether or not each occurs in a limited split."""
        return len(self.class_names)


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


def _load_digits(name, data_dir, limit_train, limit_test) -> ImageData:
    bunch = sklearn.datasets.load_digits()
    # 0..16 in steps of 1/16 after the bilinear resize: exact in float32, so the same everywhere.
    resized = tf.image.resize(bunch.images[..., None], [_DIGITS_SIDE, _DIGITS_SIDE])
    images = np.rint(resized.numpy() * (255 / 16)).astype(np.uint8)
    x_train, x_test, y_train, y_test = sklearn.model_selection.train_test_split(
        images,
        bunch.target.astype(np.int32),
        test_size=0.2,
        stratify=bunch.target,
        random_state=_DIGITS_SEED,
    )
    _check_limit("limit_train", limit_train, len(x_train), "digits")
    _check_limit("limit_test", limit_test, len(x_test), "digits")
    return ImageData(
        name=name,
        x_train=x_train[:limit_train],
        y_train=y_train[:limit_train],
        x_test=x_test[:limit_test],
        y_test=y_test[:limit_test],
        mean=_DIGITS_MEAN,
        std=_DIGITS_STD,
        flip=False,
        class_names=tuple(str(digit) for digit in bunch.target_names),
    )


def _load_cifar(name, data_dir, limit_train, limit_test) -> ImageData:
    folder = _prepared_folder(name, data_dir)
    import tensorflow_datasets as tfds  # here: slow to import, and the digits do without

    with _broken_data_as_one_line(name, folder):
        builder = tfds.builder_from_directory(folder)
        available = {split: builder.info.splits[split].num_examples for split in ("train", "test")}
        class_names = tuple(builder.info.features["label"].names)
    _check_limit("limit_train", limit_train, available["train"], _TITLES[name])
    _check_limit("limit_test", limit_test, available["test"], _TITLES[name])
    with _broken_data_as_one_line(name, folder):
        x_train, y_train = _read(builder, "train", limit_train or available["train"])
        x_test, y_test = _read(builder, "test", limit_test or available["test"])
    mean, std = _CIFAR_MEAN_AND_STD[name]
    return ImageData(
        name=name,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        mean=mean,
        std=std,
        flip=True,
        class_names=class_names,
    )


def _check_limit(argument: str, limit: int | None, available: int, title: str) -> None:
    if limit is not None and not 1 <= limit <= available:
        raise ValueError(
            f"`{argument}` must be between 1 and the number of images in that split of {title}, "
            f"which is {available}. Received: {argument}={limit}."
        )


def _read(builder, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` images and labels of a split, in the order of its files."""
    import tensorflow_datasets as tfds

    batches = builder.as_dataset(
        split=f"{split}[:{count}]",
        batch_size=min(count, 1000),
        shuffle_files=False,
        # One file after the other, or the order depends on how many there are; and no second copy.
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    images, labels = [], []
    for batch in batches.as_numpy_iterator():
        images.append(batch["image"])
        labels.append(batch["label"])
    x, y = np.concatenate(images), np.concatenate(labels).astype(np.int32)
    if len(x) != count:
        raise OSError(f"{split} holds {len(x)} images where dataset_info.json promises {count}")
    return x, y


@contextlib.contextmanager
def _broken_data_as_one_line(name: str, folder: pathlib.Path) -> Iterator[None]:
    """Whatever TFDS or TensorFlow make of a damaged folder (a dozen types) is one error here."""
    try:
        yield
    except Exception as error:
        raise DataNotFoundError(
            f"{_TITLES[name]} in {folder} is broken ({_first_line(error)}). Replace the folder by "
            "an intact copy, or pass another --data_dir; or try --dataset digits."
        ) from error


def _prepared_folder(name: str, data_dir: str | os.PathLike | None) -> pathlib.Path:
    """Folder of the newest prepared version, downloaded if there is none."""
    default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    root = pathlib.Path(default if data_dir is None else data_dir).expanduser()
    if data_dir is not None and not root.is_dir():
        raise DataNotFoundError(
            f"{root} is not a folder, so {_TITLES[name]} cannot be read from it. Pass a --data_dir "
            f"that holds {name}/<version>; or try --dataset digits."
        )
    return _newest_version(root / name) or _download(name, root)


def _newest_version(folder: pathlib.Path) -> pathlib.Path | None:
    versions = [path for path in folder.glob("*") if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
    return max(versions, key=lambda path: [int(n) for n in path.name.split(".")], default=None)


def _download(name: str, root: pathlib.Path) -> pathlib.Path:
    """Has TFDS prepare a data set; only what is complete appears under `root`."""
    try:
        _check_network()  # TFDS itself goes on trying for minutes
        print(f"Downloading {_TITLES[name]} into {root} ...", file=sys.stderr)
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="incomplete.", dir=root) as scratch, _silence():
            import tensorflow_datasets as tfds

            tfds.builder(name, data_dir=scratch).download_and_prepare()
            prepared = _newest_version(pathlib.Path(scratch) / name)
            if prepared is None:
                raise OSError("TFDS prepared nothing")
            target = root / name / prepared.name
            target.parent.mkdir(exist_ok=True)
            prepared.rename(target)
    except Exception as error:  # of network, disk or TFDS
        raise DataNotFoundError(
            f"{_TITLES[name]} is not prepared in {root} and could not be downloaded "
            f'({_first_line(error)}). Prepare it where there is a network with `python -c "import '
            f"tensorflow_datasets; tensorflow_datasets.load('{name}')\"`, copy the folder "
            "~/tensorflow_datasets, and pass --data_dir; or try --dataset digits."
        ) from error
    return target


def _check_network() -> None:
    request = urllib.request.Request(_CIFAR_URL, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_TIMEOUT).close()
    except urllib.error.HTTPError:
        raise
    except OSError as error:
        raise OSError("no network") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps TFDS' banners and progress bars off the screen."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _first_line(error: Exception) -> str:
    """What an error says, without the names of operations that TensorFlow puts around it."""
    text = re.sub(r"\{\{function_node .*?\}\} | \[Op:.*", "", str(error)).strip()
    return text.splitlines()[0] if text else type(error).__name__


_LOADERS: dict[str, Callable[..., ImageData]] = {
    "digits": _load_digits,
    "cifar10": _load_cifar,
    "cifar100": _load_cifar,
}
