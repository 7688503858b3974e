import os
import pathlib
import shutil
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import scipy.ndimage
import sklearn.datasets
import sklearn.metrics
import tensorflow_datasets as tfds

from keras_mpdsgr import data

_REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
_SHARED = _REPOSITORY.parent / "shared" / "data" / "tensorflow_datasets"
REAL = pathlib.Path(os.environ.get("MPDSGR_DATA_DIR", _SHARED))


def needs(name):
    return pytest.mark.skipif(
        not (REAL / name).is_dir(), reason=f"{name} is not prepared in {REAL}; set MPDSGR_DATA_DIR"
    )


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def small_images():
    """30 training and 20 test images as they go into the prepared folder."""
    rng = np.random.default_rng(0)
    return {
        split: [
            {
                "id": f"{split}_{i}",
                "image": rng.integers(0, 256, (32, 32, 3), dtype=np.uint8),
                "label": int(rng.integers(10)),
            }
            for i in range(count)
        ]
        for split, count in (("train", 30), ("test", 20))
    }


@pytest.fixture(scope="module")
def small_folder(small_images, tmp_path_factory):
    """A folder that TFDS itself prepared, under the name and version of CIFAR-10."""
    folder = tmp_path_factory.mktemp("prepared")
    features = tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(32, 32, 3), dtype=np.uint8),
            "label": tfds.features.ClassLabel(names=[f"class {i}" for i in range(10)]),
        }
    )
    version = folder / "cifar10" / "3.0.2"
    version.mkdir(parents=True)
    features.save_config(version)
    identity = tfds.core.dataset_info.DatasetIdentity(
        name="cifar10", version=tfds.core.Version("3.0.2"), data_dir=str(version), module_name=""
    )
    writer = tfds.core.SequentialWriter(
        tfds.core.DatasetInfo(builder=identity, features=features), max_examples_per_shard=8
    )
    writer.initialize_splits(list(small_images))
    writer.add_examples(small_images)
    writer.close_all()
    return folder


@pytest.fixture
def broken_folder(small_folder, tmp_path):
    return shutil.copytree(small_folder, tmp_path / "copy")


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def error_line(**arguments):
    with pytest.raises(data.DataNotFoundError) as caught:
        data.load("cifar10", **arguments)
    line = str(caught.value)
    assert "\n" not in line
    assert "function_node" not in line
    return line


def upsampled(images):
    zoomed = scipy.ndimage.zoom(images, (1, 2, 2), order=1, grid_mode=True, mode="nearest")
    return zoomed * 255 / 16


# Digits


def test_digits_have_the_shapes_and_types_of_image_data(digits):
    assert digits.x_train.shape == (1437, 16, 16, 1)
    assert digits.x_test.shape == (360, 16, 16, 1)
    assert digits.x_train.dtype == digits.x_test.dtype == np.uint8
    assert digits.y_train.dtype == digits.y_test.dtype == np.int32
    assert digits.input_shape == (16, 16, 1)
    assert digits.num_classes == 10
    assert digits.class_names == tuple("0123456789")
    assert not digits.flip


def test_every_digit_is_in_one_split_with_its_own_label_and_its_own_pixels(digits):
    bunch = sklearn.datasets.load_digits()
    expected = upsampled(bunch.images)
    found = np.concatenate([digits.x_train, digits.x_test])[..., 0].astype(float)
    labels = np.concatenate([digits.y_train, digits.y_test])
    nearest = sklearn.metrics.pairwise_distances_argmin(
        found.reshape(1797, -1), expected.reshape(1797, -1)
    )
    assert sorted(nearest) == list(range(1797))
    np.testing.assert_allclose(found, expected[nearest], atol=0.5 + 1e-9)  # uint8 rounds
    np.testing.assert_array_equal(labels, bunch.target[nearest])


def test_split_of_digits_is_stratified(digits):
    train, test = np.bincount(digits.y_train), np.bincount(digits.y_test)
    np.testing.assert_allclose(test, (train + test) / 5, atol=1)


def test_digits_are_the_same_every_time(digits):
    again = data.load("digits")
    np.testing.assert_array_equal(again.x_train, digits.x_train)
    np.testing.assert_array_equal(again.y_test, digits.y_test)


