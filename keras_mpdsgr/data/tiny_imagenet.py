"""Tiny-ImageNet from its published folder or zip file, prepared once in TFDS' form."""

import io
import os
import pathlib
import sys
import tempfile

import tensorflow as tf
import tensorflow_datasets as tfds

from keras_mpdsgr.data import prepared
from keras_mpdsgr.data.image_data import DataNotFoundError, ImageData, describe_part
from keras_mpdsgr.data.sources import FolderSource, Source, ZipSource
from keras_mpdsgr.data.tiny_imagenet_layout import PARTS, fault, fingerprint, read_layout

# The constants in common use with Tiny-ImageNet's training pixels: means, and deviations of the
# pixels (the images' own ones are .2302 .2265 .2262 on average).
_MEAN, _STD = (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)
_PUBLISHED = {"train": 100_000, "test": 10_000}
_SIDE = 64

_NAME, _TITLE = "tiny_imagenet", "Tiny-ImageNet"
_FOLDER = "tiny-imagenet-200"
_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
_SOURCE_KEY = "source"


class TinyImagenet(tfds.core.GeneratorBasedBuilder):
    """Prepares Tiny-ImageNet: splits "train" and "validation", each mixed over the classes.

    Args:
        source: The published files. Needed for preparing, not for reading.
        **kwargs: As for every `tfds.core.DatasetBuilder`, such as `data_dir`.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, source: Source | None = None, **kwargs):
        self._source = source
        self._layout = None if source is None else read_layout(source)
        super().__init__(**kwargs)

    def _info(self):
        names = None if self._layout is None else self._layout.class_names
        made_from = None if self._source is None else {_SOURCE_KEY: fingerprint(self._source)}
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{_TITLE}: images of {_SIDE} x {_SIDE} pixels, by WordNet's words.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(_SIDE, _SIDE, 3), encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=names),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=_URL,
            metadata=None if made_from is None else tfds.core.MetadataDict(made_from),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        if self._source is None or self._layout is None:
            raise ValueError("`source` must be given where Tiny-ImageNet is to be prepared.")
        return {
            "train": self._generate_examples(self._source, self._layout.train),
            "validation": self._generate_examples(self._source, self._layout.val),
        }

    def _generate_examples(self, source, images):
        for number, (name, label) in enumerate(images):
            content = source.read(name)
            _check_jpeg(source, name, content)
            yield number, {"image": io.BytesIO(content), "label": label}


def _check_jpeg(source: Source, name: str, content: bytes) -> None:
    if not content.startswith(b"\xff\xd8"):
        raise fault(source, f"{name} is not a JPEG file")
    try:
        # From the header alone: a few bytes may announce more pixels than fit into memory.
        height, width, _ = tf.io.extract_jpeg_shape(content).numpy()
        if (height, width) != (_SIDE, _SIDE):
            raise fault(
                source,
                f"{name} has {height} x {width} pixels, where Tiny-ImageNet has {_SIDE} x {_SIDE}",
            )
        _decode(content)
    except tf.errors.OpError as error:
        reason = prepared.first_line(error)
        raise fault(source, f"{name} is not a readable JPEG file ({reason})") from error


def _decode(content):
    # TensorFlow's default is faster and leaves red and blue darker by more than 1 of 255 on
    # average; this one gives the pixels that other libraries, and so the mean above, come from.
    return tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")


@tfds.decode.make_decoder()
def _accurately(content, feature):
    return _decode(content)


def load_tiny_imagenet(name, data_dir, limit_train, limit_test) -> ImageData:
    """Tiny-ImageNet, or a balanced part of it; prepared first if need be."""
    copy = prepared.read(
        folder := _prepared_folder(data_dir),
        _TITLE,
        "Remove the folder to have it prepared again, or pass another `data_dir`.",
        limit_train,
        limit_test,
        test_splits=("validation", "val", "test"),
        decoder=_accurately(),
    )
    if copy.x_train.shape[1:] != (_SIDE, _SIDE, 3):
        raise DataNotFoundError(
            f"{folder} holds images of the shape {copy.x_train.shape[1:]}, where {_TITLE} has "
            f"{_SIDE} x {_SIDE} x 3. Pass another `data_dir`."
        )
    part = describe_part(_TITLE, copy.available, _PUBLISHED)
    if part:
        each = {split: count / len(copy.class_names) for split, count in copy.available.items()}
        part += (
            f" ({each['train']:g} and {each['test']:g} of each of {len(copy.class_names)} classes)"
        )
        print(f"{folder} holds {part}.", file=sys.stderr)
    return ImageData(
        name=name,
        x_train=copy.x_train,
        y_train=copy.y_train,
        x_test=copy.x_test,
        y_test=copy.y_test,
        mean=_MEAN,
        std=_STD,
        flip=True,
        class_names=copy.class_names,
        part=part,
    )


def _prepared_folder(data_dir: str | os.PathLike | None) -> pathlib.Path:
    """Folder of a prepared copy of what `data_dir` holds, made if there is none."""
    root = prepared.root_of(data_dir)
    source = _find_source(root)
    home = root.parent if root.is_file() else root
    if source is None:
        copy = prepared.newest_version(home / _NAME)
        if copy is None:
            raise DataNotFoundError(
                f"{_TITLE} is not in {root}: there is no {_FOLDER} folder, no {_FOLDER}*.zip and "
                f"no prepared {_NAME}/<version>. Fetch {_URL} and pass its folder as `data_dir`."
            )
        return copy
    places = list(dict.fromkeys([home, prepared.root_of(None)]))
    for place in places:
        copy = prepared.newest_version(place / _NAME)
        if copy is not None and _is_made_from(source, copy):
            return copy
    return _prepare(source, places)


def _find_source(root: pathlib.Path) -> Source | None:
    if root.is_file():
        return ZipSource(root, _FOLDER, PARTS)
    if (root.name == _FOLDER and root.is_dir()) or (root / "wnids.txt").is_file():
        return FolderSource(root, PARTS)
    if (root / _FOLDER).is_dir():
        return FolderSource(root / _FOLDER, PARTS)
    zips = sorted(root.glob(f"{_FOLDER}*.zip"))
    whole = root / f"{_FOLDER}.zip"
    if len(zips) > 1 and whole not in zips:
        raise DataNotFoundError(
            f"{root} holds several zip files of {_TITLE} ({', '.join(path.name for path in zips)})."
            " Pass the one that is meant as `data_dir`."
        )
    if zips:
        return ZipSource(whole if whole in zips else zips[0], _FOLDER, PARTS)
    return None


def _is_made_from(source: Source, copy: pathlib.Path) -> bool:
    try:
        metadata = tfds.builder_from_directory(copy).info.metadata
        return metadata.get(_SOURCE_KEY) == fingerprint(source)
    except Exception:  # A damaged copy raises a dozen types.
        return False


def _prepare(source: Source, places: list[pathlib.Path]) -> pathlib.Path:
    """Prepares a copy in the first of the places that can be written."""
    place = next((place for place in places if _is_writable(place)), None)
    if place is None:
        raise DataNotFoundError(
            f"{_TITLE} in {source} cannot be prepared: neither of {' and '.join(map(str, places))} "
            "can be written. Set TFDS_DATA_DIR to a folder that can."
        )
    taken = prepared.newest_version(place / _NAME)
    if taken is not None:
        raise DataNotFoundError(
            f"{taken} was not prepared from {source}, or is damaged. Remove that folder to have "
            "this one prepared, or pass another `data_dir`."
        )

    def make(scratch):
        builder = TinyImagenet(source=source, data_dir=scratch)  # refuses what is incomplete
        print(f"Preparing {_TITLE} from {source} in {place} ...", file=sys.stderr)
        builder.download_and_prepare()

    try:
        return prepared.prepare(_NAME, place, make)
    except DataNotFoundError:
        raise
    except Exception as error:  # of disk or TFDS
        raise DataNotFoundError(
            f"{_TITLE} in {source} could not be prepared in {place} ({prepared.first_line(error)})."
            " Set TFDS_DATA_DIR, or pass another `data_dir`."
        ) from error


def _is_writable(folder: pathlib.Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="incomplete.", dir=folder):
            return True
    except OSError:
        return False
