import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_mpdsgr import data
from keras_mpdsgr.data import pipeline

N = 100


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).integers(0, 256, (N, 16, 12, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def y():
    """The label is the image's index, so that a batch says what is in it."""
    return np.arange(N, dtype=np.int64)


def arrays(batches):
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


def labels_of(batches):
    return np.concatenate([labels for _, labels in arrays(batches)])


def cut(image, padding, row, column, mirrored):
    """One augmented image, from the definition."""
    height, width, _ = image.shape
    padded = np.pad(image, [(padding, padding), (padding, padding), (0, 0)])
    window = padded[row : row + height, column : column + width]
    return window[:, ::-1] if mirrored else window


# Order


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_an_epoch_is_a_permutation(x, y, epoch):
    first, end = 4 * epoch, 4 * (epoch + 1)
    batches = data.training_batches(x, y, 25, seed=42, start_step=first, total_steps=end)
    assert sorted(labels_of(batches)) == list(range(N))


def test_every_epoch_leaves_out_other_images(x, y):
    left_out = set()
    for epoch in range(5):
        batches = data.training_batches(
            x, y, 30, 42, start_step=3 * epoch, total_steps=3 * epoch + 3
        )
        seen = set(labels_of(batches))
        assert len(seen) == 90
        left_out.add(frozenset(range(N)) - seen)
    assert len(left_out) == 5


def test_epochs_and_seeds_have_orders_of_their_own(x, y):
    orders = {
        tuple(labels_of(data.training_batches(x, y, 25, seed, start, total_steps=start + 4)))
        for seed in (0, 256, 2**32)
        for start in (0, 4 * 256)
    }
    assert len(orders) == 6


def test_every_image_is_at_every_place_equally_often():
    x, y = np.zeros((10, 1, 1, 1), np.uint8), np.arange(10)
    batches = data.training_batches(x, y, 10, 42, total_steps=2000, augment=False)
    orders = labels_of(batches).reshape(2000, 10)
    places = np.stack([np.bincount(column, minlength=10) for column in orders.T])
    followers = np.bincount((orders[:, :-1] * 10 + orders[:, 1:]).ravel(), minlength=100)
    pairs = followers.reshape(10, 10)[~np.eye(10, dtype=bool)]
    assert ((places - 200) ** 2 / 200).sum() < 126  # chi-squared, 81 degrees, p = 0.001
    assert ((pairs - 200) ** 2 / 200).sum() < 136  # about 89 degrees


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(-(2**63), 2**63 - 1), start=st.integers(0, 12))
def test_a_run_resumed_at_a_step_is_bit_equal_to_the_unbroken_one(seed, start):
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8), np.arange(40)
    unbroken = arrays(data.training_batches(x, y, 9, seed, total_steps=12))
    resumed = arrays(data.training_batches(x, y, 9, seed, start, total_steps=12))
    assert len(resumed) == 12 - start
    for (images, labels), (expected_images, expected_labels) in zip(
        resumed, unbroken[start:], strict=True
    ):
        np.testing.assert_array_equal(images, expected_images)
        np.testing.assert_array_equal(labels, expected_labels)


def test_batches_do_not_depend_on_the_number_of_threads(x, y):
    batches = data.training_batches(x, y, 25, 42, total_steps=20)
    alone = tf.data.Options()
    alone.threading.private_threadpool_size = 1
    for (images, labels), (expected_images, expected_labels) in zip(
        arrays(batches.with_options(alone)), arrays(batches), strict=True
    ):
        np.testing.assert_array_equal(images, expected_images)
        np.testing.assert_array_equal(labels, expected_labels)


def test_batches_do_not_depend_on_the_global_seed(x, y):
    tf.random.set_seed(1)
    before = arrays(data.training_batches(x, y, 25, 42, total_steps=1))
    tf.random.set_seed(2)
    after = arrays(data.training_batches(x, y, 25, 42, total_steps=1))
    np.testing.assert_array_equal(before[0][0], after[0][0])


# Augmentation


def test_without_augmentation_the_images_come_as_they_are(x, y):
    for images, labels in arrays(data.training_batches(x, y, 25, 42, total_steps=8, augment=False)):
        np.testing.assert_array_equal(images, data.to_pixels(x[labels]))


@pytest.mark.parametrize("padding", [0, 1, 4, 20])
@pytest.mark.parametrize("flip", [True, False])
def test_augmented_images_are_the_drawn_windows_of_the_padded_ones(x, y, padding, flip):
    batches = data.training_batches(x, y, 25, 42, 6, total_steps=9, flip=flip, padding=padding)
    for step, (images, labels) in enumerate(arrays(batches), start=6):
        draws = zip(*pipeline._draws(step, 42, 25, padding, flip), strict=True)
        for image, label, (row, column, mirrored) in zip(images, labels, draws, strict=True):
            expected = cut(x[label], padding, int(row), int(column), bool(mirrored))
            np.testing.assert_array_equal(image, data.to_pixels(expected))