def test_mean_and_deviation_of_digits_are_those_of_the_training_pixels(digits):
    pixels = digits.x_train / 255
    assert digits.mean == pytest.approx([pixels.mean()], abs=1e-4)
    assert digits.std == pytest.approx([pixels.std()], abs=1e-4)


def test_limited_digits_are_the_first_ones(digits):
    few = data.load("digits", limit_train=7, limit_test=3)
    np.testing.assert_array_equal(few.x_train, digits.x_train[:7])
    np.testing.assert_array_equal(few.y_train, digits.y_train[:7])
    np.testing.assert_array_equal(few.x_test, digits.x_test[:3])
    np.testing.assert_array_equal(few.y_test, digits.y_test[:3])


# Wrong arguments


def test_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'digits', 'cifar10', 'cifar100'.*'mnist'"):
        data.load("mnist")
    assert data.names()[:5] == ["digits", "cifar10", "cifar100", "tiny_imagenet", "folder"]


def test_size_of_published_images_cannot_be_chosen():
    with pytest.raises(ValueError, match="`image_size` must be None .* image_size=32 for 'digits'"):
        data.load("digits", image_size=32)


@pytest.mark.parametrize("limit", [-1, 0, 1438])
def test_limit_outside_the_split_is_answered_with_its_size(limit):
    with pytest.raises(ValueError, match=rf"`limit_train`.*\[1, 1437\].*Received: {limit}"):
        data.load("digits", limit_train=limit)


@pytest.mark.parametrize("limit", [0, 21])
def test_limit_outside_a_prepared_split_is_answered_with_its_size(small_folder, limit):
    with pytest.raises(ValueError, match=rf"`limit_test`.*\[1, 20\].*Received: {limit}"):
        data.load("cifar10", small_folder, limit_test=limit)


# A prepared folder


def test_prepared_images_come_in_the_order_of_the_files(small_folder, small_images):
    loaded = data.load("cifar10", small_folder)
    builder = tfds.builder_from_directory(small_folder / "cifar10" / "3.0.2")
    assert builder.info.splits["train"].num_shards > 1
    for split, x, y in (
        ("train", loaded.x_train, loaded.y_train),
        ("test", loaded.x_test, loaded.y_test),
    ):
        np.testing.assert_array_equal(x, [example["image"] for example in small_images[split]])
        np.testing.assert_array_equal(y, [example["label"] for example in small_images[split]])


def test_limited_images_are_the_first_ones(small_folder, small_images):
    few = data.load("cifar10", small_folder, limit_train=11, limit_test=3)
    expected = [example["image"] for example in small_images["train"]]
    np.testing.assert_array_equal(few.x_train, expected[:11])
    assert few.x_test.shape == (3, 32, 32, 3)
    assert few.class_names == tuple(f"class {i}" for i in range(10))


def test_prepared_part_is_called_a_part_with_its_counts(small_folder):
    part = data.load("cifar10", small_folder, limit_train=5).part
    assert part == "a part of CIFAR-10: 30 of 50,000 training and 20 of 10,000 test images"
    assert data.load("digits").part == ""


def test_loading_writes_nothing_into_the_folder(small_folder):
    before = {path: path.stat().st_mtime_ns for path in small_folder.rglob("*")}
    data.load("cifar10", small_folder, limit_train=5, limit_test=5)
    assert {path: path.stat().st_mtime_ns for path in small_folder.rglob("*")} == before


def test_newest_version_is_read(small_folder, tmp_path):
    folder = shutil.copytree(small_folder, tmp_path / "copy")
    (folder / "cifar10" / "3.0.1").mkdir()
    (folder / "cifar10" / "3.0.10.incomplete").mkdir()
    assert len(data.load("cifar10", folder).x_train) == 30


# What is not there


def test_folder_that_does_not_exist_is_named(tmp_path):
    assert str(tmp_path / "absent") in error_line(data_dir=tmp_path / "absent")


def test_missing_data_without_network_is_one_line_in_seconds(no_network, tmp_path, capfd):
    start = time.monotonic()
    line = error_line(data_dir=tmp_path)
    assert time.monotonic() - start < 5
    assert f"CIFAR-10 is not prepared in {tmp_path} " in line
    assert "(no network)" in line
    assert "`data_dir`" in line
    assert "--" not in line
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_environment_variable_names_the_default_folder(no_network, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "mine"))
    assert f"not prepared in {tmp_path / 'mine'} " in error_line()
    assert not (tmp_path / "mine").exists()


