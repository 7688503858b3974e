"""What a search maximises, and that a masked gradient does not raise it."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import attacks, data, defenses, layers, tuning

EPS, IMAGES = 0.1, 60


def spiking_network(gamma):
    lif = {"tau": 0.5, "surrogate": "triangle", "gamma": gamma}
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(64),
            keras.layers.BatchNormalization(),
            layers.DirectEncoder(2),
            layers.LIFLayer(**lif),
            layers.FoldTime(keras.layers.Dense(48)),
            keras.layers.BatchNormalization(),
            layers.LIFLayer(**lif),
            layers.FoldTime(keras.layers.Dense(10)),
            layers.TemporalMean(),
        ]
    )


@pytest.fixture(scope="module")
def judged():
    digits = data.load("digits", limit_test=IMAGES)
    return data.to_pixels(digits.x_test), digits.y_test


@pytest.fixture(scope="module")
def open_network():
    """A network with a wide surrogate, trained."""
    digits = data.load("digits")
    keras.utils.set_random_seed(0)
    model = spiking_network(gamma=1.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss)
    model.fit(data.to_pixels(digits.x_train), digits.y_train, epochs=8, batch_size=64, verbose=0)
    return model


@pytest.fixture(scope="module")
def masked_network(open_network):
    """The same weights behind a surrogate so narrow that hardly a gradient passes."""
    model = spiking_network(gamma=0.001)
    model.set_weights(open_network.get_weights())
    return model


@pytest.fixture(scope="module")
def objective(judged):
    return tuning.RobustObjective(*judged, eps=EPS, steps=10)


@pytest.fixture(scope="module")
def measured(objective, open_network):
    return objective.measure(open_network)


def right(model, x, y):
    return np.asarray(model(x)).argmax(axis=1) == y


def test_a_masked_gradient_would_win_by_an_attack_that_uses_it(
    open_network, masked_network, judged
):
    naive = attacks.PGD(eps=EPS, steps=10, step_size=EPS / 4, keep="first")
    x, y = judged
    accuracy = {
        name: right(model, naive(model, x, y), y).mean()
        for name, model in {"open": open_network, "masked": masked_network}.items()
    }
    assert accuracy["masked"] > accuracy["open"] + 0.25


def test_a_masked_gradient_gains_nothing(objective, measured, masked_network):
    assert measured["failed"] == 0
    assert objective.measure(masked_network) == measured


def test_robust_are_the_images_that_survive_both_attacks(objective, measured, open_network, judged):
    x, y = judged
    survivors = right(open_network, x, y)
    assert measured["clean"] == pytest.approx(survivors.mean())
    for name, attack in objective.attacks().items():
        # Each attack of an evaluation draws from a stream of its own, by its name.
        target, attacked = attack.target(open_network), np.array(x)
        for rows, found in attack.chunks(target, x, y, seed=objective.seed, stream=(name,)):
            attacked[rows] = found
        holds = right(open_network, attacked, y)
        assert measured[name] == pytest.approx(holds.mean())
        survivors &= holds
    assert measured["robust"] == pytest.approx(survivors.mean())
    assert measured["score"] == measured["robust"] < measured["clean"]


def test_a_defence_around_a_model_changes_nothing(objective, measured, open_network):
    objective_of_training = defenses.AdversarialTraining().objective()
    assert (
        objective.measure(defenses.DefendedModel(open_network, objective_of_training)) == measured
    )


def test_a_network_that_names_one_class_is_dead_however_well_it_resists(
    objective, open_network, judged
):
    _, y = judged
    weights = open_network.get_weights()
    kernel, bias = np.zeros_like(weights[-2]), np.zeros_like(weights[-1])
    bias[np.bincount(y).argmax()] = 2
    open_network.set_weights([*weights[:-2], kernel, bias])
    try:
        dead = objective.measure(open_network)
    finally:
        open_network.set_weights(weights)
    assert dead["clean"] == dead["pgd"] == dead["sapgd"] == np.bincount(y).max() / len(y)
    assert (dead["robust"], dead["score"], dead["failed"]) == (0, 0, 1)


@pytest.mark.parametrize(
    ("options", "clean", "robust", "score"),
    [
        ({"score": "robust"}, 0.9, 0.4, 0.4),
        ({"score": "weighted", "clean_weight": 0.25}, 0.8, 0.4, 0.5),
        ({"score": "weighted", "clean_weight": 1}, 0.8, 0.4, 0.8),
        ({"score": "constrained", "clean_floor": 0.8}, 0.8, 0.4, 0.4),
        ({"score": "constrained", "clean_floor": 0.8}, 0.7, 0.6, -0.1),
        ({"score": "constrained", "clean_floor": 0.8}, 0.8, 0.0, 0.0),
    ],
)
def test_the_score_is(judged, options, clean, robust, score):
    objective = tuning.RobustObjective(*judged, **options)
    assert objective.score_of(clean, robust) == pytest.approx(score)


@pytest.mark.parametrize("score", tuning.SCORES)
def test_no_network_that_works_scores_below_one_that_cannot_be_asked(judged, score):
    objective = tuning.RobustObjective(*judged, score=score)
    failure = objective.failure()
    assert failure["failed"] == 1
    for clean, robust in ((0.0, 0.0), (0.3, 0.1), (0.9, 0.0), (0.9, 0.5)):
        assert objective.score_of(clean, robust) >= failure["score"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"score": "fast"}, "`score` must be one of 'robust'"),
        ({"clean_weight": 1.5}, "`clean_weight`"),
        ({"clean_floor": float("nan")}, "`clean_floor`"),
        ({"eps": 2}, "`eps`"),
        ({"steps": 0}, "`steps`"),
        ({"jit": "maybe"}, "`jit`"),
    ],
)
def test_arguments_out_of_range_get_one_clear_line(judged, options, said):
    with pytest.raises(ValueError, match=said):
        tuning.RobustObjective(*judged, **options)
