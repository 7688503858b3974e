"""No attack leaves its ball, nor the valid pixels, by so much as a rounding."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import keras
import numpy as np
import pytest

from keras_mpdsgr import attacks
from keras_mpdsgr.attacks.ball import ball

ATTACKS = {
    "fgsm": lambda eps, step_size: attacks.FGSM(eps=eps),
    "pgd_last": lambda eps, step_size: attacks.PGD(eps=eps, steps=3, step_size=step_size),
    "pgd_first": lambda eps, step_size: attacks.PGD(
        eps=eps, steps=3, step_size=step_size, keep="first"
    ),
    "bim_last": lambda eps, step_size: attacks.BIM(eps=eps, steps=3, step_size=step_size),
    "bim_first": lambda eps, step_size: attacks.BIM(
        eps=eps, steps=3, step_size=step_size, keep="first"
    ),
}
ONE_BELOW = float(np.nextafter(np.float32(1), np.float32(0)))

radii = st.sampled_from([0.0, 1e-30, 1e-9, 1 / 255, 8 / 255, 0.1, 0.5, 1.0]) | st.floats(0, 1)
# The smallest is 2**-24: TensorFlow flushes subnormal numbers to zero.
pixels = st.sampled_from([0.0, 2**-24, 0.5, ONE_BELOW, 1.0]) | st.floats(2**-24, 1, width=32)
images = hnp.arrays(np.float32, (3, 2, 2, 1), elements=pixels)
step_sizes = st.sampled_from([0.0, 1e-9, 0.01, 1.0])


@pytest.fixture(scope="module")
def curved_model():
    """Of three classes, with gradients of either sign within the ball."""
    keras.utils.set_random_seed(3)
    steep = keras.initializers.RandomNormal(stddev=4.0)
    return keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="tanh", kernel_initializer=steep),
            keras.layers.Dense(3),
        ]
    )


def assert_inside(found, x, eps):
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    # float64: the difference of two float32 pixels is then exact.
    assert np.abs(found.astype(np.float64) - x.astype(np.float64)).max() <= eps


@pytest.mark.parametrize("name", ATTACKS)
@hypothesis.settings(max_examples=40)
@hypothesis.given(x=images, eps=radii, step_size=step_sizes, seed=st.integers(0, 99))
def test_no_attack_leaves_its_ball_or_the_valid_pixels(name, curved_model, x, eps, step_size, seed):
    found = ATTACKS[name](eps, step_size)(curved_model, x, np.array([0, 1, 2]), seed=seed)
    assert_inside(found, x, eps)


@pytest.mark.parametrize("name", ATTACKS)
@hypothesis.settings(max_examples=15)
@hypothesis.given(x=images)
def test_a_radius_of_zero_gives_the_image_back(name, curved_model, x):
    found = ATTACKS[name](0.0, 0.1)(curved_model, x, np.array([0, 1, 2]))
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("name", ["fgsm", "bim_last"])
@pytest.mark.parametrize("eps", [8 / 255, 0.5, 1.0])
def test_the_whole_ball_is_used(name, curved_model, eps):
    x = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 2, 2, 1)
    found = ATTACKS[name](eps, 1.0)(curved_model, x, np.array([0, 1, 2]))
    highest, lowest = np.minimum(x + eps, 1), np.maximum(x - eps, 0)
    at_an_end = np.isclose(found, highest, atol=1e-6) | np.isclose(found, lowest, atol=1e-6)
    assert at_an_end.all()


@hypothesis.settings(max_examples=150)
@hypothesis.given(x=pixels, other=pixels, nearer=st.booleans())
def test_a_ball_holds_a_pixel_exactly_where_the_distance_is_no_more_than_its_radius(
    x, other, nearer
):
    distance = abs(x - other)
    eps = float(np.nextafter(distance, 0.0)) if nearer and distance > 0 else distance
    low, high = (float(end[0, 0]) for end in ball(np.float32([[x]]), eps))
    assert (low <= other <= high) == (distance <= eps)


def test_a_pixel_one_rounding_of_float64_outside_the_ball_is_not_in_it():
    distance = 1.0 - float(np.float32(0.9))
    eps = float(np.nextafter(distance, 0.0))  # so that 1 - eps rounds to 0.9 in float64
    low, _ = ball(np.float32([[1.0]]), eps)
    assert 1.0 - float(low[0, 0]) <= eps
