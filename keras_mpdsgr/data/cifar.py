"""CIFAR-10 and CIFAR-100 as TFDS prepares them, downloaded if possible."""

import os
import pathlib
import sys
import urllib.error
import urllib.request

from keras_mpdsgr.data import prepared
from keras_mpdsgr.data.image_data import DataNotFoundError, ImageData, describe_part

# As the SNN-RAT code states them. CIFAR-10's deviation is the mean of the images' own ones (the
# pixels' is .2470 .2435 .2616); it stays, so that results compare.
_MEAN_AND_STD = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
_PUBLISHED = {"train": 50_000, "test": 10_000}

# Where TFDS fetches CIFAR from, and for how many seconds the host may be silent.
_URL = "https://www.cs.toronto.edu/~kriz/cifar.html"
_TIMEOUT = 5

_TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
_ADVICE = "Replace it by an intact copy, or pass another `data_dir`; or try the data set 'digits'."


def load_cifar(name, data_dir, limit_train, limit_test) -> ImageData:
    """CIFAR-10 or CIFAR-100, by name."""
    folder = _prepared_folder(name, data_dir)
    copy = prepared.read(folder, _TITLES[name], _ADVICE, limit_train, limit_test)
    mean, std = _MEAN_AND_STD[name]
    return ImageData(
        name=name,
        x_train=copy.x_train,
        y_train=copy.y_train,
        x_test=copy.x_test,
        y_test=copy.y_test,
        mean=mean,
        std=std,
        flip=True,
        class_names=copy.class_names,
        part=describe_part(_TITLES[name], copy.available, _PUBLISHED),
    )


def _prepared_folder(name: str, data_dir: str | os.PathLike | None) -> pathlib.Path:
    """Folder of the newest prepared version, downloaded if there is none."""
    root = prepared.root_of(data_dir)
    if data_dir is not None and not root.is_dir():
        raise DataNotFoundError(
            f"{root} is not a folder, so {_TITLES[name]} cannot be read from it. Pass a `data_dir` "
            f"that holds {name}/<version>; or try the data set 'digits'."
        )
    return prepared.newest_version(root / name) or _download(name, root)


def _download(name: str, root: pathlib.Path) -> pathlib.Path:
    def build(scratch):
        import tensorflow_datasets as tfds

        tfds.builder(name, data_dir=scratch).download_and_prepare()

    try:
        _check_network()  # TFDS itself keeps trying for minutes
        print(f"Downloading {_TITLES[name]} into {root} ...", file=sys.stderr)
        return prepared.prepare(name, root, build)
    except Exception as error:  # of network, disk or TFDS
        raise DataNotFoundError(
            f"{_TITLES[name]} is not prepared in {root} and could not be downloaded "
            f"({prepared.first_line(error)}). Prepare it where there is a network with `python -c "
            f"\"import tensorflow_datasets; tensorflow_datasets.load('{name}')\"`, copy the folder "
            "~/tensorflow_datasets, and pass `data_dir`; or try the data set 'digits'."
        ) from error


def _check_network() -> None:
    request = urllib.request.Request(_URL, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_TIMEOUT).close()
    except urllib.error.HTTPError:
        raise
    except OSError as error:
        raise OSError("no network") from error
