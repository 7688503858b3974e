import collections

import numpy as np
import scipy.stats

from keras_mpdsgr.data.order import mixed, shuffled


def names_of(label, count):
    return [f"{label}/{number}.png" for number in range(count)]


def test_each_stretch_holds_every_class_once():
    order = mixed([names_of(label, 30) for label in range(20)])
    assert sorted(order) == sorted((n, c) for c in range(20) for n in names_of(c, 30))
    labels = np.array([label for _, label in order]).reshape(30, 20)
    np.testing.assert_array_equal(np.sort(labels, axis=1), np.tile(np.arange(20), (30, 1)))
    assert len({tuple(row) for row in labels}) == 30


def test_classes_of_unequal_size_are_spread_in_their_share():
    order = mixed([names_of(0, 100), names_of(1, 300)])
    counts = collections.Counter(label for _, label in order[:200])
    assert abs(counts[0] - 50) <= 1


def test_order_within_a_class_is_that_of_no_number():
    places = [int(name.split("/")[1][:-4]) for name in shuffled(names_of(0, 2000))]
    assert scipy.stats.spearmanr(places, range(2000)).pvalue > 0.01


def test_order_does_not_depend_on_how_the_names_come():
    names = names_of(0, 50)
    assert shuffled(names) == shuffled(names[::-1])
