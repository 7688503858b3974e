"""DefendedModel against plain `fit`, on two replicas, resumed, under XLA; the registry."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, defenses, keras_internals, layers, models
from keras_mpdsgr.defenses import AdversarialTraining, DefendedModel, Objective
from keras_mpdsgr.experiments.checkpoints import EpochSeeds
from keras_mpdsgr.models.policies import policy_scope

X = np.random.default_rng(0).uniform(size=(24, 6)).astype("float32")
Y = (X.mean(1) > 0.5).astype("int32")


def spiking_network(eta=0.1, kind=models.SpikingModel, **options):
    """One layer of neurons, an L2 term on the first kernel."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6,))
    hidden = keras.layers.Dense(8, kernel_regularizer=keras.regularizers.L2(0.01))(image)
    spikes = LIFLayer(eta=eta, **options)(layers.DirectEncoder(2)(hidden))
    return kind(image, keras.layers.Dense(2)(layers.TemporalMean()(spikes)))


def compiled(model, jit=False, rate=0.2):
    model.compile(
        optimizer=keras.optimizers.SGD(rate, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit,
    )
    return model


def fit(model, **options):
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, **options}
    return model.fit(X, Y, **options).history


class Twice(Objective):
    """Two passes in training, over other images each."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def __call__(self, model, x, y, task_loss):
        model(self.scale * x, training=True)
        return super().__call__(model, x, y, task_loss)


class MeanAsLoss(keras.layers.Layer):
    def call(self, inputs, training=None):
        self.add_loss(keras.ops.mean(inputs))
        return inputs


# Like plain fit -----------------------------------------------------------------------------------


def test_with_the_plain_loss_it_trains_and_shows_what_the_model_itself_would():
    itself = compiled(spiking_network())
    inner = spiking_network()
    defended = compiled(DefendedModel(inner))
    options = {"epochs": 2, "validation_data": (X, Y), "sample_weight": np.linspace(0, 2, 24)}
    expected, found = fit(itself, **options), fit(defended, **options)
    assert set(found) == set(expected) >= {"accuracy", "omega", "firing_rate", "val_loss"}
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-6), name
    for weight, other in zip(itself.get_weights(), inner.get_weights(), strict=True):
        np.testing.assert_allclose(other, weight, rtol=1e-5, atol=1e-7)
    assert defended.evaluate(X, Y, verbose=0) == pytest.approx(itself.evaluate(X, Y, verbose=0))
    predicted = defended.predict(X, verbose=0)
    np.testing.assert_array_equal(predicted, inner.predict(X, verbose=0))
    assert defended.count_params() == inner.count_params()


def test_omega_and_regularizers_count_once_where_the_model_is_called_twice():
    once = fit(compiled(DefendedModel(spiking_network())))["loss"]
    twice = fit(compiled(DefendedModel(spiking_network(), Twice())))["loss"]
    assert twice == pytest.approx(once, rel=1e-6)


def test_added_losses_of_two_passes_count_as_their_mean():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(2, kernel_initializer="zeros")(
        MeanAsLoss()(inputs)
    ))  # fmt: skip
    loss = fit(compiled(DefendedModel(model, Twice(scale=3.0))), batch_size=24)["loss"]
    assert loss[0] == pytest.approx(np.log(2) + (X.mean() + 3 * X.mean()) / 2, rel=1e-6)


def test_the_loss_shown_is_the_mean_over_unequal_batches():
    model = DefendedModel(spiking_network(eta=0.0))
    plain = compiled(model, rate=0.0).evaluate(X[:10], Y[:10], verbose=0)[0]
    history = model.fit(X[:10], Y[:10], batch_size=8, verbose=0, shuffle=False).history
    assert history["loss"][0] == pytest.approx(plain, rel=1e-6)


def test_a_callback_of_the_spiking_layers_works_on_it():
    model = compiled(DefendedModel(spiking_network(eta=1.0)), rate=0.0)
    losses = fit(model, batch_size=24, epochs=2, callbacks=[defenses.EtaWarmup(1)])
    assert losses["loss"][1] - losses["loss"][0] == pytest.approx(losses["omega"][0], rel=1e-5)


class Subclassed(keras.Model):
    """Without a `training` argument."""

    def __init__(self):
        super().__init__()
        self.read_out = keras.layers.Dense(2)

    def call(self, inputs):
        return self.read_out(inputs)


@pytest.mark.parametrize("kind", [Subclassed, lambda: keras.Sequential([keras.layers.Dense(2)])])
def test_a_model_that_is_not_built_yet_is_trained_too(kind):
    inner = kind()
    fit(compiled(DefendedModel(inner, AdversarialTraining().objective())), steps_per_epoch=2)
    assert inner.count_params() == 14


def test_half_precision_trains_under_loss_scaling_close_to_single_precision():
    single = fit(compiled(DefendedModel(spiking_network(), Twice())), epochs=2)
    with policy_scope("mixed_float16"):
        model = compiled(DefendedModel(spiking_network(), Twice()))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    half = fit(model, epochs=2)
    assert half["loss"] == pytest.approx(single["loss"], rel=0.02)
    assert half["loss"][1] < half["loss"][0]


# Saving and going on ------------------------------------------------------------------------------


def adversarial(jit=False):
    objective = AdversarialTraining(eps=0.1, step_size=0.05, seed=5).objective()
    return compiled(DefendedModel(spiking_network(), objective), jit)


def test_a_training_cut_off_and_resumed_ends_with_the_same_bits(tmp_path):
    whole = adversarial()
    fit(whole, epochs=3, callbacks=[EpochSeeds(7)])
    broken = adversarial()
    fit(broken, epochs=1, callbacks=[EpochSeeds(7)])
    broken.save_weights(tmp_path / "one.weights.h5")
    resumed = adversarial()
    resumed.optimizer.build(resumed.trainable_variables)
    resumed.load_weights(tmp_path / "one.weights.h5")
    fit(resumed, epochs=3, initial_epoch=1, callbacks=[EpochSeeds(7)])
    for weight, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(other, weight)
    assert int(resumed.optimizer.iterations) == 9


def test_what_it_saves_is_the_model_and_loads_without_the_defence(tmp_path):
    model = adversarial()
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras")
    assert type(loaded) is models.SpikingModel
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))


def test_the_adversarys_generator_is_found_among_the_layers():
    model = adversarial()
    generators = keras_internals.seed_generators(model)
    assert generators == model.objective.adversary.seed_generators()


# Every objective ----------------------------------------------------------------------------------

# Without random draws, which XLA makes otherwise.
OBJECTIVES = {
    "sr": lambda: defenses.SparseGradient(weight=0.01).objective(),
    "dlif": lambda: defenses.DLIF().objective(AdversarialTraining(eps=0.05)),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_falls_in_training_and_is_the_same_under_xla(name):
    plain = fit(compiled(DefendedModel(spiking_network(), OBJECTIVES[name]())), epochs=8)
    assert plain["loss"][-1] < plain["loss"][0] - 0.1
    under_xla = compiled(DefendedModel(spiking_network(), OBJECTIVES[name]()), jit=True)
    assert fit(under_xla, epochs=2)["loss"] == pytest.approx(plain["loss"][:2], rel=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AdversarialTraining(eps=0.05, loss="trades").objective(),
        lambda: defenses.DLIF().objective(),
    ],
    ids=["trades", "dlif with noise"],
)
def test_the_loss_falls_in_training_with_random_draws(make):
    losses = fit(compiled(DefendedModel(spiking_network(), make())), epochs=8)["loss"]
    assert losses[-1] < losses[0] - 0.1


REPLICAS = """
import json
import keras
import numpy as np
import tensorflow as tf

