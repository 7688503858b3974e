"""Image files: which are read, how they are decoded and resized, the same for training and use."""

import collections
import concurrent.futures
import io
import os
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
import PIL.Image
import tensorflow as tf

from keras_mpdsgr.data.image_data import DataNotFoundError
from keras_mpdsgr.data.pipeline import to_pixels
from keras_mpdsgr.data.prepared import first_line

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FORMATS = f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
# TIFF and BigTIFF, in either byte order, which TensorFlow does not decode.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Pillow's modes of at most 8 bits a channel: from others it would cut values off.
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
# ITU-R BT.601, as Pillow and TensorFlow make gray of color. The sum is 1: gray stays what it is.
_LUMINANCE = np.array([0.299, 0.587, 0.114])
_PENDING = 256


def image_paths(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> list[pathlib.Path]:
    """Image files as they are named, folders replaced by all images in them.

    Args:
        paths: A path or several, of image files and of folders. Images of a folder, and of those in
            it, are told by their endings (.png, .jpg, .jpeg, .bmp, .gif, .webp, .tif, .tiff) and
            come sorted.

    Returns:
        A list of `pathlib.Path`.

    Raises:
        ValueError: If `paths` names none.
        DataNotFoundError: If there is nothing at a path, or no image in a folder.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    if not isinstance(given, Iterable) or not (given := list(given)) or not _are_paths(given):
        raise ValueError(
            f"`paths` must be paths of images or of folders of images. Received: {paths!r}."
        )
    found = []
    for path in map(pathlib.Path, given):
        if path.is_dir():
            inside = images_below(path)
            if not inside:
                raise DataNotFoundError(f"{path} holds no images: no {FORMATS} files.")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataNotFoundError(f"There is no image at {path}.")
    return found


def read_images(
    paths: str | os.PathLike | Iterable[str | os.PathLike], input_shape: tuple[int, int, int]
) -> np.ndarray:
    """Reads images as the data set `"folder"` reads them, as pixels that a model takes.

    Each is decoded to 8 bits a channel, without transparency, an animation's first frame; resized
    bilinearly to height and width whatever its own proportions are; and scaled to [0, 1]. For a
    model of one channel, color becomes luminance (ITU-R BT.601).

    Args:
        paths: As of `image_paths`.
        input_shape: `(height, width, channels)` of the model, `model.input_shape[1:]`; 1 or 3
            channels.

    Returns:
        float32 array `(n, height, width, channels)` in [0, 1], in the order of `image_paths`.

    Raises:
        ValueError: If an argument is not what is said above.
        DataNotFoundError: If an image is missing or cannot be read.

    Example:

    >>> import tempfile, keras
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keras.utils.save_img(f"{folder}/gray.png", np.full((16, 16, 1), 51), scale=False)
    ...     x = read_images(folder, (8, 8, 1))
    >>> x.shape, round(float(x[0, 0, 0, 0]), 3)
    ((1, 8, 8, 1), 0.2)
    """
    height, width, channels = _check_shape(input_shape)
    files = image_paths(paths)
    images = np.empty((len(files), height, width, channels), np.uint8)
    for row, pixels in enumerate(read_resized(files, (height, width))):
        images[row] = pixels if channels == 3 else _gray(pixels)
    return to_pixels(images)


def images_below(folder: pathlib.Path) -> list[pathlib.Path]:
    """Images in a folder and in those below it, in the order in which Keras lists them."""
    found = []
    for inside, _, names in sorted(os.walk(folder), key=lambda entry: entry[0]):
        found += [
            pathlib.Path(inside) / name for name in sorted(names) if name.lower().endswith(ENDINGS)
        ]
    return found


def decode(path: pathlib.Path) -> np.ndarray:
    """Pixels of an image file, uint8 `(height, width, 3)`.

    Raises:
        DataNotFoundError: If it is not a readable image.
    """
    try:
        content = path.read_bytes()
        # TensorFlow refuses three channels of a WebP that has transparency.
        if content.startswith(_TIFF) or (content[:4], content[8:12]) == (b"RIFF", b"WEBP"):
            return _decode_by_pillow(content)
        decoded = tf.io.decode_image(content, channels=3, expand_animations=False)
    except (tf.errors.OpError, OSError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataNotFoundError(
            f"{path} is not a readable image ({first_line(error)}). Replace or remove it."
        ) from error
    return decoded.numpy()


def read_resized(paths: Iterable[pathlib.Path], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yields each image in turn, uint8 `(height, width, 3)`; several are decoded at a time.

    Raises:
        DataNotFoundError: If one cannot be read.
    """
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        pending: collections.deque = collections.deque()
        try:
            for path in paths:
                pending.append(pool.submit(_decode_resized, path, size))
                if len(pending) == _PENDING:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _decode_resized(path, size):
    resized = tf.image.resize(decode(path), size, method="bilinear")
    return np.clip(np.rint(resized.numpy()), 0, 255).astype(np.uint8)


def _decode_by_pillow(content: bytes) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(content), formats=["TIFF", "WEBP"]) as image:
        if image.mode not in _MODES:
            raise ValueError(f"pixels of Pillow's mode {image.mode}, not of 8 bits a channel")
        return np.asarray(image.convert("RGB"))


def _gray(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels @ _LUMINANCE).astype(np.uint8)[..., None]


def _are_paths(values) -> bool:
    return all(isinstance(value, str | os.PathLike) for value in values)


def _check_shape(input_shape) -> tuple[int, int, int]:
    sides = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    whole = all(isinstance(n, int) and n > 0 for n in sides)
    if len(sides) != 3 or not whole or sides[2] not in (1, 3):
        raise ValueError(
            "`input_shape` must be (height, width, channels) of a model of images, whole numbers, "
            f"of 1 or 3 channels. Received: {input_shape!r}."
        )
    return sides[0], sides[1], sides[2]
