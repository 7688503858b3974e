"""Batches whose order and augmentation are a pure function of (seed, step).

Resuming a run at step k therefore needs no iterator state: the batches k, k + 1, ... come out bit
for bit as they would have in the unbroken run, whatever the number of threads.
"""

import math

import numpy as np
import tensorflow as tf

from keras_mpdsgr.arguments import check_flag, check_integer

# One stream of random numbers for each purpose, folded into the seed.
_ORDER, _ROWS, _COLUMNS, _FLIPS = range(4)


def to_pixels(x: np.ndarray) -> np.ndarray:
    """Scales stored images to the pixels that models and attacks work on.

    Args:
        x: uint8 images of any shape, 0 to 255.

    Returns:
        float32 array of the same shape, in [0, 1].

    Raises:
        ValueError: If `x` is not uint8, as a second scaling would pass unseen.

    Example:

    >>> to_pixels(np.array([0, 51, 255], "uint8")).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    x = np.asarray(x)
    if x.dtype != np.uint8:
        raise ValueError(f"`x` must be uint8 images in 0..255. Received: dtype={x.dtype}.")
    return x.astype(np.float32) / np.float32(255)


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Number of full batches in an epoch of `n` images.

    The remainder is dropped: every batch has the same shape, and the shuffle leaves out other
    images in each epoch.

    Args:
        n: Number of training images.
        batch_size: Images in a batch, 1 to `n`.

    Returns:
        `n // batch_size`, at least 1.

    Raises:
        ValueError: If `batch_size` is below 1 or above `n`.

    Example:

    >>> steps_per_epoch(50000, 64)
    781
    """
    check_integer("n", n, "training images", least=1)
    return n // check_integer("batch_size", batch_size, "of the training images", least=1, most=n)


