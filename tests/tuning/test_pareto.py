"""The Pareto front on points whose front can be seen, and its picture."""

import matplotlib.image
import numpy as np
import pytest

from keras_mpdsgr import tuning


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(0.9, 0.1), (0.8, 0.4), (0.5, 0.6)], [True, True, True]),
        ([(0.9, 0.4), (0.8, 0.4), (0.9, 0.3)], [True, False, False]),
        ([(0.9, 0.1), (0.7, 0.3), (0.8, 0.4), (0.6, 0.4)], [True, False, True, False]),
        ([(0.5, 0.5), (0.5, 0.5), (0.4, 0.5)], [True, True, False]),
        ([(0.5, 0.5)], [True]),
        ([(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)], [True, True, True, False]),
    ],
)
def test_the_front_holds_what_no_other_point_dominates(points, front):
    assert tuning.pareto_front(points).tolist() == front


def test_every_point_off_the_front_is_dominated_by_one_on_it():
    points = np.random.default_rng(0).random((50, 2))
    front = tuning.pareto_front(points)
    for point in points[~front]:
        better = points[front]
        assert ((better >= point).all(axis=1) & (better > point).any(axis=1)).any()


@pytest.mark.parametrize("points", [[0.1, 0.2], [(0.1, float("nan"))]])
def test_points_that_are_none_are_refused(points):
    with pytest.raises(ValueError, match="`points` must be"):
        tuning.pareto_front(points)


@pytest.mark.parametrize("n", [1, 3])
def test_the_trade_off_is_drawn(n, tmp_path):
    path = tmp_path / "trade-off.png"
    clean, robust, eta = [0.9, 0.8, 0.7], [0.1, 0.3, 0.2], [0.01, 0.1, 1.0]
    tuning.plot_trade_off(path, clean[:n], robust[:n], eta[:n], range(n), best=0)
    assert matplotlib.image.imread(path).std() > 0
    assert [file.name for file in tmp_path.iterdir()] == ["trade-off.png"]
