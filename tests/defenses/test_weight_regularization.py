"""REG: the rule on kernels after each optimizer step, and the simplex of branch weights."""

import itertools

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from keras_mpdsgr import LIFLayer, TDBatchNormalization, defenses, keras_internals, layers, models
from keras_mpdsgr.defenses.weight_regularization import (
    OrthogonalRetraction,
    SampledRetraction,
    SimplexProjection,
)

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(0.4, 0.8, (4, 6, 6, 1)).astype("float32")
LABELS = np.arange(4) % 2


def retracted(w, beta):
    """The rule on W of [outputs, rest], in float64."""
    w = np.asarray(w, "float64")
    return (1 + beta) * w - beta * w @ w.T @ w


def as_rows(kernel):
    """A Keras kernel as PyTorch keeps it, [outputs, inputs, ...], viewed as [outputs, -1]."""
    kernel = np.moveaxis(np.asarray(kernel), (-1, -2), (0, 1))
    return kernel.reshape(len(kernel), -1)


# The rule -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3), (3, 2)], ids=["tall", "wide"])
def test_one_step_on_a_small_matrix_is_the_formula(shape):
    w = RANDOM.normal(size=shape)
    kernel = OrthogonalRetraction(0.1)(tf.constant(w.T))
    np.testing.assert_allclose(np.transpose(kernel), retracted(w, 0.1), rtol=1e-12)


def test_a_matrix_worked_by_hand():
    # W = [[2, 0, 0], [0, 1, 0]]: W W^T W = [[8, 0, 0], [0, 1, 0]].
    w = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    kernel = OrthogonalRetraction(0.1)(tf.constant(w.T))
    np.testing.assert_allclose(np.transpose(kernel), [[1.4, 0, 0], [0, 1, 0]], atol=1e-12)


def test_a_convolutions_kernel_is_viewed_as_outputs_by_rest():
    kernel = RANDOM.normal(0, 0.3, (3, 3, 4, 5))
    moved = OrthogonalRetraction(0.05)(tf.constant(kernel))
    assert moved.shape == kernel.shape
    np.testing.assert_allclose(as_rows(moved), retracted(as_rows(kernel), 0.05), rtol=1e-10)


def test_repeated_steps_lead_all_singular_values_to_one():
    kernel = tf.constant(RANDOM.normal(0, 0.7, (6, 4)))
    for _ in range(200):
        kernel = OrthogonalRetraction(0.1)(kernel)
    np.testing.assert_allclose(np.linalg.svd(kernel, compute_uv=False), 1.0, rtol=1e-6)


# In training --------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("tests")
class Branches(keras.layers.Layer):
    """Two learnable branch weights, as of a residual block."""

    def build(self, input_shape):
        self.branch_weights = self.add_weight(shape=(2,), initializer="ones", name="branches")

    def call(self, inputs):
        return inputs * self.branch_weights[0]


