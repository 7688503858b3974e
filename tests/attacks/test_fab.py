"""FAB: its projection against a solver of linear problems, its images against known distances."""

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_mpdsgr import attacks
from keras_mpdsgr.attacks.hyperplane import shift_to_hyperplane


def solved(point, normal, value):
    """The least largest shift onto the plane within [0, 1] by linear programming; None for none."""
    n = len(point)
    lower, upper = -point, 1 - point
    bound = np.vstack([np.hstack([s * np.eye(n), -np.ones((n, 1))]) for s in (1, -1)])
    result = scipy.optimize.linprog(
        np.r_[np.zeros(n), 1.0],
        A_ub=bound,
        b_ub=np.zeros(2 * n),
        A_eq=np.r_[normal, 0.0][None],
        b_eq=[-value],
        bounds=[*zip(lower, upper, strict=True), (0, None)],
    )
    return result.fun if result.status == 0 else None


def problems(n, number, seed):
    """Points with pixels on the edges, slopes of which some are zero, and values of all sizes."""
    rng = np.random.default_rng(seed)
    points = np.clip(rng.uniform(-0.3, 1.3, size=(number, n)), 0, 1).astype(np.float32)
    normals = rng.normal(size=(number, n)).astype(np.float32)
    normals[rng.uniform(size=normals.shape) < 0.2] = 0
    values = rng.normal(size=number) * rng.choice([0.0, 0.05, 0.5, 3.0], size=number)
    return points, normals, (values * n**0.5).astype(np.float32)


@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_the_shift_is_that_of_a_linear_program(n):
    points, normals, values = problems(n, 25, seed=n)
    found = np.array(shift_to_hyperplane(points, normals, values), np.float64)
    lengths = [solved(*map(np.float64, one)) for one in zip(points, normals, values, strict=True)]
    reachable = np.array([length is not None for length in lengths])
    assert 3 < reachable.sum() < 25
    missing = values + (normals * found).sum(axis=1)
    np.testing.assert_allclose(missing[reachable], 0, atol=1e-5)
    expected = np.array([length for length in lengths if length is not None])
    np.testing.assert_allclose(np.abs(found[reachable]).max(axis=1), expected, atol=1e-6)
    # Else to the corner that is nearest to the plane.
    corners = np.where(normals * np.sign(values)[:, None] > 0, 0.0, 1.0)
    corners = np.where(normals == 0, points, corners)
    np.testing.assert_allclose((points + found)[~reachable], corners[~reachable], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1e-25, 1e-6, 1.0, 1e6]))
def test_the_shift_stays_in_the_box_and_scales_with_nothing(seed, scale):
    points, normals, values = problems(8, 4, seed)
    found = np.array(shift_to_hyperplane(points, normals, values))
    assert np.isfinite(found).all()
    assert ((points + found >= -1e-7) & (points + found <= 1 + 1e-7)).all()
    assert (found[normals == 0] == 0).all()
    scaled = shift_to_hyperplane(points, np.float32(scale) * normals, np.float32(scale) * values)
    np.testing.assert_allclose(scaled, found, atol=1e-5)


def linear_model(weights):
    model = keras.Sequential([keras.Input((len(weights),)), keras.layers.Dense(weights.shape[1])])
    model.set_weights([weights, np.zeros(weights.shape[1], np.float32)])
    return model


@pytest.fixture(scope="module")
def linear():
    """A linear model of five classes, images, their classes and distances to the nearest other."""
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(12, 5)).astype(np.float32)
    x = rng.uniform(size=(20, 12)).astype(np.float32)
    x[:, :3] = x[:, :3].round()
    logits = np.float64(x) @ weights
    y = logits.argmax(axis=1)
    distances = np.full((20, 5), np.inf)
    for i, t in np.ndindex(20, 5):
        if t != y[i]:
            normal = np.float64(weights[:, t] - weights[:, y[i]])
            length = solved(np.float64(x[i]), normal, logits[i, t] - logits[i, y[i]])
            distances[i, t] = np.inf if length is None else length
    return linear_model(weights), x, y, distances.min(axis=1)


def farthest(found, x):
    return np.abs(np.float64(found) - x).max(axis=1)


