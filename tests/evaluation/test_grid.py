"""Images of 8 bits a pixel: on the grid, in the ball, and misleading wherever one such image is."""

import itertools
import json

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from keras_mpdsgr import attacks, evaluation
from keras_mpdsgr.evaluation.grid import GridSearch, on_grid
from keras_mpdsgr.evaluation.predictor import Predictor

PIXELS = 3


def linear(weights, threshold):
    """Class 1 where `weights . x > threshold`."""
    dense = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((len(weights),)), dense])
    kernel = np.stack([np.zeros(len(weights)), weights], axis=1)
    dense.set_weights([50 * kernel.astype("float32"), np.float32([50 * threshold, 0])])
    return model


@pytest.fixture(scope="module")
def model():
    return linear([1.0, -0.7, 0.45], 0.3)


@pytest.fixture(scope="module")
def predictor(model):
    return Predictor(model, 1)


def distances(images, x, norm):
    moved = (images.astype(np.float64) - x).reshape(len(x), -1)
    return np.linalg.norm(moved, ord=np.inf if norm == "linf" else 2, axis=1)


@hypothesis.given(
    st.lists(st.integers(0, 255), min_size=PIXELS, max_size=PIXELS),
    st.lists(st.floats(-1, 1), min_size=PIXELS, max_size=PIXELS),
    st.sampled_from(["linf", "l2"]),
    st.floats(0.5, 12),
    st.integers(0, 9),
)
@hypothesis.settings(max_examples=150)
def test_every_image_lies_on_the_grid_and_in_the_ball(predictor, levels, moves, norm, reach, n):
    x = np.float32([levels]) / np.float32(255)
    eps = reach / 255
    offset = eps * np.array(moves) / (1 if norm == "linf" else max(np.linalg.norm(moves), 1))
    adversarial = np.clip(x + offset, 0, 1).astype("float32")
    attack = attacks.APGD(norm=norm, eps=eps)
    search = GridSearch(predictor, queries=5)
    found = search(x, adversarial, np.array([n % 2]), np.array([n]), attack)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(
        np.rint(255.0 * found).astype(np.float32) / np.float32(255), found
    )
    assert found.min() >= 0 and found.max() <= 1
    assert distances(found, x, norm) <= eps + 1e-6


@pytest.mark.parametrize("seed", range(12))
def test_an_image_is_found_wherever_one_of_all_misleads(model, predictor, seed):
    generator = np.random.default_rng(seed)
    eps = 2 / 255
    weights = np.array([1.0, -0.7, 0.45])
    # Near enough to the border for about half of the balls to hold a misleading image.
    while True:
        levels = generator.integers(5, 250, PIXELS)
        gap = 0.3 * 255 - weights @ levels
        if 0 < gap < 6:
            break
    x = (levels / 255).astype("float32")[None]
    steps = np.array(list(itertools.product(range(-2, 3), repeat=PIXELS)))
    images = ((levels + steps) / 255).astype("float32")
    possible = bool((Predictor(model, len(images)).logits(images).argmax(axis=1) == 1).any())
    adversarial = x + np.float32(eps * np.sign(weights) * generator.random(PIXELS))
    search = GridSearch(predictor)
    found = search(x, adversarial, np.array([0]), np.array([seed]), attacks.PGD(eps=eps))
    assert bool(predictor.logits(found).argmax() == 1) == possible


def test_plain_rounding_may_undo_what_the_search_keeps(predictor):
    # 1 . 77.4 - .7 . 2.45 + .45 . 3.45 = 77.2 > 76.5, the border; rounded: 77 - 1.4 + 1.35.
    x = np.float32([[75, 4, 2]]) / np.float32(255)
    adversarial = np.float32([[75.45, 3.55, 3.49]]) / np.float32(255)
    border = linear([1.0, -0.7, 0.45], (75.45 - 0.7 * 3.55 + 0.45 * 3.49 - 0.01) / 255)
    judge = Predictor(border, 1)
    assert judge.logits(adversarial).argmax() == 1
    assert judge.logits(on_grid(adversarial, 8)[0]).argmax() == 0
    attack = attacks.PGD(eps=2 / 255)
    found = GridSearch(judge)(x, adversarial, np.array([0]), np.array([0]), attack)
    assert judge.logits(found).argmax() == 1


