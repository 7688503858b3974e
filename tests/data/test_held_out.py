"""Training images set apart."""

import numpy as np
import pytest

from keras_mpdsgr import data


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_both_parts_together_are_the_training_images_and_the_test_images_stay(digits):
    rest, (x, y) = data.hold_out(digits, 200, seed=3)
    assert (len(x), len(rest.x_train)) == (200, len(digits.x_train) - 200)
    together = np.concatenate([rest.x_train, x]), np.concatenate([rest.y_train, y])
    numbered = [
        sorted(zip(map(bytes, a), b, strict=True))
        for a, b in (together, (digits.x_train, digits.y_train))
    ]
    assert numbered[0] == numbered[1]
    assert rest.x_test is digits.x_test


def test_what_is_left_keeps_its_order_and_the_seed_alone_decides(digits):
    positions = {bytes(image): n for n, image in enumerate(digits.x_train)}
    rest, (x, _) = data.hold_out(digits, 300, seed=5)
    order = [positions[bytes(image)] for image in rest.x_train]
    assert order == sorted(order)
    np.testing.assert_array_equal(data.hold_out(digits, 300, seed=5)[1][0], x)
    assert not np.array_equal(data.hold_out(digits, 300, seed=6)[1][0], x)


@pytest.mark.parametrize("count", [0, 1437, 2.5])
def test_a_part_that_would_be_empty_is_refused(digits, count):
    with pytest.raises(ValueError, match=r"`count` must be a whole number in \[1, 1436\]"):
        data.hold_out(digits, count, seed=0)