def test_it_finds_the_distance_to_the_nearest_boundary_of_a_linear_model(linear):
    model, x, y, distances = linear
    # In a ball that holds all, it is done with a sample at the first class that it reaches: so each
    # ball is made as tight as the nearest class.
    for i in range(4):
        attack = attacks.FAB(eps=1.01 * distances[i], steps=30)
        found = attack(model, x[i : i + 1], y[i : i + 1])
        assert np.argmax(model(found)) != y[i]
        assert farthest(found, x[i : i + 1]) == pytest.approx(distances[i], rel=0.01)


def test_it_breaks_those_and_only_those_whose_boundary_lies_in_the_ball(linear):
    model, x, y, distances = linear
    eps = float(np.median(distances))
    assert np.abs(distances / eps - 1).min() > 0.005
    found = attacks.FAB(eps=eps, steps=30)(model, x, y)
    np.testing.assert_array_equal(np.argmax(model(found), axis=1) != y, distances < eps)
    np.testing.assert_array_equal(found[distances > eps], x[distances > eps])
    assert farthest(found, x).max() <= eps
    assert found.min() >= 0 and found.max() <= 1


def test_fewer_classes_are_the_likeliest(linear):
    model, x, y, distances = linear
    eps = float(np.quantile(distances, 0.9))
    two = attacks.FAB(eps=eps, steps=10, targets=2)
    target = two.target(model)
    broken = np.argmax(model(two.run(target, x, y)), axis=1) != y
    assert target.gradient_calls == 20 * 10 * 2
    assert 0 < broken.sum() < 20


def test_a_misclassified_image_is_returned_as_it_is(linear):
    model, x, y, _ = linear
    attack = attacks.FAB(eps=0.5, steps=3)
    target = attack.target(model)
    np.testing.assert_array_equal(attack.run(target, x, (y + 1) % 5), x)
    assert target.gradient_calls == 0


def test_without_a_slope_it_returns_the_clean_image():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer="zeros")])
    model.layers[-1].bias.assign([1.0, 0.0, 0.0])
    x = np.full((2, 4), 0.5, np.float32)
    np.testing.assert_array_equal(attacks.FAB(steps=3, restarts=2)(model, x, np.zeros(2, int)), x)


def test_restarts_draw_by_seed_and_sample_alone():
    """Of a ridge that the linearisation at the clean image points away from."""
    image = keras.Input((6,))

    def scores(x):
        away = keras.ops.sum(x, axis=1, keepdims=True) - 3
        return keras.ops.concatenate([0 * away + 1, 20 * away * (away - 0.1)], axis=1)

    model = keras.Model(image, keras.layers.Lambda(scores, output_shape=(2,))(image))
    x = np.random.default_rng(0).uniform(0.49, 0.51, size=(6, 6)).astype(np.float32)
    y = np.zeros(6, int)
    attack = attacks.FAB(eps=0.1, steps=4, restarts=3)
    whole = attack(model, x, y, seed=3)
    assert (np.abs(whole - x).max(axis=1) > 0.01).any()
    part = attack(model, x[4:], y[4:], seed=3, indices=np.array([4, 5]), batch_size=1)
    np.testing.assert_allclose(part, whole[4:], atol=1e-6)


def test_in_a_model_that_draws_success_is_of_the_mean_logits():
    class Coin(keras.layers.Layer):
        """Adds noise to a logit that is far from enough."""

        def __init__(self):
            super().__init__()
            self.seeds = keras.random.SeedGenerator(1)

        def call(self, x):
            noise = 3 * keras.random.normal(keras.ops.shape(x)[:1], seed=self.seeds)
            return x + noise[:, None] * keras.ops.convert_to_tensor([0.0, 1.0])

    dense = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((3,)), dense, Coin()])
    dense.set_weights([np.full((3, 2), [0.0, 0.1], np.float32), np.array([3.0, 0.0], np.float32)])
    x, y = np.full((20, 3), 0.5, np.float32), np.zeros(20, int)
    moved = [
        (np.abs(attacks.FAB(eps=1.0, steps=2, eot=eot)(model, x, y) - x).max(axis=1) > 0).sum()
        for eot in (1, 16)
    ]
    assert moved[0] > 0 == moved[1]


def test_it_meets_images_of_any_shape():
    model = keras.Sequential(
        [keras.Input((2, 3, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    x = np.random.default_rng(1).uniform(size=(5, 2, 3, 4, 1)).astype(np.float32)
    y = np.argmax(model(x), axis=1)
    found = attacks.FAB(eps=1.0, steps=10)(model, x, y)
    assert (np.argmax(model(tf.constant(found)), axis=1) != y).any()