def test_whether_images_lie_on_the_grid_is_told():
    x = np.random.default_rng(0).integers(0, 256, (4, 5)).astype("uint8")
    pixels = x.astype("float32") / 255
    held, were = on_grid(pixels, 8)
    assert were
    np.testing.assert_array_equal(held, pixels)
    held, were = on_grid(pixels + np.float32(0.001), 8)
    assert not were
    np.testing.assert_array_equal(held, pixels)


class Shift(attacks.Attack):
    """Moves every pixel up by its radius."""

    def __init__(self, eps):
        super().__init__()
        self.eps, self.seen = eps, 0

    def perturb(self, target, x, y, draws):
        self.seen += int(x.shape[0])
        return tf.clip_by_value(x + self.eps, 0.0, 1.0)


# Class 1 above 127.5/255: the first is broken by half a level and more, the second by two levels.
LEVELS = np.float32([[127], [126], [100], [200]])
X = LEVELS / np.float32(255)
Y = np.array([0, 0, 0, 0])


def evaluate(x=X, drop_broken=True, **options):
    suite = {"fine": Shift(0.7 / 255), "coarse": Shift(2 / 255)}
    model = linear([1.0], 127.5 / 255)
    report = evaluation.evaluate(
        model, x, Y, suite, eps=2 / 255, grid=8, drop_broken=drop_broken, batch_size=1, **options
    )
    return report, suite


def test_figures_on_the_grid_are_those_counted_by_hand(tmp_path):
    report, suite = evaluate()
    assert report.accuracy == {"fine": 0.5, "coarse": 0.25}
    # Within .7 of a level there is no other level.
    on_eight = report.shares(on_grid=True)
    assert {name: share.value for name, share in on_eight.items()} == {
        "clean": 0.75, "fine": 0.75, "coarse": 0.25, "worst_case": 0.25,
    }  # fmt: skip
    assert (report.worst_case, report.worst_case_grid) == (0.25, 0.25)
    # Broken, but not on the grid: it is attacked again, and counts as before off the grid.
    assert suite["coarse"].seen == 3
    assert report.records["coarse"].prediction.tolist() == [-1, 1, 0, -1]
    assert report.records["coarse"].grid.tolist() == [1, 1, 0, -1]
    report.to_json(tmp_path / "r.json")
    held = json.loads((tmp_path / "r.json").read_text())
    assert (held["worst_case_grid"], held["grid"]["fine"]) == (0.25, 0.75)
    assert evaluation.Report.from_json(tmp_path / "r.json") == report
    assert "| fine | 50.00% |" in report.to_markdown()
    assert "| on 8 bits |" in report.to_markdown()


def test_without_a_grid_nothing_is_said_of_it():
    model = linear([1.0], 127.5 / 255)
    report = evaluation.evaluate(model, X, Y, {"fine": Shift(0.7 / 255)})
    assert report.worst_case_grid is None and report.shares(on_grid=True) == {}
    assert "bits" not in report.to_markdown()


def test_the_grid_spares_nothing_where_nothing_is_spared():
    spared, _ = evaluate()
    full, _ = evaluate(drop_broken=False)
    assert full.accuracy == {"fine": 0.5, "coarse": 0.25}
    assert full.worst_case_grid == spared.worst_case_grid


def test_clean_images_off_the_grid_are_rounded_and_it_is_said():
    report, _ = evaluate(x=X + np.float32(0.3 / 255))
    assert report.config["images_on_grid"] is False
    assert "they were rounded" in report.to_markdown()
    assert evaluate()[0].config["images_on_grid"] is True


def test_a_journal_of_the_grid_is_gone_on_with(tmp_path):
    expected, _ = evaluate()
    for _ in range(2):
        report, suite = evaluate(journal=tmp_path / "j.csv")
        for name, record in expected.records.items():
            np.testing.assert_array_equal(report.records[name].grid, record.grid)
            np.testing.assert_array_equal(report.records[name].prediction, record.prediction)
    assert suite["coarse"].seen == 0


@pytest.mark.parametrize("grid", [4, 16, 0, "8", True])
def test_another_grid_is_refused(grid):
    with pytest.raises(ValueError, match="`grid` must be"):
        evaluation.evaluate(linear([1.0], 0.5), X, Y, ["fgsm"], grid=grid)
