"""The search space, and a hypermodel under KerasTuner's own tuner."""

import keras
import keras_tuner
import numpy as np
import pytest

from keras_mpdsgr import data, layers, tuning


def test_eta_and_gamma_are_drawn_evenly_over_their_logarithms():
    space = tuning.SearchSpace(eta=(0.001, 1.0), gamma=(0.25, 4.0))
    hp = keras_tuner.HyperParameters()
    space.values(hp)
    eta, gamma = hp.space
    assert eta.prob_to_value(0.5) == pytest.approx(0.001**0.5)
    assert gamma.prob_to_value(0.25) == pytest.approx(0.5)
    assert space.dimensions == 2


def test_equal_ends_keep_one_value_and_the_rest_is_searched():
    space = tuning.SearchSpace(
        eta=(0.1, 0.1), gamma=(0.5, 2), tau=(0.5, 1), surrogates=["triangle", "arctan"]
    )
    values = space.values(keras_tuner.HyperParameters())
    assert values == {"eta": 0.1, "gamma": 0.5, "tau": 0.5, "surrogate": "triangle"}
    assert space.dimensions == 3


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ({"eta": (0, 1)}, "`eta` must be a positive number"),
        ({"eta": (1, 0.1)}, "lower number first"),
        ({"gamma": (0.5,)}, "`gamma`"),
        ({"gamma": ("wide", 2)}, "`gamma`"),
        ({"gamma": (1, float("inf"))}, "`gamma`"),
        ({"tau": (0.5, 1.5)}, r"`tau` must be a number in \[0, 1\]"),
        ({"surrogates": ["boxcar"]}, "boxcar"),
        ({"surrogates": ["triangle", "triangle"]}, "must differ"),
    ],
)
def test_what_is_no_range_gets_one_clear_line(ranges, said):
    with pytest.raises(ValueError, match=said):
        tuning.SearchSpace(**ranges)


@pytest.fixture(scope="module")
def digits():
    loaded = data.load("digits", limit_train=256, limit_test=20)
    train = data.to_pixels(loaded.x_train), loaded.y_train
    return train, (data.to_pixels(loaded.x_test), loaded.y_test)


def make_model(eta, gamma, learning_rate=5e-3):
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(32),
            keras.layers.BatchNormalization(),
            layers.DirectEncoder(2),
            layers.LIFLayer(gamma=gamma, eta=eta),
            layers.FoldTime(keras.layers.Dense(10)),
            layers.TemporalMean(),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(learning_rate), loss)
    return model


def hyper_model(digits, make):
    return tuning.MPDSGRHyperModel(tuning.RobustObjective(*digits[1], steps=2), make)


@pytest.mark.usefixtures("quick_collection")
def test_a_tuner_of_keras_tuner_searches_it(digits, tmp_path):
    search = hyper_model(digits, make_model)
    goal = search.objective.tuner_objective
    tuner = keras_tuner.RandomSearch(search, goal, max_trials=2, seed=1, directory=str(tmp_path))
    tuner.search(*digits[0], epochs=4, batch_size=32, verbose=0)
    trials = list(tuner.oracle.trials.values())
    assert [trial.status for trial in trials] == ["COMPLETED"] * 2
    for trial in trials:
        clean, robust = (trial.metrics.get_best_value(name) for name in ("clean", "robust"))
        assert trial.score == robust <= clean
        lif = search.build(trial.hyperparameters).layers[4]
        assert lif.eta == trial.hyperparameters.get("eta")
        assert lif.surrogate.gamma == trial.hyperparameters.get("gamma")


def test_trials_of_the_same_values_end_with_the_same_weights(digits, monkeypatch):
    search = hyper_model(digits, make_model)
    monkeypatch.setattr(search.objective, "measure", lambda model: {"failed": 0.0})
    hp, weights = keras_tuner.HyperParameters(), []
    for _ in range(2):
        model = search.build(hp)
        search.fit(hp, model, *digits[0], epochs=1, batch_size=32, verbose=0)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_training_that_loses_its_numbers_is_stopped_and_counts_as_failed(digits):
    search = hyper_model(digits, lambda eta, gamma: make_model(eta, gamma, learning_rate=1e38))
    hp = keras_tuner.HyperParameters()
    model = search.build(hp)
    with pytest.warns(UserWarning, match="are not finite"):
        measured = search.fit(hp, model, *digits[0], epochs=50, batch_size=32, verbose=0)
    assert measured == search.objective.failure()
    assert len(model.history.history["loss"]) < 50


def test_a_way_of_building_must_be_given(digits):
    with pytest.raises(ValueError, match="`make_model` must be given"):
        hyper_model(digits, None).build(keras_tuner.HyperParameters())
