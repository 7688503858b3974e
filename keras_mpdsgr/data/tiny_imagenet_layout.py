"""Tiny-ImageNet as it is published: which image is of which class, and what is missing.

wnids.txt names the classes by their WordNet ids, words.txt says what these mean,
`train/<wnid>/images/` holds the training images of a class, and `val/val_annotations.txt` gives
the class of each image in `val/images/`.
"""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping

from keras_mpdsgr.data.image_data import DataNotFoundError
from keras_mpdsgr.data.order import mixed
from keras_mpdsgr.data.sources import Source

PARTS = ("wnids.txt", "words.txt", "train", "val")
_ANNOTATIONS = "val/val_annotations.txt"
_TEXTS = ("wnids.txt", "words.txt", _ANNOTATIONS)


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is in the published files.

    Args:
        class_names: First word of each class, in the order of wnids.txt.
        train: Files and labels of the training images, mixed.
        val: The same for the validation images.
    """

    class_names: tuple[str, ...]
    train: list[tuple[str, int]]
    val: list[tuple[str, int]]


def read_layout(source: Source) -> Layout:
    """Reads and checks the published files, except the pixels.

    Raises:
        DataNotFoundError: If something is missing or contradicts itself.
    """
    wnids = _wnids(source)
    train = _training_images(source, wnids)
    val = _validation_images(source, wnids)
    for split, images in (("train", train), ("val", val)):
        _check_balance(source, split, images)
    return Layout(
        class_names=_class_names(source, wnids),
        train=mixed([train[wnid] for wnid in wnids]),
        val=mixed([val[wnid] for wnid in wnids]),
    )


def fingerprint(source: Source) -> str:
    """A digest of names and sizes of what is read, the same for a zip file and its folder."""
    names = (name for name in source.files if _is_image(name) or name in _TEXTS)
    lines = "".join(f"{name}\t{source.files[name]}\n" for name in sorted(names))
    return hashlib.sha256(lines.encode()).hexdigest()


def fault(source: Source, what: str) -> DataNotFoundError:
    """The error that says what is wrong with the published files."""
    return DataNotFoundError(
        f"Tiny-ImageNet in {source} is incomplete or damaged: {what}. Replace it by an intact copy "
        "of tiny-imagenet-200, or pass another `data_dir`."
    )


def _lines(source: Source, name: str) -> list[str]:
    if name not in source.files:
        raise fault(source, f"{name} is missing")
    try:
        text = source.read(name).decode()
    except UnicodeDecodeError as error:
        raise fault(source, f"{name} is not text ({error})") from error
    return [line for line in text.splitlines() if line.strip()]


def _wnids(source: Source) -> list[str]:
    wnids = [line.strip() for line in _lines(source, "wnids.txt")]
    twice = [wnid for wnid, count in collections.Counter(wnids).items() if count > 1]
    if twice:
        raise fault(source, f"wnids.txt names the class {twice[0]} twice")
    if len(wnids) < 2:
        raise fault(source, f"wnids.txt names {len(wnids)} classes, and at least 2 are needed")
    return wnids


def _class_names(source: Source, wnids: list[str]) -> tuple[str, ...]:
    words = {}
    for line in _lines(source, "words.txt"):
        wnid, _, meaning = line.partition("\t")
        words[wnid.strip()] = meaning.split(",")[0].strip()
    for wnid in wnids:
        if not words.get(wnid):
            raise fault(source, f"words.txt does not say what the class {wnid} is")
    shared = collections.Counter(words[wnid] for wnid in wnids)
    # TFDS keeps labels by name, so that two cranes need telling apart.
    return tuple(
        words[wnid] if shared[words[wnid]] == 1 else f"{words[wnid]} ({wnid})" for wnid in wnids
    )


def _training_images(source: Source, wnids: list[str]) -> dict[str, list[str]]:
    folders = set()
    images: dict[str, list[str]] = {wnid: [] for wnid in wnids}
    for name in source.files:
        parts = pathlib.PurePosixPath(name).parts
        if parts[0] != "train" or len(parts) < 3:
            continue
        folders.add(parts[1])
        if len(parts) == 4 and parts[2] == "images" and parts[1] in images and _is_image(parts[3]):
            images[parts[1]].append(name)
    for wnid in wnids:
        if wnid not in folders:
            raise fault(source, f"the class folder train/{wnid} is missing")
        if not images[wnid]:
            raise fault(source, f"train/{wnid}/images holds no JPEG files")
    unknown = sorted(folders - set(wnids))
    if unknown:
        raise fault(source, f"train/{unknown[0]} is the folder of no class in wnids.txt")
    return images


def _validation_images(source: Source, wnids: list[str]) -> dict[str, list[str]]:
    labels = {}
    for line in _lines(source, _ANNOTATIONS):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in wnids:
            raise fault(
                source, f"{_ANNOTATIONS} has a line without a class of wnids.txt ({line!r})"
            )
        if fields[0] in labels:
            raise fault(source, f"{_ANNOTATIONS} names {fields[0]} twice")
        labels[fields[0]] = fields[1]
    files = {
        name.removeprefix("val/images/")
        for name in source.files
        if name.startswith("val/images/") and _is_image(name)
    }
    if not files:
        raise fault(source, "val/images holds no JPEG files")
    missing, unlabelled = sorted(labels.keys() - files), sorted(files - labels.keys())
    if missing:
        raise fault(source, f"val/images/{missing[0]} is missing, which {_ANNOTATIONS} names")
    if unlabelled:
        raise fault(source, f"val/images/{unlabelled[0]} has no line in {_ANNOTATIONS}")
    images: dict[str, list[str]] = {wnid: [] for wnid in wnids}
    for file, wnid in labels.items():
        images[wnid].append(f"val/images/{file}")
    return images


def _check_balance(source: Source, split: str, images: Mapping[str, list[str]]) -> None:
    counts = {wnid: len(names) for wnid, names in images.items()}
    usual, _ = collections.Counter(counts.values()).most_common(1)[0]
    for wnid, count in counts.items():
        if count != usual:
            raise fault(
                source,
                f"the class {wnid} has {count} {split} images and others have {usual}, where every "
                "class must have as many",
            )


def _is_image(name: str) -> bool:
    file = name.rpartition("/")[2].lower()
    return file.endswith((".jpeg", ".jpg")) and not file.startswith(".")
