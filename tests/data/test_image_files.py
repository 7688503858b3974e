import keras
import numpy as np
import PIL.Image
import pytest

from keras_mpdsgr import data

SIZE = (12, 10)  # height, width
RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
GRAY = RNG.integers(0, 256, SIZE, dtype=np.uint8)
EXACT = ("png", "bmp", "tif", "TIFF", "webp")


def saved(folder, pixels, ending, **options):
    path = folder / f"image.{ending}"
    if ending == "webp":
        options["lossless"] = True
    PIL.Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("ending", EXACT)
def test_what_a_format_keeps_is_read_to_the_level(tmp_path, ending):
    path = saved(tmp_path, COLOR, ending)
    x = data.read_images(path, (*SIZE, 3))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(np.rint(x[0] * 255), COLOR)


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "gif"])
def test_a_format_that_loses_is_read_as_pillow_does_but_for_rounding(tmp_path, ending):
    smooth = np.tile(np.linspace(20, 220, 16, dtype=np.uint8)[None, :, None], (16, 1, 3))
    path = saved(tmp_path, smooth, ending)
    x = data.read_images(path, (16, 16, 3))[0] * 255
    np.testing.assert_allclose(x, np.asarray(PIL.Image.open(path).convert("RGB")), atol=4)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "webp"])
def test_images_are_resized_as_keras_resizes_a_folder(tmp_path, ending):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        saved(tmp_path / name, COLOR, ending)
    if ending == "webp":  # which Keras does not list
        (tmp_path / "a" / "image.webp").rename(tmp_path / "a" / "image.png")
        (tmp_path / "b" / "image.webp").rename(tmp_path / "b" / "image.png")
    theirs = keras.utils.image_dataset_from_directory(
        tmp_path, image_size=(7, 9), shuffle=False, verbose=False
    )
    images = next(iter(theirs))[0].numpy()
    x = data.read_images(tmp_path, (7, 9, 3))
    np.testing.assert_array_equal(np.rint(x * 255), np.rint(images))


@pytest.mark.parametrize("ending", EXACT)
def test_gray_is_the_same_in_one_channel_and_in_three(tmp_path, ending):
    if ending == "webp":
        path = saved(tmp_path, np.repeat(GRAY[..., None], 3, axis=2), ending)
    else:
        path = saved(tmp_path, GRAY, ending)
    one = data.read_images(path, (*SIZE, 1))
    np.testing.assert_array_equal(np.rint(one[0, ..., 0] * 255), GRAY)
    np.testing.assert_array_equal(data.read_images(path, (*SIZE, 3)), np.repeat(one, 3, axis=-1))


def test_color_becomes_luminance_as_pillow_has_it(tmp_path):
    x = data.read_images(saved(tmp_path, COLOR, "png"), (*SIZE, 1))[0, ..., 0] * 255
    theirs = np.asarray(PIL.Image.fromarray(COLOR).convert("L"), float)
    assert np.abs(x - theirs).max() <= 1.01  # it cuts fixed-point weights off


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
def test_transparency_is_left_out(tmp_path, ending):
    alpha = RNG.integers(1, 256, (*SIZE, 1), dtype=np.uint8)
    options = {"exact": True} if ending == "webp" else {}
    path = saved(tmp_path, np.concatenate([COLOR, alpha], axis=2), ending, **options)
    x = data.read_images(path, (*SIZE, 3))
    np.testing.assert_array_equal(np.rint(x[0] * 255), COLOR)


@pytest.mark.parametrize("ending", ["gif", "tif"])
def test_of_several_frames_the_first_is_read(tmp_path, ending):
    frames = [PIL.Image.new("RGB", SIZE[::-1], (value,) * 3) for value in (0, 255)]
    path = tmp_path / f"image.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert data.read_images(path, (*SIZE, 3)).max() == 0


def test_a_bright_image_of_more_than_8_bits_is_refused_not_cut_off(tmp_path):
    path = saved(tmp_path, np.full(SIZE, 60000, np.uint16), "tif")
    with pytest.raises(data.DataNotFoundError, match="is not a readable image .*8 bits"):
        data.read_images(path, (*SIZE, 1))


@pytest.mark.parametrize("ending", [*EXACT, "jpg", "gif"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_an_image_that_is_cut_short_is_named_in_one_line(tmp_path, ending, share):
    path = saved(tmp_path, np.kron(COLOR, np.ones((8, 8, 1), np.uint8)), ending)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(data.DataNotFoundError) as caught:
        data.read_images(path, (*SIZE, 3))
    line = str(caught.value)
    assert line.startswith(f"{path} is not a readable image (")
    assert "\n" not in line and "function_node" not in line


def test_folders_stand_for_the_images_in_them_in_a_fixed_order(tmp_path):
    for name in ("b/2.png", "b/10.png", "a/x.JPG", "a/deep/y.tif", "a/notes.txt", "c.bmp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".txt":
            PIL.Image.fromarray(COLOR).save(path)
    given = [tmp_path / "c.bmp", str(tmp_path / "b"), tmp_path / "a"]
    found = [path.relative_to(tmp_path).as_posix() for path in data.image_paths(given)]
    assert found == ["c.bmp", "b/10.png", "b/2.png", "a/x.JPG", "a/deep/y.tif"]
    assert len(data.read_images(given, (4, 4, 3))) == 5


def test_a_path_without_images_is_said_to_have_none(tmp_path):
    with pytest.raises(data.DataNotFoundError, match=f"{tmp_path} holds no images: no .png, "):
        data.image_paths(tmp_path)
    with pytest.raises(data.DataNotFoundError, match="There is no image at .*absent.png"):
        data.image_paths([tmp_path / "absent.png"])


def test_the_digits_come_back_from_files_as_training_has_them(tmp_path):
    digits = data.load("digits", limit_test=5)
    for number, image in enumerate(digits.x_test):
        keras.utils.save_img(tmp_path / f"{number}.png", image, scale=False)
    x = data.read_images(tmp_path, digits.input_shape)
    np.testing.assert_array_equal(x, data.to_pixels(digits.x_test))


def test_a_folder_data_set_holds_tiff_and_webp_too(tmp_path):
    for number, ending in enumerate(EXACT):
        for name in ("a", "b"):
            folder = tmp_path / "train" / name
            folder.mkdir(parents=True, exist_ok=True)
            saved(folder, COLOR, ending).rename(folder / f"{number}.{ending}")
    (tmp_path / "test").symlink_to(tmp_path / "train")
    loaded = data.load("folder", tmp_path)
    assert len(loaded.x_train) == len(loaded.x_test) == 2 * len(EXACT)
    assert (loaded.x_train == COLOR).all()