from keras_mpdsgr import LIFLayer, TDBatchNormalization, defenses, layers, models

x = np.random.default_rng(0).uniform(size=(8, 6)).astype("float32")
y = np.arange(8) % 3
objectives = {
    "trades": lambda: defenses.AdversarialTraining(loss="trades", steps=1, seed=1).objective(),
    "dlif": lambda: defenses.DLIF().objective(defenses.AdversarialTraining(eps=0.1)),
}

def fit(strategy, name):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        image = keras.Input((6,))
        regularizer = keras.regularizers.L2(0.01)
        hidden = keras.layers.Dense(7, kernel_regularizer=regularizer)(image)
        hidden = TDBatchNormalization()(layers.DirectEncoder(2)(hidden))
        spikes = LIFLayer(eta=0.1)(hidden)
        logits = keras.layers.Dense(3)(layers.TemporalMean()(spikes))
        inner = models.SpikingModel(image, logits)
        model = defenses.DefendedModel(inner, objectives[name]())
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    return {**history, "weights": np.concatenate([w.ravel() for w in inner.get_weights()]).tolist()}

one = tf.distribute.get_strategy()
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
report = {"dlif": [fit(strategy, "dlif") for strategy in (one, two)]}
report["trades"] = fit(two, "trades")
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def replicas(on_two_cpus):
    return on_two_cpus(REPLICAS)


