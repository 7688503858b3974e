"""Hill climbing: its moves, its bounds, and what it finds where no gradient leads."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_mpdsgr import attacks
from keras_mpdsgr.attacks.draws import SampleDraws
from keras_mpdsgr.attacks.moves import MOST_VALUES, Moves


def staircase(pixels=12, seed=0):
    """Two classes by a sum of steps of the pixels, whose gradient is zero everywhere."""
    weights = np.float32(np.random.default_rng(seed).normal(size=(pixels, 1)))
    image = keras.Input((pixels,))
    steps = keras.layers.Lambda(lambda x: tf.floor(20 * x) / 20, output_shape=(pixels,))(image)
    score = keras.layers.Dense(1, use_bias=False)
    total = score(steps)
    score.set_weights([weights])
    logits = keras.layers.Concatenate()([keras.layers.Rescaling(-1.0)(total), total])
    return keras.Model(image, logits), weights[:, 0]


def images(n, shape=(12,)):
    return np.random.default_rng(1).uniform(0.3, 0.7, (n, *shape)).astype(np.float32)


def predicted(model, x):
    return np.argmax(model(x, training=False), axis=-1)


def test_it_climbs_where_the_gradient_is_zero_to_the_best_corner():
    (model, weights), x = staircase(), images(40)
    y = predicted(model, x)
    towards = np.sign(weights) * np.where(y == 0, 1, -1)[:, None]
    best = np.float32(x + 0.05 * towards)
    reachable = predicted(model, best) != y
    assert 5 < reachable.sum() < 35
    start = attacks.PGD(eps=0.05, steps=1)
    assert (predicted(model, start(model, x, y)) != y).sum() < 0.7 * reachable.sum()
    found = attacks.HillClimbing(start, queries=200)(model, x, y)
    np.testing.assert_array_equal(predicted(model, found) != y, reachable)


def test_more_queries_never_lower_the_margin_and_end_at_a_success():
    (model, _), x = staircase(), images(20)
    y = predicted(model, x)

    def margins(queries):
        start = attacks.PGD(eps=0.05, steps=1)
        found = attacks.HillClimbing(start, queries=queries)(model, x, y)
        logits = np.array(model(found))
        rows = np.arange(len(y))
        return logits[rows, 1 - y] - logits[rows, y]

    few, more = margins(10), margins(60)
    assert (more >= few).all() and (more > few).any()
    np.testing.assert_array_equal(more[few > 0], few[few > 0])


def test_a_sample_goes_its_way_in_any_batch():
    (model, _), x = staircase(), images(21)
    y = predicted(model, x)
    attack = attacks.HillClimbing(attacks.PGD(eps=0.04, steps=1), queries=120)
    whole = attack(model, x, y, batch_size=21)
    np.testing.assert_array_equal(attack(model, x, y, batch_size=4), whole)
    alone = attack(model, x[7:9], y[7:9], indices=np.array([7, 8]))
    np.testing.assert_array_equal(alone, whole[7:9])


@settings(max_examples=20)
@given(st.integers(0, 2**31 - 1), st.sampled_from([(9,), (6, 5, 3), (2, 6, 5, 1)]))
def test_a_move_is_of_few_values_or_of_one_small_square(seed, shape):
    moves = Moves(SampleDraws(seed, np.arange(3)), shape, queries=12)
    assert moves.inside.shape == moves.upwards.shape == (3, 12, *shape)
    for mask in moves.inside.reshape(-1, *shape):
        if 1 <= mask.sum() <= MOST_VALUES:
            continue
        assert len(shape) >= 3
        rows, columns = (
            np.flatnonzero(mask.any(axis=tuple(set(range(mask.ndim)) - {axis})))
            for axis in (mask.ndim - 3, mask.ndim - 2)
        )
        assert len(rows) == len(columns) in (2, 3, 4)
        assert rows[-1] - rows[0] == columns[-1] - columns[0] == len(rows) - 1
        assert mask.sum() == len(rows) ** 2 * shape[-1] * (shape[0] if len(shape) == 4 else 1)


@pytest.mark.parametrize("shape", [(9,), (6, 5, 3), (2, 6, 5, 1)])
def test_moves_are_those_that_the_numbers_say_one_by_one(shape):
    moves = Moves(SampleDraws(7, np.arange(3)), shape, queries=40)
    drawn = SampleDraws(7, np.arange(3)).uniform((40, 21 + shape[-1]), low=0.0, high=1.0).numpy()
    seen = set()
    for sample, query in np.ndindex(3, 40):
        number, size, down, across, kind, *rest = drawn[sample, query]
        places, signs = rest[:8], np.array(rest[8:16]) < 0.5
        inside, upwards = np.zeros(shape, bool), np.zeros(shape, bool)
        if len(shape) >= 3 and kind < 0.5:
            height, width = shape[-3:-1]
            side = (2, 3, 4)[int(size * 3)]
            top, left = int(down * (height - side + 1)), int(across * (width - side + 1))
            inside[..., top : top + side, left : left + side, :] = True
            upwards[inside] = np.broadcast_to(np.array(rest[16:]) < 0.5, shape)[inside]
        else:
            side = 0
            values = list(zip(places, signs, strict=True))
            taken = int(number * 8) + 1
            # Those beyond the number repeat the first one, whose sign holds where two meet.
            for place, sign in values[:taken] + values[:1] * (8 - taken):
                at = int(place * np.float32(inside.size))
                inside.flat[at], upwards.flat[at] = True, sign
        seen.add(side)
        np.testing.assert_array_equal(moves.inside[sample, query], inside)
        np.testing.assert_array_equal(moves.upwards[sample, query] & inside, upwards)
    assert seen == ({0, 2, 3, 4} if len(shape) >= 3 else {0})


def test_its_default_start_is_sa_pgd_and_shares_its_radius():
    attack = attacks.get("hill_climbing", eps=4 / 255, queries=5)
    assert isinstance(attack.start, attacks.SAPGD)
    assert attack.eps == attack.start.eps == 4 / 255
    assert attack.replace(queries=6).queries == 6
    forward = [(None, 6)]
    assert attack.passes() == attack.start.passes() + forward


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"start": "pgd"}, "`start` must be None or an untargeted L-infinity `Attack`"),
        ({"start": attacks.APGD(norm="l2", eps=0.5)}, "`start` must be None or an untargeted"),
        ({"start": attacks.PGD(targeted=True)}, "`start` must be None or an untargeted"),
        ({"start": attacks.PGD(eps=0.1), "eps": 0.2}, "`eps` must be that of `start`, 0.1"),
        ({"start": attacks.PGD(), "eot": 3}, "`eot` must be that of `start`, 1"),
        ({"queries": 0}, "`queries` must be a whole number >= 1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        attacks.HillClimbing(**arguments)


class Shaking(keras.layers.Layer):
    """Adds noise at inference too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.noise = keras.random.SeedGenerator(3)

    def call(self, x):
        return x + 0.05 * keras.random.normal(keras.ops.shape(x), seed=self.noise)


@pytest.mark.parametrize("made_of_others", [False, True])
def test_a_random_model_is_climbed_by_the_mean_of_as_many_draws_as_its_start_takes(made_of_others):
    calm, weights = staircase()
    image = keras.Input((12,))
    model, x = keras.Model(image, calm(Shaking()(image))), images(20)
    y = predicted(calm, x)
    start = attacks.PGD(eps=0.05, steps=1, eot=8)
    if made_of_others:
        start = attacks.Ensemble([start, attacks.BIM(eps=0.05, steps=1, eot=8)])
    attack = attacks.HillClimbing(start, queries=100)
    assert attack.eot == 8 and attack.passes()[-1] == (None, 101 * 8)
    found = attack(model, x, y)
    np.testing.assert_array_equal(attack(model, x, y), found)
    towards = np.sign(weights) * np.where(y == 0, 1, -1)[:, None]
    # Noise hides single moves, not the way they go on the whole.
    assert ((found - x) * towards).mean() > ((start(model, x, y) - x) * towards).mean() + 0.005