def training_batches(
    x: np.ndarray,
    y: np.ndarray,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    *,
    total_steps: int,
    augment: bool = True,
    flip: bool = True,
    padding: int | None = None,
) -> tf.data.Dataset:
    """Shuffled and augmented batches `start_step` to `total_steps - 1` of a training run.

    Each epoch of `steps_per_epoch(len(x), batch_size)` batches walks through a new permutation of
    the images. Augmentation is a crop of the original size at a random place of the zero-padded
    image, and a horizontal mirroring of every other image on average; both are drawn per image.

    Args:
        x: uint8 images `[N, H, W, C]`. Held once in memory, never copied into a graph.
        y: Integer labels `[N]`.
        batch_size: Images in a batch, 1 to N.
        seed: Of shuffle and augmentation, any 64-bit integer.
        start_step: Global step of the first batch, 0 to `total_steps`.
        total_steps: Global step at which the run ends.
        augment: Whether to crop and flip at all.
        flip: Whether mirroring keeps the label true (`ImageData.flip`).
        padding: Width of the zero border that is cropped from, in pixels. None: an eighth of the
            shorter side, which is 4 at 32 x 32.

    Returns:
        `tf.data.Dataset` of `total_steps - start_step` pairs: float32 images
        `[batch_size, H, W, C]` in [0, 1] and int32 labels `[batch_size]`.

    Raises:
        ValueError: If an argument is out of its range, or `x` and `y` do not belong together.

    Example:

    >>> x, y = np.zeros((100, 8, 8, 1), "uint8"), np.zeros(100, "int32")
    >>> resumed = training_batches(x, y, batch_size=32, seed=42, start_step=5, total_steps=9)
    >>> len(resumed), resumed.element_spec[0].shape
    (4, TensorShape([32, 8, 8, 1]))
    """
    images, labels = _tensors(x, y)
    per_epoch = steps_per_epoch(len(x), batch_size)
    check_flag("augment", augment)
    check_flag("flip", flip)
    check_integer("seed", seed, "64 bits", least=-(2**63), most=2**63 - 1)
    check_integer("total_steps", total_steps, "global step at which the run ends", least=0)
    check_integer("start_step", start_step, "at most `total_steps`", least=0, most=total_steps)
    if padding is None:
        padding = min(x.shape[1:3]) // 8
    check_integer("padding", padding, "width of the zero border, in pixels", least=0)

    def make_batch(step, chosen):
        batch = tf.gather(images, chosen)
        if augment:
            batch = _crop(batch, padding, *_draws(step, seed, batch_size, padding, flip))
        return _scale(batch), tf.gather(labels, chosen)

    count = total_steps - start_step
    first_epoch, skipped = divmod(start_step, per_epoch)
    batches = (
        tf.data.Dataset.range(first_epoch, math.ceil(total_steps / per_epoch))
        .flat_map(lambda epoch: _epoch(epoch, seed, len(x), batch_size))
        .skip(skipped)
        .take(count)
        .map(make_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    )
    batches = batches.apply(tf.data.experimental.assert_cardinality(count))
    return batches.prefetch(tf.data.AUTOTUNE)


def evaluation_batches(x: np.ndarray, y: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """All images in their stored order; the last batch may be smaller.

    Args:
        x: uint8 images `[N, H, W, C]`.
        y: Integer labels `[N]`.
        batch_size: Images in a batch, at least 1.

    Returns:
        `tf.data.Dataset` of pairs: float32 images `[batch, H, W, C]` in [0, 1] and int32 labels
        `[batch]`.

    Raises:
        ValueError: If `batch_size` is below 1, or `x` and `y` do not belong together.

    Example:

    >>> x, y = np.zeros((100, 8, 8, 1), "uint8"), np.zeros(100, "int32")
    >>> [len(labels) for _, labels in evaluation_batches(x, y, batch_size=64)]
    [64, 36]
    """
    images, labels = _tensors(x, y)
    check_integer("batch_size", batch_size, "images in a batch", least=1)

    def make_batch(start):
        chosen = slice(start, start + batch_size)
        return _scale(images[chosen]), labels[chosen]

    starts = tf.data.Dataset.range(0, len(x), batch_size)
    batches = starts.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.prefetch(tf.data.AUTOTUNE)


def _tensors(x: np.ndarray, y: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    """Checks images and labels, and holds them as tensors that a dataset's function captures."""
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype != np.uint8 or x.ndim != 4 or 0 in x.shape:
        raise ValueError(
            "`x` must be uint8 images of shape [N, H, W, C], at least one. "
            f"Received: dtype={x.dtype}, shape={x.shape}."
        )
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"`y` must be one integer label for each of the {len(x)} images. "
            f"Received: dtype={y.dtype}, shape={y.shape}."
        )
    with tf.device("CPU:0"):  # where tf.data works: on a GPU they would be copied for every batch
        return tf.constant(x), tf.constant(y, tf.int32)


def _epoch(epoch, seed: int, n: int, batch_size: int) -> tf.data.Dataset:
    """Global steps of an epoch, each with the int32 `[batch_size]` indices of its images.

    The whole epoch is permuted at once, in milliseconds. `tf.random.experimental.index_shuffle`
    would need no such step, but reads 8 bits of a seed's numbers up to 65,536 images: seeds 42 and
    298 would give the same order, and so would epochs 0 and 256.
    """
    per_epoch = steps_per_epoch(n, batch_size)
    order = tf.random.experimental.stateless_shuffle(tf.range(n), _key(seed, epoch, _ORDER))
    chosen = tf.reshape(order[: per_epoch * batch_size], [per_epoch, batch_size])
    steps = epoch * per_epoch + tf.range(per_epoch, dtype=tf.int64)
    return tf.data.Dataset.from_tensor_slices((steps, chosen))


def _draws(step, seed: int, batch_size: int, padding: int, flip: bool) -> tuple[tf.Tensor, ...]:
    """Top row and left column of each crop in the padded image, and whether it is mirrored."""

    def draw(stream, bound):
        key = _key(seed, step, stream)
        return tf.random.stateless_uniform([batch_size], key, 0, bound, tf.int32)

    mirrored = draw(_FLIPS, 2) == 1 if flip else tf.zeros([batch_size], tf.bool)
    return draw(_ROWS, 2 * padding + 1), draw(_COLUMNS, 2 * padding + 1), mirrored


def _key(seed: int, number, stream: int) -> tf.Tensor:
    """Seed of one purpose (`stream`) at one epoch or step (`number`)."""
    pair = tf.stack([tf.constant(seed, tf.int64), tf.cast(number, tf.int64)])
    return tf.random.experimental.stateless_fold_in(pair, stream)


def _crop(images, padding: int, rows, columns, mirrored) -> tf.Tensor:
    """Cuts one window out of each zero-padded image, mirrored or not, by one gather of pixels."""
    count, height, width, channels = images.shape
    border = [padding, padding]
    padded = tf.pad(images, [[0, 0], border, border, [0, 0]])
    row = rows[:, None] + tf.range(height)
    across = tf.where(mirrored[:, None], tf.range(width - 1, -1, -1), tf.range(width))
    column = columns[:, None] + across
    first = tf.range(count)[:, None] * (height + 2 * padding)
    pixel = ((first + row) * (width + 2 * padding))[:, :, None] + column[:, None, :]
    return tf.gather(tf.reshape(padded, [-1, channels]), pixel)


def _scale(images) -> tf.Tensor:
    return tf.cast(images, tf.float32) / 255.0
