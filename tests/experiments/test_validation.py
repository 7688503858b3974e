"""Which epoch is kept, and what is measured for it."""

import math

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, attacks, layers
from keras_mpdsgr.experiments.selection import Epoch, best, measured, overfits_catastrophically
from keras_mpdsgr.experiments.validation import RobustValidation, path_of

X = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")
Y = (X[:, 0] > X[:, 1]).astype("int32")


def test_the_most_robust_epoch_is_kept_then_the_more_accurate_then_the_first():
    first, robust, accurate, same = (
        Epoch(1, 0.2, 0.4, 0.9),
        Epoch(2, 0.3, 0.4, 0.6),
        Epoch(3, 0.3, 0.4, 0.7),
        Epoch(4, 0.3, 0.5, 0.7),
    )
    assert best([first, robust, accurate, same]) is accurate
    assert best([first, robust]) is robust
    assert best([]) is None


def test_epochs_are_read_back_without_those_that_were_not_measured():
    metrics = {
        "epoch": [1, 2, 3],
        "val_accuracy": [0.5, 0.6, 0.7],
        "val_robust_accuracy": [math.nan, 0.25, 0.3],
        "val_fgsm_accuracy": [math.nan, 0.4, 0.5],
    }
    assert measured(metrics) == [Epoch(2, 0.25, 0.4, 0.6), Epoch(3, 0.3, 0.5, 0.7)]
    assert measured({"epoch": [1], "val_accuracy": [0.5]}) == []


@pytest.mark.parametrize(
    ("robust", "single_step", "said"),
    [
        (0.0, 0.6, True),  # as Wong et al. (2020) show it: PGD at 0, FGSM higher than before
        (0.14, 0.4, True),
        (0.16, 0.6, False),  # more than half of the best is left
        (0.0, 0.3, False),  # a network that simply got worse
    ],
)
def test_catastrophic_overfitting_is_where_pgd_falls_and_fgsm_does_not(robust, single_step, said):
    before = [Epoch(1, 0.3, 0.4, 0.6), Epoch(2, 0.28, 0.42, 0.6)]
    assert not overfits_catastrophically(before)
    assert overfits_catastrophically([*before, Epoch(3, robust, single_step, 0.7)]) is said


@pytest.fixture(scope="module")
def spiking():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(24),
            layers.DirectEncoder(3),
            LIFLayer(tau=0.5),
            layers.FoldTime(keras.layers.Dense(2)),
            layers.TemporalMean(),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"])
    model.fit(X, Y, epochs=15, verbose=0)
    return model


def validation(model, folder, x=X, y=Y, **changes):
    said = []
    arguments = {
        "eps": 0.1, "every": 1, "epochs": 9, "seed": 4, "batch_size": 16, "done": [],
        "say": said.append,
    }  # fmt: skip
    return RobustValidation(model, x, y, folder, **{**arguments, **changes}), said


def test_what_is_put_into_the_logs_is_what_the_attacks_leave(spiking, tmp_path):
    logs = {"val_accuracy": 0.9}
    callback, _ = validation(spiking, tmp_path)
    callback.on_epoch_end(0, logs)
    single = {"eps": 0.1, "gradient": "assg"}
    for name, attack in {
        "val_robust_accuracy": attacks.PGD(steps=10, step_size=0.025, keep="first", **single),
        "val_fgsm_accuracy": attacks.FGSM(**single),
    }.items():
        # Each attack of an evaluation has a stream of its own, here only PGD's start.
        stream = ("pgd10",) if "robust" in name else ("fgsm",)
        moved = attack.run(attack.target(spiking), X, Y, seed=4, batch_size=16, stream=stream)
        left = spiking.predict(moved, verbose=0).argmax(1) == Y
        clean = spiking.predict(X, verbose=0).argmax(1) == Y
        assert logs[name] == (left & clean).mean(), name
    assert 0 < logs["val_robust_accuracy"] <= logs["val_fgsm_accuracy"] < clean.mean()


def test_epochs_between_are_not_measured_and_the_last_one_is(spiking, tmp_path):
    callback, _ = validation(spiking, tmp_path, every=4)
    seen = {}
    for epoch in range(9):
        logs = {"val_accuracy": 0.9}
        callback.on_epoch_end(epoch, logs)
        seen[epoch + 1] = not math.isnan(logs["val_robust_accuracy"])
    assert [number for number, was in seen.items() if was] == [4, 8, 9]


def test_the_best_epochs_model_is_kept_though_the_weights_move_on(spiking, tmp_path):
    model = keras.models.clone_model(spiking)
    model.set_weights(spiking.get_weights())
    callback, _ = validation(model, tmp_path)
    callback.on_epoch_end(0, {"val_accuracy": 0.9})
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    logs = {"val_accuracy": 0.5}
    callback.on_epoch_end(1, logs)
    # It answers one class, so that no attack changes anything.
    assert logs["val_robust_accuracy"] == 0
    kept = keras.models.load_model(path_of(tmp_path, 1))
    for one, other in zip(kept.get_weights(), spiking.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not path_of(tmp_path, 2).exists()


def test_catastrophic_overfitting_is_said_once(spiking, tmp_path):
    callback, said = validation(spiking, tmp_path, done=[Epoch(1, 0.9, 0.0, 0.9)], eps=0.5)
    for epoch in (1, 2):
        callback.on_epoch_end(epoch, {"val_accuracy": 0.9})
    (line,) = said
    assert "catastrophic overfitting" in line
    assert "Epoch 1 is kept" in line


def test_a_network_without_spikes_is_attacked_by_its_own_gradient(tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    model.set_weights([np.eye(6, 2)[:, ::-1] * 9, np.zeros(2)])
    callback, _ = validation(model, tmp_path)
    logs = {"val_accuracy": 1.0}
    callback.on_epoch_end(0, logs)
    # Linear: an image is broken where its margin is below 2 eps.
    expected = (np.abs(X[:, 0] - X[:, 1]) > 0.2).mean()
    assert logs["val_robust_accuracy"] == pytest.approx(expected, abs=1e-6)
