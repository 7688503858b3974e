import math
import shutil

import numpy as np
import PIL.Image
import pytest

from keras_mpdsgr import data

SIZE = (12, 10)  # height, width


def write_images(folder, counts, seed=0, size=SIZE, ending=".png"):
    """Images of random pixels, which PNG keeps as they are."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            PIL.Image.fromarray(pixels).save(folder / name / f"{number}{ending}")
    return folder


@pytest.fixture(scope="module")
def split_folder(tmp_path_factory):
    """With train/ and val/, its classes of different size."""
    folder = tmp_path_factory.mktemp("split")
    write_images(folder / "train", {"cat": 8, "ant": 4, "bee": 4}, seed=0)
    write_images(folder / "val", {"cat": 4, "ant": 2, "bee": 2}, seed=1)
    return folder


@pytest.fixture(scope="module")
def split_images(split_folder):
    return data.load("folder", split_folder)


@pytest.fixture(scope="module")
def single_folder(tmp_path_factory):
    """With class folders alone."""
    return write_images(tmp_path_factory.mktemp("single"), {"yes": 10, "no": 5})


@pytest.fixture
def broken(split_folder, tmp_path):
    return shutil.copytree(split_folder, tmp_path / "copy")


def pixels_below(folder):
    """Bytes of pixels, as Pillow reads them, and the class of each image."""
    found = {}
    for path in folder.glob("*/*.png"):
        found[np.asarray(PIL.Image.open(path)).tobytes()] = path.parent.name
    return found


def labelled(images, labels, class_names):
    named = zip(images, labels, strict=True)
    return {image.tobytes(): class_names[label] for image, label in named}


def error_line(folder, error=data.DataNotFoundError, **arguments):
    with pytest.raises(error) as caught:
        data.load("folder", folder, **arguments)
    line = str(caught.value)
    assert "\n" not in line
    assert "function_node" not in line
    return line


def test_every_image_is_in_its_split_with_its_pixels_and_its_class(split_images, split_folder):
    assert split_images.class_names == ("ant", "bee", "cat")
    for part, x, y in (
        ("train", split_images.x_train, split_images.y_train),
        ("val", split_images.x_test, split_images.y_test),
    ):
        assert labelled(x, y, split_images.class_names) == pixels_below(split_folder / part)
    assert split_images.input_shape == (*SIZE, 3)
    assert split_images.y_train.dtype == np.int32
    assert split_images.flip
    assert split_images.part == ""


def test_mean_and_deviation_are_those_of_all_training_pixels(split_images, split_folder):
    pixels = split_images.x_train / 255
    assert split_images.mean == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-12)
    assert split_images.std == pytest.approx(pixels.std((0, 1, 2)), abs=1e-12)
    few = data.load("folder", split_folder, limit_train=3)
    assert (few.mean, few.std) == (split_images.mean, split_images.std)


def test_limited_images_are_the_first_ones_and_hold_every_class_in_its_share(
    split_images, split_folder
):
    few = data.load("folder", split_folder, limit_train=8, limit_test=4)
    np.testing.assert_array_equal(few.x_train, split_images.x_train[:8])
    np.testing.assert_array_equal(few.y_train, split_images.y_train[:8])
    np.testing.assert_array_equal(few.x_test, split_images.x_test[:4])
    assert np.bincount(few.y_train).tolist() == [2, 2, 4]
    assert np.bincount(few.y_test).tolist() == [1, 1, 2]


def test_test_is_taken_before_val(split_folder, tmp_path):
    folder = shutil.copytree(split_folder, tmp_path / "copy")
    write_images(folder / "test", {"cat": 1, "ant": 1, "bee": 1}, seed=2)
    loaded = data.load("folder", folder)
    found = labelled(loaded.x_test, loaded.y_test, loaded.class_names)
    assert found == pixels_below(folder / "test")


def test_class_folders_alone_are_split_four_to_one_within_each_class(single_folder):
    loaded = data.load("folder", single_folder)
    assert loaded.class_names == ("no", "yes")
    assert np.bincount(loaded.y_train).tolist() == [4, 8]
    assert np.bincount(loaded.y_test).tolist() == [1, 2]
    train = labelled(loaded.x_train, loaded.y_train, loaded.class_names)
    test = labelled(loaded.x_test, loaded.y_test, loaded.class_names)
    assert train | test == pixels_below(single_folder)
    assert not train.keys() & test.keys()


def test_split_and_order_depend_on_names_alone(single_folder, tmp_path):
    moved = shutil.copytree(single_folder, tmp_path / "elsewhere")
    first, second = data.load("folder", single_folder), data.load("folder", moved)
    np.testing.assert_array_equal(first.x_train, second.x_train)
    np.testing.assert_array_equal(first.y_test, second.y_test)


def test_a_class_may_be_called_train(tmp_path):
    write_images(tmp_path, {"train": 5, "plane": 5})
    assert data.load("folder", tmp_path).class_names == ("plane", "train")


def test_images_are_resized_bilinearly_to_height_and_width_asked_for(single_folder):
    loaded = data.load("folder", single_folder, image_size=(6, 5))
    assert loaded.input_shape == (6, 5, 3)
    halves = []
    for path in single_folder.glob("*/*.png"):
        blocks = np.asarray(PIL.Image.open(path)).reshape(6, 2, 5, 2, 3)
        halves.append(blocks.mean((1, 3)))  # what lies halfway between two pixels, in each axis
    for image in loaded.x_train:
        assert min(np.abs(image - half).max() for half in halves) <= 0.5


def test_one_number_is_the_side_of_a_square(single_folder):
    assert data.load("folder", single_folder, image_size=7).input_shape == (7, 7, 3)


def test_images_of_other_sizes_become_as_large_as_the_first(tmp_path):
    write_images(tmp_path, {"a": 3}, size=(8, 9))
    write_images(tmp_path, {"b": 3}, size=(16, 16))
    assert data.load("folder", tmp_path).input_shape == (8, 9, 3)


def test_gray_images_jpeg_files_and_unchanging_channels_are_taken(tmp_path):
    for name, value in (("dark", 0), ("light", 255)):
        (tmp_path / name).mkdir()
        for number, ending in enumerate(("png", "JPG", "jpeg", "bmp")):
            image = PIL.Image.new("RGB" if ending == "bmp" else "L", (8, 8))
            image.paste((0,) * 3 if ending == "bmp" else value, (0, 0, 8, 8))
            image.save(tmp_path / name / f"{number}.{ending}")
    loaded = data.load("folder", tmp_path)
    assert loaded.input_shape == (8, 8, 3)
    shutil.rmtree(tmp_path / "light")
    shutil.copytree(tmp_path / "dark", tmp_path / "darker")
    assert data.load("folder", tmp_path).std == (1.0, 1.0, 1.0)


# Wrong arguments


@pytest.mark.parametrize("image_size", [0, -4, 2.5, "32", (8, 8, 3), (8, 0)])
def test_wrong_size_is_answered_with_what_is_allowed(split_folder, image_size):
    assert "`image_size` must be" in error_line(split_folder, ValueError, image_size=image_size)


def test_folder_must_be_given():
    assert "`data_dir` must be a folder of images" in error_line(None, ValueError)


def test_limit_outside_the_split_is_answered_with_its_size(split_folder):
    line = error_line(split_folder, ValueError, limit_train=17)
    assert "`limit_train`" in line and "[1, 16]" in line and "Received: 17" in line


# What is missing or broken


def test_folder_that_does_not_exist_is_named(tmp_path):
    assert f"{tmp_path / 'absent'} is not a folder" in error_line(tmp_path / "absent")


def test_empty_folder_is_said_to_hold_no_classes(tmp_path):
    assert f"{tmp_path} holds 0 class folders" in error_line(tmp_path)


def test_one_class_is_not_enough(tmp_path):
    write_images(tmp_path, {"only": 3})
    assert "holds 1 class folders" in error_line(tmp_path)


def test_folders_without_images_are_said_to_hold_none(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("no image")
    assert f"{tmp_path} holds no images" in error_line(tmp_path)


def test_class_without_images_is_named(broken):
    for path in (broken / "train" / "bee").iterdir():
        path.unlink()
    assert f"{broken / 'train' / 'bee'} holds no images" in error_line(broken)


@pytest.mark.parametrize("lacking, having", [("val", "train"), ("train", "val")])
def test_class_that_is_in_one_split_alone_is_named(broken, lacking, having):
    shutil.rmtree(broken / lacking / "bee")
    line = error_line(broken)
    assert f"{broken / lacking} has no class folder bee, and {broken / having} has one" in line


def test_training_images_without_test_images_are_refused(broken):
    shutil.rmtree(broken / "val")
    assert "neither test/ nor val/" in error_line(broken)


def test_single_image_of_a_class_cannot_be_split(tmp_path):
    write_images(tmp_path, {"a": 3, "b": 1})
    assert f"{tmp_path / 'b'} holds one image" in error_line(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_broken_image_is_named(broken, share):
    path = broken / "val" / "bee" / "1.png"
    content = path.read_bytes()
    path.write_bytes(content[: math.floor(share * len(content))])
    assert f"{path} is not a readable image" in error_line(broken)