class _Preparing:
    """Stands for TFDS' builder: writes `source` where it is told to, and perhaps fails then."""

    def __init__(self, source, fails):
        self.source, self.fails = source, fails

    def __call__(self, name, data_dir):
        self.target = pathlib.Path(data_dir) / name
        return self

    def download_and_prepare(self):
        print("Downloading and preparing dataset ...")
        if self.fails:
            self.target.mkdir()
            (self.target / "half").write_text("a half")
            raise ConnectionError("reset by peer\nand more")
        shutil.copytree(self.source, self.target)


@pytest.fixture
def network(monkeypatch):
    class Answer:
        def close(self):
            pass

    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: Answer())


def test_failed_download_leaves_nothing_behind(network, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tfds, "builder", _Preparing(None, fails=True))
    assert "(reset by peer)" in error_line(data_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert "preparing dataset" not in capsys.readouterr().out


def test_finished_download_is_kept_and_read(network, monkeypatch, small_folder, tmp_path):
    monkeypatch.setattr(tfds, "builder", _Preparing(small_folder / "cifar10", fails=False))
    assert len(data.load("cifar10", tmp_path).x_train) == 30
    monkeypatch.undo()
    assert len(data.load("cifar10", tmp_path).x_train) == 30
    assert [path.name for path in tmp_path.iterdir()] == ["cifar10"]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_file_is_one_line(broken_folder, share):
    file = sorted(broken_folder.rglob("*train*"))[-1]
    os.truncate(file, int(share * file.stat().st_size))
    assert str(broken_folder / "cifar10" / "3.0.2") in error_line(data_dir=broken_folder)


def test_flipped_byte_is_one_line(broken_folder):
    file = min(broken_folder.rglob("*test*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    assert "is broken (corrupted record" in error_line(data_dir=broken_folder)


@pytest.mark.parametrize("pattern", ["*train*00000*", "dataset_info.json", "features.json"])
def test_missing_file_is_one_line(broken_folder, pattern):
    next(broken_folder.rglob(pattern)).unlink()
    assert "is broken (" in error_line(data_dir=broken_folder)


def test_unreadable_description_is_one_line(broken_folder):
    next(broken_folder.rglob("dataset_info.json")).write_text('{"name')
    assert "is broken (" in error_line(data_dir=broken_folder)


# The real ones


@needs("cifar10")
def test_cifar10_is_balanced_and_has_the_published_mean():
    cifar = data.load("cifar10", REAL)
    assert cifar.input_shape == (32, 32, 3)
    np.testing.assert_array_equal(np.bincount(cifar.y_train), [5000] * 10)
    np.testing.assert_array_equal(np.bincount(cifar.y_test), [1000] * 10)
    np.testing.assert_allclose(cifar.x_train.reshape(-1, 3).mean(0) / 255, cifar.mean, atol=1e-4)
    per_image = (cifar.x_train[:5000] / 255).std((1, 2)).mean(0)
    np.testing.assert_allclose(per_image, cifar.std, atol=0.005)
    assert cifar.flip
    assert cifar.part == ""
    few = data.load("cifar10", REAL, limit_train=50, limit_test=20)
    np.testing.assert_array_equal(few.x_train, cifar.x_train[:50])
    np.testing.assert_array_equal(few.y_test, cifar.y_test[:20])


@needs("cifar100")
def test_cifar100_has_fine_labels_and_about_the_published_moments():
    cifar = data.load("cifar100", REAL, limit_train=2000, limit_test=100)
    assert cifar.x_train.shape == (2000, 32, 32, 3)
    assert cifar.num_classes == 100
    assert cifar.class_names[:2] == ("apple", "aquarium_fish")
    assert len(np.unique(cifar.y_train)) == 100
    pixels = cifar.x_train / 255
    np.testing.assert_allclose(pixels.mean((0, 1, 2)), cifar.mean, atol=0.02)
    np.testing.assert_allclose(pixels.std((0, 1, 2)), cifar.std, atol=0.02)
