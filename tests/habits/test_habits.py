"""What people do with Keras models, on ours: the numbers against a training loop written by hand.

Four ways of writing one network; each habit has to leave the weights (and show the losses) that
plain gradient descent leaves, computed eagerly, a batch at a time, without Keras' trainer,
losses, optimizers and metrics.
"""

import csv
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, TDBatchNormalization, layers, models
from keras_mpdsgr.keras_internals import all_layers
from keras_mpdsgr.models.policies import policy_scope

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(size=(20, 6)).astype("float32")
Y = (X[:, :2].sum(1) + X[:, 2] > 1.4).astype("int32") + (X[:, 3] > 0.6)
WEIGHTS = RANDOM.uniform(0.2, 2.0, 20).astype("float32")
ETA, RATE = 0.3, 0.2


def parts():
    return [
        layers.DirectEncoder(3),
        layers.FoldTime(keras.layers.Dense(7, kernel_initializer="he_normal")),
        TDBatchNormalization(name="tdbn"),
        LIFLayer(tau=0.8, eta=ETA, name="lif"),
        layers.FoldTime(keras.layers.Dense(3, name="head")),
        layers.TemporalMean(dtype="float32"),
    ]


def functional(image, made):
    return functools.reduce(lambda x, layer: layer(x), made, image)


@keras.saving.register_keras_serializable("tests.habits")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = parts()

    def call(self, inputs, training=None):
        for layer in self.parts:
            takes = isinstance(layer, LIFLayer | TDBatchNormalization)
            inputs = layer(inputs, training=training) if takes else layer(inputs)
        return inputs


def nested():
    inner, image, made = keras.Input((6,)), keras.Input((6,)), parts()
    body = keras.Model(inner, functional(inner, made[:4]), name="body")
    return keras.Model(image, functional(image, [body, *made[4:]]))


def spiking():
    image = keras.Input((6,))
    return models.SpikingModel(image, functional(image, parts()))


KINDS = {
    "functional": spiking,
    "sequential": lambda: keras.Sequential([keras.Input((6,)), *parts()]),
    "subclassed": Subclassed,
    "nested": nested,
}


def build(kind, policy):
    with policy_scope(policy):
        keras.utils.set_random_seed(3)
        model = KINDS[kind]()
        model(X[:1])
        return model


def compiled(model, optimizer=None, **options):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.SGD(RATE), loss, **options)
    return model


def step_loss(model, x, y, weight):
    logits = tf.cast(model(x, training=True), tf.float32)
    task = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    return tf.reduce_mean(task * weight) + tf.add_n(model.losses)


def by_hand(model, batches, accumulate=1, ema=None, compute=step_loss, rate=RATE):
    """Gradient descent over batches of (x, y, weight); returns the losses of the steps."""
    variables, held, losses = model.trainable_variables, [], []
    averages = None
    for batch in batches:
        with tf.GradientTape() as tape:
            loss = compute(model, *batch)
        held.append(tape.gradient(loss, [variable.value for variable in variables]))
        losses.append(float(loss))
        if len(held) < accumulate:
            continue
        for variable, *gradients in zip(variables, *held, strict=True):
            variable.assign_sub(rate * np.mean([g.numpy() for g in gradients], axis=0))
        held = []
        now = [variable.numpy() for variable in variables]
        # From the values after the first step on, as Keras has it.
        before = now if averages is None else averages
        averages = ema and [ema * a + (1 - ema) * b for a, b in zip(before, now, strict=True)]
    return losses, averages


def batches(size=8, epochs=2, count=20, weight=None):
    weight = np.ones(20, "float32") if weight is None else weight
    for _ in range(epochs):
        for start in range(0, count, size):
            part = slice(start, min(start + size, count))
            yield X[part], Y[part], weight[part]


@functools.cache
def expected(policy, accumulate=1, ema=None, weighing="none", rate=RATE, **data):
    """Weights and step losses of the functional network trained by hand."""
    weight = {"none": None, "sample": WEIGHTS, "class": CLASS_WEIGHTS[Y]}[weighing]
    model = build("functional", policy)
    made = batches(weight=weight, **data)
    losses, averages = by_hand(model, made, accumulate, ema, rate=rate)
    return model.get_weights(), losses, averages


CLASS_WEIGHTS = np.array([0.5, 2.0, 1.2], "float32")