def test_default_border_is_an_eighth_of_the_shorter_side(x, y):
    default = arrays(data.training_batches(x, y, 25, 42, total_steps=1))
    explicit = arrays(data.training_batches(x, y, 25, 42, total_steps=1, padding=12 // 8))
    np.testing.assert_array_equal(default[0][0], explicit[0][0])


def test_half_of_the_images_are_mirrored_and_none_where_it_is_forbidden(x, y):
    def shares(**arguments):
        batches = arrays(
            data.training_batches(x, y, 100, 42, total_steps=40, padding=0, **arguments)
        )
        images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        pixels = data.to_pixels(x[labels])
        plain = (images == pixels).all((1, 2, 3))
        mirrored = (images == pixels[:, :, ::-1]).all((1, 2, 3))
        assert (plain ^ mirrored).all()
        return mirrored.mean()

    assert shares(flip=True) == pytest.approx(0.5, abs=0.03)  # 4 deviations at 4000 images
    assert shares(flip=False) == 0


def test_every_window_is_drawn_equally_often():
    draws = [pipeline._draws(step, 42, 500, 2, True) for step in range(20)]
    rows, columns, mirrored = (np.concatenate(parts) for parts in zip(*draws, strict=True))
    counts = np.bincount(rows * 10 + columns * 2 + mirrored, minlength=50)
    assert len(counts) == 50
    assert ((counts - 200) ** 2 / 200).sum() < 85  # chi-squared, 49 degrees of freedom, p = 0.001


# What comes out


def test_training_batches_have_static_shapes_and_a_length(x, y):
    batches = data.training_batches(x, y, 32, 42, start_step=2, total_steps=9)
    assert len(batches) == 7
    assert batches.element_spec == (
        tf.TensorSpec([32, 16, 12, 3], tf.float32),
        tf.TensorSpec([32], tf.int32),
    )


def test_evaluation_batches_keep_the_order_and_the_remainder(x, y):
    batches = data.evaluation_batches(x, y, 32)
    assert len(batches) == 4
    assert [len(labels) for _, labels in batches] == [32, 32, 32, 4]
    images = np.concatenate([images for images, _ in arrays(batches)])
    np.testing.assert_array_equal(images, data.to_pixels(x))
    np.testing.assert_array_equal(labels_of(batches), y)
    assert batches.element_spec == (
        tf.TensorSpec([None, 16, 12, 3], tf.float32),
        tf.TensorSpec([None], tf.int32),
    )


def test_pixels_are_bytes_divided_by_255():
    stored = np.arange(256, dtype=np.uint8)
    pixels = data.to_pixels(stored)
    assert pixels.dtype == np.float32
    assert pixels.tolist() == [float(np.float32(i / 255)) for i in range(256)]


# Wrong arguments


@pytest.mark.parametrize(
    ("n", "batch_size", "steps"), [(50000, 64, 781), (64, 64, 1), (127, 64, 1)]
)
def test_steps_per_epoch_drop_the_remainder(n, batch_size, steps):
    assert data.steps_per_epoch(n, batch_size) == steps


@pytest.mark.parametrize("batch_size", [-1, 0, 101])
def test_batch_size_outside_the_data_is_answered_with_its_size(x, y, batch_size):
    with pytest.raises(ValueError, match=rf"`batch_size`.*\[1, 100\].*Received: {batch_size}"):
        data.training_batches(x, y, batch_size, 42, total_steps=1)


@pytest.mark.parametrize("start", [-1, 6])
def test_start_outside_the_run_is_refused(x, y, start):
    with pytest.raises(ValueError, match=rf"`start_step`.*\[0, 5\].*Received: {start}"):
        data.training_batches(x, y, 25, 42, start, total_steps=5)


def test_negative_border_is_refused(x, y):
    with pytest.raises(ValueError, match=r"`padding` must be a whole number >= 0 .* Received: -1"):
        data.training_batches(x, y, 25, 42, total_steps=5, padding=-1)


def test_images_that_were_scaled_already_are_refused(x, y):
    scaled = data.to_pixels(x)
    with pytest.raises(ValueError, match="dtype=float32"):
        data.to_pixels(scaled)
    with pytest.raises(ValueError, match="dtype=float32"):
        data.evaluation_batches(scaled, y, 25)


def test_labels_of_another_number_or_type_are_refused(x, y):
    for labels in (y[:-1], y.astype("float32"), y[:, None]):
        with pytest.raises(ValueError, match="one integer label for each of the 100 images"):
            data.evaluation_batches(x, labels, 25)
    with pytest.raises(
        ValueError, match=r"`batch_size` must be a whole number >= 1 .* Received: 0"
    ):
        data.evaluation_batches(x, y, 0)
