"""Models that draw at inference: judged by most of several passes, apart from what attacks saw."""

import json

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_mpdsgr import attacks, evaluation
from keras_mpdsgr.evaluation.predictor import Predictor
from keras_mpdsgr.evaluation.statistics import spread

# One pixel x; class 1 where x + noise > 1/2, so that P(class 1) = Phi((x - 1/2) / s).
STD = 0.1
X = np.float32([[0.3]] * 40 + [[0.48]] * 40 + [[0.55]] * 40)
Y = np.repeat([0, 0, 1], 40)


class Noise(keras.layers.Layer):
    """Gaussian noise, in inference too; keeps what it drew."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, x):
        return x + STD * keras.random.normal(tf.shape(x), seed=self.seed_generator)


@pytest.fixture(scope="module")
def model():
    model = keras.Sequential([keras.Input((1,)), Noise(), keras.layers.Dense(2)])
    model.layers[-1].set_weights([np.float32([[-5, 5]]), np.float32([2.5, -2.5])])
    return model


class Stays(attacks.Attack):
    """Moves nothing."""

    eps = 0.1

    def perturb(self, target, x, y, draws):
        return x


def evaluate(model, **options):
    return evaluation.evaluate(model, X, Y, {"stays": Stays()}, batch_size=40, **options)


def test_an_image_is_misclassified_where_most_passes_err(model):
    predictor = Predictor(model, 120, seed=5, votes=11)
    answers = np.stack([predictor.logits(X, vote=vote).argmax(1) for vote in range(11)])
    prediction, _, right = predictor(X, Y)
    np.testing.assert_array_equal(right, (answers == Y).sum(axis=0))
    np.testing.assert_array_equal(prediction == Y, right >= 6)
    assert len(np.unique(answers, axis=0)) == 11


def test_the_wrong_class_that_most_passes_give_is_the_answer(monkeypatch):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4)])
    predictor = Predictor(model, 1, votes=11)
    given = np.eye(4, dtype="float32")[[0] * 4 + [2] * 4 + [3] * 3]
    monkeypatch.setattr(predictor, "logits", lambda x, indices, vote: given[vote][None])
    # Class 0 has as many votes as class 2, but 7 of 11 passes err.
    prediction, loss, right = predictor(np.zeros((1, 1)), np.array([0]))
    assert (prediction[0], right[0]) == (2, 4)
    assert loss[0] == pytest.approx(
        np.mean([-np.log(np.exp(g[0]) / np.exp(g).sum()) for g in given])
    )


def test_the_shares_are_those_of_the_binomial(model):
    report = evaluate(model, votes=101)
    by_chunk = report.clean_right.reshape(3, 40) / 101
    expected = [scipy.stats.norm.cdf(d / STD) for d in (0.2, 0.02, 0.05)]
    np.testing.assert_allclose(by_chunk.mean(axis=1), expected, atol=4 * 0.5 / np.sqrt(40 * 101))
    found = report.spread("clean")
    assert found.mean == pytest.approx(by_chunk.mean())
    deviation = np.sqrt(sum(40 * p * (1 - p) for p in expected)) / 120
    assert found.deviation == pytest.approx(deviation, rel=0.1)


def test_the_spread_is_that_of_single_passes():
    generator = np.random.default_rng(0)
    share = generator.random(200)
    passes = generator.random((20_000, 200)) < share
    found = [spread(passes[i : i + 10].sum(axis=0), 10) for i in range(0, 5000, 10)]
    assert np.mean([one.deviation**2 for one in found]) == pytest.approx(
        passes.mean(axis=1).var(), rel=0.05
    )


def test_no_draw_of_the_judge_is_one_that_an_attack_saw(model):
    predictor = Predictor(model, 40, seed=0, votes=11)
    target = attacks.PGD().target(model)

    def first_noise(judged, seed, part):
        with target.seeded(seed, part, judged):
            return np.asarray(model(X[:40], training=False)[:, 1]).tobytes()

    attacked = {first_noise(None, 0, part) for part in (0, 40, 80)}
    judged = {first_noise(vote, 0, part) for vote in range(11) for part in (0, 40, 80)}
    assert len(judged) == 33
    assert not attacked & judged
    assert predictor.votes == 11


def test_an_attack_fitted_to_its_own_draw_gains_nothing_by_it(model):
    class Lucky(attacks.Attack):
        """Keeps an image clean where the draw that it sees errs, else moves it out of reach."""

        eps = 1.0

        def perturb(self, target, x, y, draws):
            wrong = target.call(self.breaks, x, y)
            away = tf.cast(y, tf.float32)[:, None]
            return tf.where(wrong[:, None], x, away)

    x, y = np.repeat(X[40:80], 10, axis=0), np.repeat(Y[40:80], 10)
    found = evaluation.evaluate(model, x, y, {"lucky": Lucky()}, batch_size=100, drop_broken=False)
    wrong = found.records["lucky"].linf == 0
    assert 0.3 < wrong.mean() < 0.55
    # Judged by fresh draws these are right as often as any: Phi(.2), not never.
    share = found.records["lucky"].right[wrong].mean() / 11
    assert share == pytest.approx(scipy.stats.norm.cdf(0.2), abs=0.05)
    by_chunk = found.correct("lucky").reshape(4, 100).mean(axis=1)
    assert np.ptp(by_chunk) < 0.2


def test_votes_and_spread_are_in_the_file_and_below_the_table(model, tmp_path):
    report = evaluate(model)
    report.to_json(tmp_path / "r.json")
    again = evaluation.Report.from_json(tmp_path / "r.json")
    assert again == report
    held = json.loads((tmp_path / "r.json").read_text())
    assert held["config"]["votes"] == 11
    assert set(held["spread"]) == {"clean", "stays"}
    assert 0 < held["spread"]["clean"]["undecided"] < 1
    np.testing.assert_array_equal(again.records["stays"].right, report.records["stays"].right)
    assert "most of 11 forward passes err" in report.to_markdown()


def test_a_random_models_journal_is_gone_on_with(model, tmp_path):
    first = evaluate(model, journal=tmp_path / "j.csv")
    text = (tmp_path / "j.csv").read_text().splitlines(keepends=True)
    (tmp_path / "j.csv").write_text("".join(text[:-30]))
    again = evaluate(model, journal=tmp_path / "j.csv")
    np.testing.assert_array_equal(again.clean_right, first.clean_right)
    np.testing.assert_array_equal(again.clean_prediction, first.clean_prediction)
    assert again.records["stays"].right.min() >= -1


def test_a_model_that_answers_alike_is_judged_by_one_pass():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    report = evaluate(model)
    assert (report.votes, report.clean_right, report.spread("clean")) == (1, None, None)


@pytest.mark.parametrize("votes", [9, 0, 10.5, "11"])
def test_fewer_than_ten_votes_are_refused(model, votes):
    with pytest.raises(ValueError, match="`votes` must be"):
        evaluate(model, votes=votes)