def test_two_replicas_train_and_report_as_one_does(replicas):
    one, two = replicas["dlif"]
    assert set(two) == {"loss", "accuracy", "omega", "firing_rate", "weights"}
    for figure, values in one.items():
        np.testing.assert_allclose(two[figure], values, rtol=1e-5, atol=1e-6, err_msg=figure)


def test_random_draws_work_on_two_replicas(replicas):
    assert np.isfinite(replicas["trades"]["loss"]).all()


# Refusals and the registry ------------------------------------------------------------------------


def test_a_model_that_gives_probabilities_is_refused():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, activation="softmax")])
    with pytest.raises(ValueError, match="`model` must give logits.*which gives probabilities"):
        DefendedModel(model)


def test_a_stateful_model_is_refused():
    image = keras.Input(batch_shape=(4, 2, 6))
    model = keras.Model(image, layers.TemporalMean()(LIFLayer(stateful=True)(image)))
    with pytest.raises(ValueError, match="`model` must not be stateful"):
        DefendedModel(model)


def test_defences_are_found_by_name():
    assert {"none", "sr", "dlif"} <= set(defenses.names())
    for name in defenses.names():
        assert defenses.get(name).name == name
    assert defenses.get("sr", weight=0.5).get_config()["weight"] == 0.5


def test_no_defence_trains_on_the_adversarys_images_if_there_is_one():
    defense, adversary = defenses.get("none"), AdversarialTraining()
    assert defense.objective() is None
    assert defense.objective(adversary).adversary is adversary
    assert defense.callbacks(total_steps=10) == []
    assert defense.model_options(timesteps=4) == {}


@pytest.mark.parametrize(
    "name, arguments, words",
    [
        ("sparse", {}, "`defense` must be one of 'none', .*Received: 'sparse'"),
        ("sr", {"eta": 1.0}, "'sr' takes weight, h. Received: eta"),
        ("none", {"h": 1.0}, "'none' takes no arguments. Received: h"),
        ("sr", {"weight": -1}, "`weight` must be.*-1"),
        ("sr", {"h": 0}, "`h` must be.*0"),
        ("dlif", {"kappa": 1.5}, "`kappa` must be.*1.5"),
        ("dlif", {"noise": "8/255"}, "`noise` must be.*'8/255'"),
        ("dlif", {"detach_clean": 1}, "`detach_clean` must be True or False"),
    ],
)
def test_an_unknown_name_or_argument_is_refused(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        defenses.get(name, **arguments)


@pytest.mark.parametrize("name", ["sr", "dlif"])
def test_a_defence_with_a_loss_of_its_own_refuses_trades(name):
    with pytest.raises(ValueError, match=f"'{name}' has a loss of its own"):
        defenses.get(name).objective(AdversarialTraining(loss="trades"))
