"""A journal's rows belong to one model with all its settings, and to one set of attacks."""

import json

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, attacks, dynamics, evaluation, layers
from keras_mpdsgr.evaluation.identity import attack_key, model_digest

X = np.random.default_rng(0).random((6, 3)).astype("float32")
Y = np.arange(6) % 2


def spiking(timesteps=3, seed=0, gain=4.0, encoder=layers.DirectEncoder, **lif):
    keras.utils.set_random_seed(seed)
    weights = keras.initializers.RandomNormal(stddev=gain, seed=seed)
    return keras.Sequential(
        [
            keras.Input((3,)),
            encoder(timesteps),
            layers.FoldTime(keras.layers.Dense(8, kernel_initializer=weights)),
            LIFLayer(name="lif", **lif),
            layers.FoldTime(keras.layers.Dense(2, kernel_initializer=weights)),
            layers.TemporalMean(),
        ]
    )


CHANGES = {
    "tau": {"tau": 0.25},
    "threshold": {"v_threshold": 3.0},
    "reset": {"reset": "soft"},
    "surrogate": {"surrogate": "sigmoid"},
    "gamma": {"gamma": 0.5},
    "detached": {"detach_reset": True},
    "timesteps": {"timesteps": 5},
    "coding": {"encoder": layers.PoissonEncoder},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_equal_weights_under_other_settings_are_another_model(change):
    one, other = spiking(), spiking(**change)
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model_digest(one) != model_digest(other)


def test_a_model_is_the_same_whatever_keras_calls_its_layers_and_after_it_was_saved(tmp_path):
    one, other = spiking(), spiking()
    names = [[layer.name for layer in model.layers] for model in (one, other)]
    assert names[0] != names[1]
    assert model_digest(one) == model_digest(other)
    one.compile("sgd", "mse")
    one.predict(X, verbose=0)
    assert model_digest(one) == model_digest(other)
    one.save(tmp_path / "model.keras")
    assert model_digest(keras.models.load_model(tmp_path / "model.keras")) == model_digest(other)


def test_an_activation_is_told_from_the_name_of_its_layer():
    def named(activation):
        return keras.Sequential(
            [keras.Input((3,)), keras.layers.Activation(activation, name=activation)]
        )

    assert model_digest(named("relu")) != model_digest(named("sigmoid"))


class Scaled(keras.Model):
    """A subclass that cannot be saved: its settings are told by what it holds and answers."""

    def __init__(self, scale, power=1):
        super().__init__()
        self.scale, self.powers = scale, {"power": power}
        self.head = keras.layers.Dense(2, kernel_initializer="ones")
        self.build((None, 3))

    def build(self, shape):
        self.head.build(shape)

    def call(self, x, training=None):
        return self.scale * self.head(x) ** self.powers["power"]

    def get_config(self):
        raise NotImplementedError


def test_a_subclass_is_told_by_its_values_and_its_answers():
    def digest(model):
        return model_digest(model, lambda: model.predict_on_batch(X))

    assert digest(Scaled(2.0)) == digest(Scaled(2.0))
    assert digest(Scaled(2.0)) != digest(Scaled(2.001))
    assert digest(Scaled(2.0)) != digest(Scaled(2.0, power=2))


def clean(model, journal, suite=None, **options):
    suite = suite or {"fgsm": attacks.FGSM(eps=0.05)}
    return evaluation.evaluate(model, X, Y, suite, journal=journal, batch_size=6, **options)


@pytest.mark.parametrize("change", ["threshold", "timesteps"])
def test_a_journal_of_a_model_with_other_settings_is_not_gone_on_with(tmp_path, change):
    clean(spiking(), tmp_path / "j.csv")
    other = spiking(**CHANGES[change])
    found, alone = clean(other, tmp_path / "j.csv"), clean(other, None)
    for ours, theirs in ((found, alone), (clean(other, tmp_path / "j.csv"), alone)):
        np.testing.assert_array_equal(ours.records["fgsm"].loss, theirs.records["fgsm"].loss)
    assert not np.array_equal(
        clean(spiking(), None).records["fgsm"].loss, alone.records["fgsm"].loss
    )


def test_a_part_of_a_model_with_other_settings_is_not_taken_over(tmp_path):
    half = np.arange(3)
    evaluation.evaluate(
        spiking(tau=0.25), X[:3], Y[:3], {"fgsm": attacks.FGSM()}, journal=tmp_path / "part.csv",
        batch_size=3, indices=half, eps=8 / 255,
    )  # fmt: skip
    with pytest.raises(ValueError, match="`parts` must be computed by the same model"):
        evaluation.evaluate(
            spiking(), X, Y, {"fgsm": attacks.FGSM()}, batch_size=3, eps=8 / 255,
            parts={str(tmp_path / "part.csv"): half},
        )  # fmt: skip


def test_a_transfer_of_another_substitute_is_another_attack():
    def key(model):
        return attack_key(attacks.Transfer(model, attacks.PGD(steps=2)))

    one, weights, settings = spiking(), spiking(), spiking(tau=0.25)
    assert key(one) == key(spiking())
    weights.set_weights([2 * w for w in weights.get_weights()])
    assert key(weights) != key(one) != key(settings)
    inside = attacks.Ensemble([attacks.Transfer(weights, attacks.PGD())])
    assert attack_key(inside) != attack_key(
        attacks.Ensemble([attacks.Transfer(one, attacks.PGD())])
    )


def test_a_backward_given_as_an_object_is_told_by_its_settings_and_not_by_its_address():
    def key(mode):
        return attack_key(attacks.PGD(gradient=mode))

    used = dynamics.get_mode("assg")
    with dynamics.gradient_mode(used):
        spiking()(X)
    assert key(used) == key(dynamics.get_mode("assg"))
    assert key(used) != key(dynamics.get_mode("pdsg"))
    assert json.loads(key(used))["arguments"]["gradient"]["class"] == "ASSG"


def test_rows_of_another_version_of_tensorflow_are_not_gone_on_with(tmp_path, monkeypatch):
    clean(spiking(), tmp_path / "j.csv")
    monkeypatch.setattr("tensorflow.__version__", "0.0")
    before = (tmp_path / "j.csv").read_text().splitlines()[1]
    clean(spiking(), tmp_path / "j.csv")
    assert before.split(",")[0] not in (tmp_path / "j.csv").read_text()