def assert_close(found, wanted, policy):
    tolerance = 1e-4 if policy == "float32" else 0.03
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def fit(model, **options):
    options = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0, **options}
    return model.fit(X, Y, **options).history


def epoch_loss(losses, sizes=(8, 8, 4)):
    return np.average(losses, weights=sizes)


@pytest.fixture(params=["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def policy(request):
    return request.param


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


# Training -----------------------------------------------------------------------------------------


def test_the_network_fires_and_learns(policy):
    weights, losses, _ = expected(policy)
    model = build("functional", policy)
    before = model.get_weights()
    spikes = keras.Model(model.inputs, model.get_layer("lif").output)(X)
    assert 0.02 < float(tf.reduce_mean(tf.cast(spikes, tf.float32))) < 0.98
    assert max(np.abs(a - b).max() for a, b in zip(weights, before, strict=True)) > 0.02
    assert len(losses) == 6


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"run_eagerly": True},
        {"steps_per_execution": 3},
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_fit_in_every_mode_with_a_ragged_last_batch(kind, policy, how):
    model = compiled(build(kind, policy), **how)
    shown = fit(model)
    weights, losses, _ = expected(policy)
    assert_close(model.get_weights(), weights, policy)
    assert_close(shown["loss"], [epoch_loss(losses[:3]), epoch_loss(losses[3:])], policy)


def test_fit_compiled_by_xla(policy):
    model = compiled(build("functional", policy), jit_compile=True)
    fit(model)
    assert_close(model.get_weights(), expected(policy)[0], policy)


def test_sample_weights(kind, policy):
    model = compiled(build(kind, policy))
    fit(model, sample_weight=WEIGHTS)
    assert_close(model.get_weights(), expected(policy, weighing="sample")[0], policy)


def test_class_weights(kind, policy):
    model = compiled(build(kind, policy))
    fit(model, class_weight=dict(enumerate(CLASS_WEIGHTS.tolist())))
    assert_close(model.get_weights(), expected(policy, weighing="class")[0], policy)


def test_a_validation_split_trains_on_the_rest_and_measures_without_omega(kind, policy):
    model = compiled(build(kind, policy), metrics=["accuracy"])
    shown = fit(model, validation_split=0.2)
    assert_close(model.get_weights(), expected(policy, count=16)[0], policy)
    logits = model.predict(X[16:], verbose=0).astype("float64")
    task = np.log(np.exp(logits).sum(1)) - logits[np.arange(4), Y[16:]]
    assert shown["val_loss"][-1] == pytest.approx(task.mean(), rel=1e-5)
    assert shown["val_accuracy"][-1] == (logits.argmax(1) == Y[16:]).mean()
    assert "val_omega" not in shown and len(shown["omega"]) == 2


def test_batches_of_one(kind, policy):
    model = compiled(build(kind, policy))
    model.fit(X[:5], Y[:5], batch_size=1, shuffle=False, verbose=0)
    assert_close(model.get_weights(), expected(policy, size=1, epochs=1, count=5)[0], policy)


def test_single_batches(kind, policy):
    model = compiled(build(kind, policy))
    for x, y, weight in batches(weight=WEIGHTS):
        model.train_on_batch(x, y, sample_weight=weight)
    assert_close(model.get_weights(), expected(policy, weighing="sample")[0], policy)
    logits = model.predict_on_batch(X).astype("float64")
    np.testing.assert_allclose(logits, model.predict(X, verbose=0), rtol=1e-5, atol=1e-5)
    task = (np.log(np.exp(logits).sum(1)) - logits[np.arange(20), Y]).mean()
    model.reset_metrics()
    assert float(np.ravel(model.test_on_batch(X, Y))[0]) == pytest.approx(task, rel=1e-5)


def test_accumulated_gradients(kind, policy):
    optimizer = keras.optimizers.SGD(RATE, gradient_accumulation_steps=2)
    model = compiled(build(kind, policy), optimizer)
    fit(model)
    assert_close(model.get_weights(), expected(policy, accumulate=2)[0], policy)


def test_averaged_weights(kind, policy):
    optimizer = keras.optimizers.SGD(RATE, use_ema=True, ema_momentum=0.5)
    model = compiled(build(kind, policy), optimizer)
    fit(model)
    averages = expected(policy, ema=0.5)[2]
    assert_close([variable.numpy() for variable in model.trainable_variables], averages, policy)


def test_a_compiled_loop_of_ones_own(kind, policy):
    model = build(kind, policy)
    by_hand(model, batches(), compute=tf.function(step_loss, autograph=False))
    assert_close(model.get_weights(), expected(policy)[0], policy)


# Callbacks ----------------------------------------------------------------------------------------


def test_callbacks_log_stop_and_keep_what_fit_shows(kind, policy, tmp_path):
    model = compiled(build(kind, policy), keras.optimizers.SGD(-RATE))  # uphill: the first is best
    shown = fit(
        model,
        epochs=4,
        callbacks=[
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "best.weights.h5",
                monitor="omega",
                mode="min",
                save_best_only=True,
                save_weights_only=True,
            ),
            keras.callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True),
        ],
    )
    assert len(shown["loss"]) == 2 and shown["loss"][1] > shown["loss"][0]
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("loss", "omega", "firing_rate"):
        assert [float(row[name]) for row in rows] == pytest.approx(shown[name])
    assert_close(model.get_weights(), expected(policy, rate=-RATE, epochs=1)[0], policy)
    model.load_weights(tmp_path / "best.weights.h5")
    best = 1 + int(np.argmin(shown["omega"]))
    assert_close(model.get_weights(), expected(policy, rate=-RATE, epochs=best)[0], policy)


