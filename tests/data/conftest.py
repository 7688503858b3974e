"""A small data set in the published layout of Tiny-ImageNet."""

import pathlib
import zipfile

import numpy as np
import PIL.Image
import pytest

WNIDS = ("n03444034", "n01443537", "n07749582")  # not sorted, as in the published file
GRAY = "train/n01443537/images/n01443537_2.JPEG"


def write_jpeg(path, rng, size=(64, 64), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if mode == "L" else (*size, 3)
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path, "JPEG")


def write_published(folder, train=4, val=2):
    """`train` and `val` images of random pixels for each of three classes."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    (folder / "words.txt").write_text(
        "n00001740\tentity\n"
        "n01443537\tgoldfish, Carassius auratus\n"
        "n03444034\tgo-kart\n"
        "n07749582\tlemon\n"
    )
    for wnid in WNIDS:
        boxes = ""
        for number in range(train):
            name = f"{wnid}_{number}.JPEG"
            relative = f"train/{wnid}/images/{name}"
            write_jpeg(folder / relative, rng, mode="L" if relative == GRAY else "RGB")
            boxes += f"{name}\t0\t0\t63\t63\n"
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(boxes)
    annotations = ""
    for number in range(val * len(WNIDS)):
        write_jpeg(folder / "val" / "images" / f"val_{number}.JPEG", rng)
        annotations += f"val_{number}.JPEG\t{WNIDS[number % 3]}\t0\t0\t63\t63\n"
    (folder / "val" / "val_annotations.txt").write_text(annotations)
    write_jpeg(folder / "test" / "images" / "test_0.JPEG", rng)
    return folder


def zip_folder(folder, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for found in sorted(folder.rglob("*")):
            file.write(found, pathlib.PurePath(folder.name, found.relative_to(folder)))
    return path


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """Folder tiny-imagenet-200 that no test changes."""
    return write_published(tmp_path_factory.mktemp("published") / "tiny-imagenet-200")


@pytest.fixture(scope="session")
def published_zip(published, tmp_path_factory):
    return zip_folder(published, tmp_path_factory.mktemp("zipped") / "tiny-imagenet-200.zip")


@pytest.fixture(autouse=True)
def own_tfds_folder(tmp_path_factory, monkeypatch):
    """No test writes into the folder of the one who runs it."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("tensorflow_datasets")))