def network(units=7, rate=0.0, optimizer=None, **compiling):
    """conv - tdBN - LIF - dense - LIF - read-out; with learning rate 0 only the rule moves it."""
    image = keras.Input(IMAGES.shape[1:])
    x = TDBatchNormalization()(keras.layers.Conv2D(3, 3, name="conv")(image))
    x = Branches(name="branches")(LIFLayer()(layers.DirectEncoder(2)(x)))
    x = layers.FoldTime(keras.layers.Flatten())(x)
    x = LIFLayer()(layers.FoldTime(keras.layers.Dense(units, name="dense"))(x))
    x = layers.FoldTime(keras.layers.Dense(2, name="readout"))(x)
    model = keras.Model(image, layers.TemporalMean(dtype="float32")(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = optimizer or keras.optimizers.SGD(rate, momentum=0.9)
    model.compile(optimizer=optimizer, loss=loss, **compiling)
    return model


def kernels(model):
    found = {}
    for layer in keras_internals.all_layers(model):
        if layer.name in ("conv", "dense", "readout"):
            found[layer.name] = layer.kernel.numpy()
    return found


def step(model, epochs=1):
    model.fit(IMAGES, LABELS, batch_size=4, epochs=epochs, verbose=0)
    return kernels(model)


def test_fit_moves_every_kernel_by_the_rule_and_nothing_else():
    model = network()
    defenses.WeightRegularization(beta=0.1).prepare(model)
    before = kernels(model)
    others = [w.numpy() for w in model.trainable_weights if "kernel" not in w.path]
    for name, kernel in step(model).items():
        np.testing.assert_allclose(
            as_rows(kernel), retracted(as_rows(before[name]), 0.1), rtol=1e-4, atol=1e-6
        )
    after = [w.numpy() for w in model.trainable_weights if "kernel" not in w.path]
    for path, old, new in zip(model.trainable_weights, others, after, strict=False):
        if old.shape != (2,) or not np.array_equal(old, [1.0, 1.0]):
            np.testing.assert_array_equal(new, old, err_msg=path.path)
    branches = model.get_layer("branches").branch_weights
    np.testing.assert_allclose(branches, [0.5, 0.5])


def test_the_rule_follows_the_optimizers_own_step():
    keras.utils.set_random_seed(1)
    plain = network(rate=0.5)
    ruled = network(rate=0.5)
    ruled.set_weights(plain.get_weights())
    defenses.WeightRegularization(beta=0.1).prepare(ruled)
    # The plain network's branch weights lie off the simplex, but take part in one step only.
    expected, moved = step(plain), step(ruled)
    for name, kernel in moved.items():
        np.testing.assert_allclose(
            as_rows(kernel), retracted(as_rows(expected[name]), 0.1), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("compiling", [{"jit_compile": True}, {"scaled": True}], ids=str)
def test_under_xla_and_loss_scaling_it_is_applied_once_a_step_too(compiling):
    scaled = compiling.pop("scaled", False)
    sgd = keras.optimizers.SGD(0.0)
    model = network(
        optimizer=keras.optimizers.LossScaleOptimizer(sgd) if scaled else sgd, **compiling
    )
    defenses.WeightRegularization(beta=0.1).prepare(model)
    before = kernels(model)
    for name, kernel in step(model).items():
        np.testing.assert_allclose(
            as_rows(kernel), retracted(as_rows(before[name]), 0.1), rtol=1e-4, atol=1e-6
        )


def test_a_defended_model_trains_by_the_rule():
    model = network()
    defenses.WeightRegularization(beta=0.1).prepare(model)
    before = kernels(model)["conv"]
    defended = defenses.DefendedModel(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    defended.compile(keras.optimizers.SGD(0.0), loss)
    defended.fit(IMAGES, LABELS, batch_size=4, verbose=0)
    np.testing.assert_allclose(
        as_rows(kernels(model)["conv"]), retracted(as_rows(before), 0.1), rtol=1e-4, atol=1e-6
    )


def test_it_stands_in_place_of_weight_decay():
    assert defenses.WeightRegularization.own_weight_rule
    assert not defenses.Defense.own_weight_rule


# Rows of large dense layers -----------------------------------------------------------------------


def changed_rows(before, after):
    return np.flatnonzero(np.any(as_rows(before) != as_rows(after), axis=1))


@pytest.fixture(scope="module")
def large():
    """Dense kernels of 250 outputs before and behind each of three steps, and the model."""
    model = network(units=250)
    defenses.WeightRegularization(beta=0.1, seed=5).prepare(model)
    seen = [kernels(model)["dense"]]
    for _ in range(3):
        seen.append(step(model)["dense"])
    return model, seen


def test_of_two_hundred_outputs_and_more_30_percent_of_the_rows_move(large):
    _, seen = large
    for before, after in itertools.pairwise(seen):
        assert len(changed_rows(before, after)) == 75


def test_the_rows_drawn_move_by_the_rule_among_themselves(large):
    _, (before, after, *_) = large
    rows = changed_rows(before, after)
    expected = retracted(as_rows(before)[rows], 0.1)
    np.testing.assert_allclose(as_rows(after)[rows], expected, rtol=1e-4, atol=1e-6)


def test_each_step_draws_other_rows(large):
    _, seen = large
    first, second = (changed_rows(seen[i], seen[i + 1]) for i in (0, 1))
    # Of 75 rows drawn again 22.5 are expected in common.
    assert 5 < len(set(first) & set(second)) < 45


def test_under_xla_the_rows_drawn_move_by_the_rule_too():
    before = RANDOM.normal(0, 0.3, (6, 250)).astype("float32")
    rule = SampledRetraction(0.1, 0.3, keras.random.SeedGenerator(5))
    after = tf.function(rule, jit_compile=True)(tf.constant(before))
    rows = changed_rows(before, after)
    assert len(rows) == 75
    expected = retracted(before.T[rows], 0.1)
    np.testing.assert_allclose(as_rows(after)[rows], expected, rtol=1e-4, atol=1e-6)


def test_below_two_hundred_outputs_all_rows_move():
    model = network(units=199)
    defenses.WeightRegularization(beta=0.1).prepare(model)
    before = kernels(model)["dense"]
    assert len(changed_rows(before, step(model)["dense"])) == 199


def test_the_draws_come_from_a_generator_that_whoever_sets_seeds_finds(large):
    model, _ = large
    generators = keras_internals.seed_generators(model)
    assert len(generators) == 1
    before = kernels(model)["dense"]
    rows = []
    for _ in range(2):
        generators[0].state.assign([9, 2])
        for layer in keras_internals.all_layers(model):
            if layer.name == "dense":
                layer.kernel.assign(before)
        rows.append(changed_rows(before, step(model)["dense"]).tolist())
    assert rows[0] == rows[1]


def test_preparing_anew_keeps_the_generator(large):
    model, _ = large
    defenses.WeightRegularization(beta=0.2).prepare(model)
    generators = keras_internals.seed_generators(model)
    assert len(generators) == 1


def test_a_prepared_model_and_its_weights_are_saved_as_any_other(large, tmp_path):
    model, _ = large
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(models.load(tmp_path / "model.keras")(IMAGES), model(IMAGES))
    model.save_weights(tmp_path / "some.weights.h5")
    unprepared = network(units=250)
    unprepared.optimizer.build(unprepared.trainable_variables)
    unprepared.load_weights(tmp_path / "some.weights.h5")
    np.testing.assert_array_equal(unprepared(IMAGES), model(IMAGES))


REPLICAS = """
import json
import keras, numpy as np, tensorflow as tf
from keras_mpdsgr import defenses
x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")

def fit(strategy, prepared_inside):
    keras.utils.set_random_seed(0)
    defence = defenses.WeightRegularization(beta=0.1, seed=5)
    with strategy.scope():
        layer = keras.layers.Dense(210, name="dense")
        model = keras.Sequential([keras.Input((6,)), layer])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        if prepared_inside:
            defence.prepare(model)
    if not prepared_inside:
        defence.prepare(model)
    model.fit(x, np.zeros((8, 210)), batch_size=8, epochs=3, verbose=0)
    value = layer.kernel.value
    return [v.numpy() for v in getattr(value, "values", [value])]

two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
one, = fit(tf.distribute.get_strategy(), True)
report = {}
for inside in (True, False):
    first, second = fit(two, inside)
    report[str(inside)] = [float(abs(first - second).max()), float(abs(first - one).max())]
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def replicas(on_two_cpus):
    return on_two_cpus(REPLICAS)


@pytest.mark.parametrize("prepared_inside_the_scope", [True, False])
def test_two_replicas_draw_the_same_rows_and_go_as_one_device(replicas, prepared_inside_the_scope):
    between, against_one = replicas[str(prepared_inside_the_scope)]
    assert between == 0.0
    assert against_one < 1e-5


# The simplex --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weights, nearest",
    [
        ([0.5, 0.5], [0.5, 0.5]),
        ([1.0, 1.0], [0.5, 0.5]),
        ([3.0, 0.0], [1.0, 0.0]),
        ([-0.5, 0.1], [0.2, 0.8]),
        ([-2.0, -3.0], [1.0, 0.0]),
    ],
)
def test_branch_weights_are_projected_to_the_simplex(weights, nearest):
    np.testing.assert_allclose(SimplexProjection()(tf.constant(weights)), nearest, atol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 6])
def test_the_projection_is_the_nearest_point_that_scipy_finds(size):
    weights = np.random.default_rng(size).normal(0, 1, size)
    found = scipy.optimize.minimize(
        lambda w: np.sum((w - weights) ** 2),
        np.full(size, 1 / size),
        bounds=[(0, None)] * size,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-12},
    )
    np.testing.assert_allclose(SimplexProjection()(tf.constant(weights)), found.x, atol=1e-5)


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan"), "small", None])
def test_a_bad_beta_is_refused(beta):
    with pytest.raises(ValueError, match=f"`beta` must be a positive number.*{beta!r}"):
        defenses.WeightRegularization(beta=beta)


def test_a_model_with_a_constraint_of_its_own_is_refused_and_left_as_it_was():
    mine = keras.layers.Dense(3, kernel_constraint="non_neg", name="mine")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5), mine])
    with pytest.raises(ValueError, match="mine/kernel'.*NonNeg"):
        defenses.WeightRegularization().prepare(model)
    assert model.layers[0].kernel.constraint is None


def test_a_model_that_is_not_built_is_refused():
    model = keras.Sequential([keras.layers.Dense(3)], name="empty")
    with pytest.raises(ValueError, match="`model` must be built. Received: 'empty'"):
        defenses.WeightRegularization().prepare(model)