# Files and copies ---------------------------------------------------------------------------------


def test_a_model_saved_in_between_goes_on_as_if_it_had_not_been(kind, policy, tmp_path):
    model = compiled(build(kind, policy))
    fit(model, epochs=1)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    with policy_scope(policy):  # in which a subclass makes its layers anew
        loaded = keras.models.load_model(tmp_path / "model.keras")
    filled = build(kind, policy)
    filled.load_weights(tmp_path / "model.weights.h5")
    for again in (loaded, filled):
        np.testing.assert_allclose(again(X), model(X), rtol=1e-6)
    fit(loaded, epochs=1)
    assert_close(loaded.get_weights(), expected(policy)[0], policy)


def test_a_clone_trains_as_the_model_itself(kind, policy):
    model = build(kind, policy)
    clone = keras.models.clone_model(model)
    clone(X[:1])
    clone.set_weights(model.get_weights())
    fit(compiled(clone))
    assert_close(clone.get_weights(), expected(policy)[0], policy)


# Parts of a network -------------------------------------------------------------------------------


def deep_layer(model, name):
    (found,) = [layer for layer in all_layers(model) if layer.name == name]
    return found


def test_frozen_layers_stay_and_the_others_learn_as_alone(kind, policy):
    model, other = build(kind, policy), build("functional", policy)
    for each in (model, other):
        deep_layer(each, "tdbn").trainable = False
        deep_layer(each, "head").trainable = False
    kept = [w.numpy() for n in ("tdbn", "head") for w in deep_layer(model, n).weights]
    by_hand(other, batches())
    fit(compiled(model))
    frozen = [w.numpy() for n in ("tdbn", "head") for w in deep_layer(model, n).weights]
    for before, after in zip(kept, frozen, strict=True):
        np.testing.assert_array_equal(before, after)
    found, wanted = (m.trainable_variables for m in (model, other))
    assert_close([w.numpy() for w in found], [w.numpy() for w in wanted], policy)
    assert len(found) == 2


def test_a_new_head_on_a_trained_body(policy):
    model = compiled(build("sequential", policy))
    fit(model)
    trained = [w.numpy() for w in model.layers[1].weights]
    model.pop(), model.pop()
    model.add(layers.FoldTime(keras.layers.Dense(2, kernel_initializer="ones")))
    model.add(layers.TemporalMean(dtype="float32"))
    for before, after in zip(trained, model.layers[1].weights, strict=True):
        np.testing.assert_array_equal(before, after)
    body = keras.Model(model.inputs, model.get_layer("lif").output)
    spikes = np.float64(body.predict(X, verbose=0))
    logits = compiled(model).predict(X, verbose=0)
    np.testing.assert_allclose(logits, np.repeat(spikes.sum(2).mean(1)[:, None], 2, 1), rtol=0.01)
    second = (Y > 0).astype("int32")
    shown = model.evaluate(X, second, verbose=0)
    assert shown == pytest.approx(np.log(2.0), rel=1e-5)  # equal logits
