import collections
import pathlib
import shutil
import tempfile

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from keras_mpdsgr import data

WNIDS = ("n03444034", "n01443537", "n07749582")
NAMES = ("go-kart", "goldfish", "lemon")


def load(data_dir, **limits):
    return data.load("tiny_imagenet", data_dir, **limits)


def error_line(data_dir):
    with pytest.raises(data.DataNotFoundError) as caught:
        load(data_dir)
    line = str(caught.value)
    assert "\n" not in line
    return line


def pixels_of(path):
    """As Pillow reads them."""
    with PIL.Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def assert_same(first, second):
    for part in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(first, part), getattr(second, part))
    assert first.class_names == second.class_names


@pytest.fixture(scope="module")
def home(published, tmp_path_factory):
    """Folder that holds tiny-imagenet-200/ and, after the first load, its prepared copy."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(published, folder / "tiny-imagenet-200")
    return folder


@pytest.fixture(scope="module")
def loaded(home):
    return load(home)


@pytest.fixture
def damaged(published, tmp_path):
    """A copy of the published folder, for a test to damage."""
    return shutil.copytree(published, tmp_path / "tiny-imagenet-200")


# What is loaded


def test_every_image_is_there_once_with_its_pixels_and_its_class(loaded, published):
    annotations = (published / "val" / "val_annotations.txt").read_text().splitlines()
    of_class = dict(line.split("\t")[:2] for line in annotations)
    expected = {"train": {}, "test": {}}
    for path in published.glob("train/*/images/*.JPEG"):
        expected["train"][path] = WNIDS.index(path.parts[-3])
    for path in published.glob("val/images/*.JPEG"):
        expected["test"][path] = WNIDS.index(of_class[path.name])
    for split, x, y in (
        ("train", loaded.x_train, loaded.y_train),
        ("test", loaded.x_test, loaded.y_test),
    ):
        assert len(x) == len(y) == len(expected[split])
        for path, label in expected[split].items():
            distance = np.abs(x.astype(int) - pixels_of(path)).max((1, 2, 3))
            (found,) = np.flatnonzero(distance <= 1)
            assert y[found] == label


def test_images_have_the_published_shape_and_classes_their_first_word(loaded):
    assert loaded.input_shape == (64, 64, 3)
    assert loaded.x_train.dtype == loaded.x_test.dtype == np.uint8
    assert loaded.y_train.dtype == loaded.y_test.dtype == np.int32
    assert loaded.class_names == NAMES
    assert loaded.flip
    assert loaded.name == "tiny_imagenet"


def test_gray_image_has_three_equal_channels(loaded):
    equal = (loaded.x_train == loaded.x_train[..., :1]).all((1, 2, 3))
    assert equal.sum() == 1
    assert loaded.class_names[loaded.y_train[equal.argmax()]] == "goldfish"


def test_first_images_are_as_many_of_each_class_and_not_sorted(loaded, home):
    few = load(home, limit_train=6, limit_test=3)
    np.testing.assert_array_equal(few.x_train, loaded.x_train[:6])
    np.testing.assert_array_equal(few.y_test, loaded.y_test[:3])
    assert np.bincount(few.y_train).tolist() == [2, 2, 2]
    assert np.bincount(few.y_test).tolist() == [1, 1, 1]
    assert not (np.diff(loaded.y_train) >= 0).all()


def test_limit_outside_the_split_is_answered_with_its_size(home, loaded):
    with pytest.raises(ValueError, match=r"`limit_train`.*\[1, 12\].*Tiny-ImageNet.*Received: 13"):
        load(home, limit_train=13)


def test_part_is_called_a_part_with_its_counts(home, loaded, capsys):
    few = load(home, limit_train=6)
    assert few.part == loaded.part
    assert "a part of Tiny-ImageNet: 12 of 100,000 training and 6 of 10,000 test" in few.part
    assert "4 and 2 of each of 3 classes" in few.part
    assert few.part in capsys.readouterr().err


def test_two_classes_of_one_word_are_told_apart(damaged):
    words = (damaged / "words.txt").read_text().replace("lemon", "goldfish, another")
    (damaged / "words.txt").write_text(words)
    assert load(damaged).class_names == ("go-kart", "goldfish (n01443537)", "goldfish (n07749582)")


# Where it is found


@pytest.mark.parametrize("given", ["the folder itself", "its zip file", "folder of a zip file"])
def test_same_images_in_the_same_order_come_from(given, loaded, published, published_zip, tmp_path):
    if given == "the folder itself":
        data_dir = shutil.copytree(published, tmp_path / "tiny-imagenet-200")
    elif given == "its zip file":
        data_dir = shutil.copy(published_zip, tmp_path / "another-name.zip")
    else:
        data_dir = tmp_path
        shutil.copy(published_zip, tmp_path / "tiny-imagenet-200-sample.zip")
    assert_same(load(data_dir), loaded)


def test_prepared_copy_alone_is_enough_and_left_as_it_is(loaded, home, tmp_path):
    shutil.copytree(home / "tiny_imagenet", tmp_path / "tiny_imagenet")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert_same(load(tmp_path), loaded)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_copy_is_prepared_once_beside_what_is_published(loaded, home, capsys):
    assert {path.name for path in home.iterdir()} == {"tiny-imagenet-200", "tiny_imagenet"}
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    load(home)
    assert "Preparing" not in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


def test_tfds_itself_reads_the_prepared_copy(loaded, home):
    builder = tfds.builder_from_directory(home / "tiny_imagenet" / "1.0.0")
    assert builder.info.splits["validation"].num_examples == 6
    labels = [int(example["label"]) for example in builder.as_dataset(split="train")]
    assert labels == loaded.y_train.tolist()
    assert builder.info.features["label"].names == list(NAMES)


def test_default_folder_is_that_of_tfds(published, tmp_path, monkeypatch, loaded):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    shutil.copytree(published, tmp_path / "tiny-imagenet-200")
    assert_same(load(None), loaded)


def test_folder_that_cannot_be_written_has_its_copy_in_that_of_tfds(
    published, tmp_path, monkeypatch, loaded
):
    read_only, tfds_folder = tmp_path / "read-only", tmp_path / "tfds"
    shutil.copytree(published, read_only / "tiny-imagenet-200")
    make = tempfile.mkdtemp

    def refuse(suffix=None, prefix=None, dir=None):
        if dir is not None and pathlib.Path(dir) == read_only:
            raise PermissionError("Read-only file system")
        return make(suffix, prefix, dir)

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_folder))
    assert_same(load(read_only), loaded)
    assert [path.name for path in read_only.iterdir()] == ["tiny-imagenet-200"]
    assert [path.name for path in tfds_folder.iterdir()] == ["tiny_imagenet"]
    assert_same(load(read_only), loaded)

    monkeypatch.setenv("TFDS_DATA_DIR", str(read_only))
    line = error_line(read_only)
    assert str(read_only) in line
    assert "TFDS_DATA_DIR" in line


def test_copy_of_other_images_is_not_taken_for_these(loaded, home, damaged, tmp_path):
    shutil.copytree(home / "tiny_imagenet", tmp_path / "tiny_imagenet")
    path = damaged / "train" / WNIDS[0] / "images" / f"{WNIDS[0]}_0.JPEG"
    PIL.Image.new("RGB", (64, 64)).save(path, "JPEG")
    line = error_line(tmp_path)
    assert str(tmp_path / "tiny_imagenet" / "1.0.0") in line
    assert "was not prepared from" in line


def test_broken_copy_is_one_line_that_says_to_remove_it(loaded, home, tmp_path):
    shutil.copytree(home / "tiny_imagenet", tmp_path / "tiny_imagenet")
    file = next(tmp_path.rglob("*validation*"))
    file.write_bytes(file.read_bytes()[:-100])
    line = error_line(tmp_path)
    assert "is broken (" in line
    assert "Remove the folder" in line


def test_several_zip_files_are_named_unless_one_is_the_whole(published_zip, tmp_path, loaded):
    for name in ("tiny-imagenet-200-a.zip", "tiny-imagenet-200-b.zip"):
        shutil.copy(published_zip, tmp_path / name)
    line = error_line(tmp_path)
    assert "tiny-imagenet-200-a.zip, tiny-imagenet-200-b.zip" in line
    shutil.copy(published_zip, tmp_path / "tiny-imagenet-200.zip")
    assert_same(load(tmp_path), loaded)


@pytest.mark.parametrize("exists", [True, False])
def test_what_is_not_there_is_said_with_what_was_looked_for(tmp_path, exists):
    data_dir = tmp_path if exists else tmp_path / "absent"
    line = error_line(data_dir)
    assert f"is not in {data_dir}" in line
    assert "tiny-imagenet-200*.zip" in line
    assert list(tmp_path.iterdir()) == []


# What is damaged


def _without(name):
    def damage(folder):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def _containing(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def _truncated(name):
    def damage(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


def _saved(name, format, size=(64, 64)):
    def damage(folder):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        PIL.Image.new("RGB", size).save(folder / name, format)

    return damage


def _announcing(name, height, width):
    """A JPEG file whose header promises more pixels than it has."""

    def damage(folder):
        content = bytearray((folder / name).read_bytes())
        at = content.index(b"\xff\xc0") + 5
        content[at : at + 4] = height.to_bytes(2) + width.to_bytes(2)
        (folder / name).write_bytes(content)

    return damage


_TRAIN = "train/n07749582/images/n07749582_1.JPEG"
_VAL = "val/images/val_3.JPEG"


@pytest.mark.parametrize(
    "damage, said",
    [
        (_without("wnids.txt"), "wnids.txt is missing"),
        (_without("words.txt"), "words.txt is missing"),
        (_without("val/val_annotations.txt"), "val/val_annotations.txt is missing"),
        (_without("train/n01443537"), "the class folder train/n01443537 is missing"),
        (_without("train/n01443537/images"), "train/n01443537/images holds no JPEG files"),
        (_without("val/images"), "val/images holds no JPEG files"),
        (_without(_TRAIN), "the class n07749582 has 3 train images and others have 4"),
        (_without(_VAL), f"{_VAL} is missing, which val/val_annotations.txt names"),
        (
            _saved("val/images/val_9.JPEG", "JPEG"),
            "val/images/val_9.JPEG has no line in val/val_an",
        ),
        (_saved("train/n1/images/n1_0.JPEG", "JPEG"), "train/n1 is the folder of no class"),
        (
            _containing("words.txt", b"n03444034\tgo-kart\n"),
            "does not say what the class n01443537",
        ),
        (_containing("words.txt", b"\xff\xfe\x00"), "words.txt is not text"),
        (_containing("wnids.txt", b"n01443537\nn01443537\n"), "names the class n01443537 twice"),
        (_containing("wnids.txt", b"\n"), "wnids.txt names 0 classes"),
        (_containing("val/val_annotations.txt", b"val_0.JPEG"), "a line without a class"),
        (_containing(_TRAIN, b""), f"{_TRAIN} is not a JPEG file"),
        (_truncated(_TRAIN), f"{_TRAIN} is not a readable JPEG file"),
        (_truncated(_VAL), f"{_VAL} is not a readable JPEG file"),
        (_saved(_TRAIN, "PNG"), f"{_TRAIN} is not a JPEG file"),
        (_saved(_TRAIN, "JPEG", (32, 48)), f"{_TRAIN} has 48 x 32 pixels"),
        (_announcing(_TRAIN, 60000, 60000), f"{_TRAIN} has 60000 x 60000 pixels"),
        (_containing("words.txt", bytes(17 * 2**20)), "it would hold 17,825,792 bytes"),
    ],
)
def test_damage_is_one_line_and_nothing_is_left_behind(damaged, tmp_path, capfd, damage, said):
    damage(damaged)
    line = error_line(tmp_path)
    assert said in line
    assert str(tmp_path) in line
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-imagenet-200"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_missing_class_is_the_only_thing_said(damaged, tmp_path, capsys):
    shutil.rmtree(damaged / "train" / "n01443537")
    assert "the class folder train/n01443537 is missing" in error_line(tmp_path)
    assert capsys.readouterr() == ("", "")


# The real ones


@pytest.fixture(scope="module")
def real_zip(shared_data_dir):
    path = shared_data_dir.parent / "tiny-imagenet-200-sample.zip"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    return path


def test_part_of_the_real_images_is_balanced_and_has_about_the_published_moments(
    real_zip, tmp_path
):
    shutil.copy(real_zip, tmp_path)
    real = load(tmp_path)
    assert real.x_train.shape == (2000, 64, 64, 3)
    assert real.x_test.shape == (1000, 64, 64, 3)
    assert collections.Counter(real.y_train.tolist()) == dict.fromkeys(range(200), 10)
    assert collections.Counter(real.y_test.tolist()) == dict.fromkeys(range(200), 5)
    assert collections.Counter(real.y_train[:600].tolist()) == dict.fromkeys(range(200), 3)
    assert real.class_names[:3] == ("Egyptian cat", "reel", "volleyball")
    pixels = real.x_train / 255
    np.testing.assert_allclose(pixels.mean((0, 1, 2)), real.mean, atol=0.005)
    np.testing.assert_allclose(pixels.std((0, 1, 2)), real.std, atol=0.005)


def test_unpacked_real_images_are_those_of_the_zip_file(real_zip, tmp_path):
    shutil.copy(real_zip, tmp_path)
    shutil.unpack_archive(real_zip, tmp_path / "unpacked")
    assert_same(load(tmp_path / "unpacked"), load(tmp_path))
