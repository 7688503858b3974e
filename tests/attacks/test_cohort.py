"""Samples that move through an attack together, and leave it."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_mpdsgr.attacks.cohort import Cohort, fitting_size


def states_of(n, batch_size):
    numbers = np.arange(n)
    return [
        {"number": tf.constant(numbers[i : i + batch_size]), "mode": ((tf.zeros(len(part)),),)}
        for i in range(0, n, batch_size)
        for part in [numbers[i : i + batch_size]]
    ]


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_size_is_the_least_of_the_halves_that_holds_all(samples, batch_size):
    samples = min(samples, batch_size)
    halves = [batch_size]
    while halves[-1] > 1:
        halves.append(-(-halves[-1] // 2))
    assert fitting_size(samples, batch_size) == min(size for size in halves if size >= samples)


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(1, 9), st.integers(0, 2**31 - 1))
def test_each_sample_leaves_once_with_its_own_state(n, batch_size, seed):
    rng = np.random.default_rng(seed)
    lifetime = rng.integers(1, 6, n)
    cohort, left = Cohort(states_of(n, batch_size), batch_size), []
    for step in range(1, 7):
        shown = []
        cohort.apply(lambda state, samples, shown=shown: shown.append((state, samples)) or state)
        assert sum(samples for _, samples in shown) == cohort.samples
        for state, samples in shown:
            assert len(state["number"]) == fitting_size(samples, batch_size)
        for rows, state in cohort.leave(lambda s, step=step: lifetime[s["number"]] <= step):
            np.testing.assert_array_equal(rows, state["number"])
            assert (lifetime[rows] <= step).all()
            left.extend(rows)
        for rows, state in cohort.batches:
            np.testing.assert_array_equal(rows, state["number"][: len(rows)])
    assert sorted(left) == list(range(n)) and cohort.samples == 0


def test_the_rest_move_together_once_that_saves_a_quarter():
    cohort = Cohort(states_of(16, 4), 4)
    assert cohort.leave(lambda s: s["number"].numpy() % 4 == 0) == [] or cohort.samples == 12
    cohort = Cohort(states_of(16, 4), 4)
    cohort.leave(lambda s: s["number"].numpy() % 2 == 0)
    assert [len(rows) for rows, _ in cohort.batches] == [4, 4]
    np.testing.assert_array_equal(
        np.concatenate([rows for rows, _ in cohort.batches]), np.arange(1, 16, 2)
    )
