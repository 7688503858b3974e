"""tdBN against its formula, against Keras' own layer, and on two replicas."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, TDBatchNormalization, dynamics

SHAPES = {"dense": (6, 4, 3), "images": (4, 3, 4, 5, 3), "no time": (4, 5, 4, 3), "flat": (9, 3)}
OPTIONS = {"alpha": 0.7, "v_threshold": 0.6, "momentum": 0.8, "epsilon": 1e-3}


def normal(shape, dtype="float32", seed=0):
    random = np.random.default_rng(seed)
    return random.normal(random.normal(0, 2, shape[-1]), 1.5, shape).astype(dtype)


def trained_layer(dtype="float32", channels=3, **options):
    """A layer whose lambda and beta are no longer 1 and 0."""
    layer = TDBatchNormalization(dtype=dtype, **options)
    layer.build((None, channels))
    layer.lambda_.assign(np.linspace(0.5, 2.0, channels))
    layer.beta.assign(np.linspace(-1.0, 0.4, channels))
    return layer


def formula(x, mean, variance, scale, shift, alpha, v_threshold, epsilon):
    """spec: lambda * alpha * v_th * (I - mean) / sqrt(var + eps) + beta."""
    return scale * alpha * v_threshold * (x - mean) / (variance + epsilon) ** 0.5 + shift


def tolerance(dtype):
    return {"rtol": 1e-10, "atol": 1e-10} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-5}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_training_is_the_formula_over_batch_time_and_space(shape, dtype):
    layer, x = trained_layer(dtype, **OPTIONS), normal(shape, dtype)
    axes = tuple(range(len(shape) - 1))
    exact = x.astype("float64")
    mean, variance = exact.mean(axes), exact.var(axes)
    constants = {name: OPTIONS[name] for name in ("alpha", "v_threshold", "epsilon")}
    expected = formula(
        exact, mean, variance, np.linspace(0.5, 2, 3), np.linspace(-1, 0.4, 3), **constants
    )
    np.testing.assert_allclose(layer(x, training=True), expected, **tolerance(dtype))
    np.testing.assert_allclose(layer.moving_mean, 0.2 * mean, **tolerance(dtype))
    np.testing.assert_allclose(layer.moving_variance, 0.8 + 0.2 * variance, **tolerance(dtype))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_inference_is_the_formula_with_the_running_averages(dtype):
    layer, x = trained_layer(dtype, **OPTIONS), normal(SHAPES["images"], dtype)
    mean, variance = np.array([0.3, -2.0, 1.0]), np.array([0.5, 2.0, 4.0])
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    constants = {name: OPTIONS[name] for name in ("alpha", "v_threshold", "epsilon")}
    expected = formula(
        x.astype("float64"),
        mean,
        variance,
        np.linspace(0.5, 2, 3),
        np.linspace(-1, 0.4, 3),
        **constants,
    )
    for training in (False, None):
        np.testing.assert_allclose(layer(x, training=training), expected, **tolerance(dtype))
    np.testing.assert_allclose(layer.moving_mean, mean, **tolerance(dtype))


def test_a_fresh_layer_brings_currents_to_the_scale_of_the_threshold():
    layer = TDBatchNormalization(alpha=0.5, v_threshold=0.8)
    y = layer(normal((64, 4, 6, 3)), training=True).numpy()
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 0.4, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_is_keras_batch_normalization_scaled_by_the_threshold(shape):
    options = {"momentum": 0.9, "epsilon": 1e-5}
    ours = TDBatchNormalization(alpha=0.5, v_threshold=3.0, **options)
    theirs = keras.layers.BatchNormalization(**options)
    for seed in range(3):
        x = normal(shape, seed=seed)
        expected = 1.5 * theirs(x, training=True)
        np.testing.assert_allclose(ours(x, training=True), expected, rtol=1e-4, atol=1e-5)
    for one, other in (
        (ours.moving_mean, theirs.moving_mean),
        (ours.moving_variance, theirs.moving_variance),
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours(x), 1.5 * theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_autodiff_through_the_formula(training, dtype):
    layer = trained_layer(dtype, **OPTIONS)
    layer.moving_mean.assign([0.3, -2.0, 1.0])
    layer.moving_variance.assign([0.5, 2.0, 4.0])
    averages = [tf.cast(w.value, tf.float64) for w in (layer.moving_mean, layer.moving_variance)]
    shape = (3, 2, 3, 2, 3)
    x, weights = normal(shape, dtype), normal(shape, dtype, seed=1)
    sources = [tf.constant(x), layer.lambda_.value, layer.beta.value]
    with tf.GradientTape() as tape:
        tape.watch(sources[0])
        loss = tf.reduce_sum(weights * layer(sources[0], training=training) ** 2)
    gradients = tape.gradient(loss, sources)
    exact = [tf.cast(tf.convert_to_tensor(source), tf.float64) for source in sources]
    constants = {name: OPTIONS[name] for name in ("alpha", "v_threshold", "epsilon")}
    with tf.GradientTape() as tape:
        tape.watch(exact)
        axes = (0, 1, 2, 3)
        mean, variance = averages
        if training:
            mean = tf.reduce_mean(exact[0], axes)
            variance = tf.reduce_mean((exact[0] - mean) ** 2, axes)
        y = formula(exact[0], mean, variance, *exact[1:], **constants)
        loss = tf.reduce_sum(weights.astype("float64") * y**2)
    limits = {"rtol": 1e-9, "atol": 1e-9} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-3}
    for one, other in zip(gradients, tape.gradient(loss, exact), strict=True):
        np.testing.assert_allclose(one, other, **limits)


def test_running_averages_are_no_part_of_the_gradient():
    layer = trained_layer()
    assert len(layer.trainable_variables) == 2
    assert len(layer.non_trainable_variables) == 2


def test_a_frozen_layer_uses_the_running_averages_even_in_training():
    layer, x = trained_layer(), normal(SHAPES["dense"])
    layer.trainable = False
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))


@pytest.mark.parametrize("dtype", ["float64", "float32", "mixed_float16"])
def test_a_channel_without_variance_comes_out_as_beta(dtype):
    layer = trained_layer(dtype)
    x = tf.constant(np.full((4, 2, 3), [0.0, 1.0, -2.0]), layer.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    np.testing.assert_allclose(
        tf.cast(y, tf.float64), np.tile(np.linspace(-1, 0.4, 3), (4, 2, 1)), atol=2e-3
    )
    assert np.isfinite(tape.gradient(y, x)).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_statistics_of_half_precision_currents_are_taken_in_float32(policy):
    layer = TDBatchNormalization(dtype=policy, momentum=0.0)
    # The squares of these overflow float16, and their sum is lost on either half type's grid.
    x = tf.cast(1000.0 + 64.0 * normal((64, 8, 3)), layer.compute_dtype)
    exact = tf.cast(x, tf.float64).numpy()
    y = layer(x, training=True)
    assert y.dtype == layer.compute_dtype
    assert layer.lambda_.dtype == layer.moving_mean.dtype == "float32"
    np.testing.assert_allclose(layer.moving_mean, exact.mean((0, 1)), rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, exact.var((0, 1)), rtol=1e-3)
    expected = (exact - exact.mean((0, 1))) / exact.std((0, 1))
    np.testing.assert_allclose(tf.cast(y, tf.float64), expected, atol=0.03)


@pytest.mark.parametrize("shape", [(6, 4, 3), (None, 4, 8, 8, 3)])
def test_the_output_has_the_inputs_shape(shape):
    assert TDBatchNormalization().compute_output_shape(shape) == shape
    assert TDBatchNormalization()(keras.Input(batch_shape=shape)).shape == shape


@pytest.mark.parametrize("options", [{}, {**OPTIONS, "name": "norm"}])
def test_a_layer_made_from_its_config_is_the_same_layer(options):
    layer = TDBatchNormalization(**options)
    again = TDBatchNormalization.from_config(json.loads(json.dumps(layer.get_config())))
    for name, value in options.items():
        assert getattr(again, name) == value
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_float16"])
def test_a_saved_model_loads_in_safe_mode_and_gives_the_same_outputs(tmp_path, policy):
    model = keras.Sequential([keras.Input((4, 3)), TDBatchNormalization(dtype=policy, **OPTIONS)])
    x = normal((6, 4, 3))
    model.layers[0].lambda_.assign([0.5, 1.0, 2.0])
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(x), model(x))
    np.testing.assert_array_equal(loaded(x, training=True), model(x, training=True))
    assert loaded.layers[0].dtype_policy.name == policy


@pytest.mark.parametrize(
    "options, words",
    [
        ({"alpha": 0.0}, "`alpha`.*0.0"),
        ({"alpha": "one"}, "`alpha`.*'one'"),
        ({"v_threshold": -1.0}, "`v_threshold`.*-1.0"),
        ({"v_threshold": float("nan")}, "`v_threshold`.*nan"),
        ({"momentum": 1.5}, "`momentum`.*1.5"),
        ({"momentum": None}, "`momentum`.*None"),
        ({"epsilon": 0}, "`epsilon`.*0"),
        ({"epsilon": float("inf")}, "`epsilon`.*inf"),
    ],
    ids=str,
)
def test_an_argument_out_of_its_range_is_refused_by_name_and_value(options, words):
    with pytest.raises(ValueError, match=words):
        TDBatchNormalization(**options)


def test_an_unknown_number_of_channels_is_refused():
    with pytest.raises(ValueError, match=r"static number of channels.*\(None, 4, None\)"):
        TDBatchNormalization()(keras.Input((4, None)))


def test_the_neurons_it_feeds_know_it():
    first, second = TDBatchNormalization(), TDBatchNormalization()
    x = normal((2, 3, 4))
    with dynamics.capture_potentials() as captured:
        LIFLayer()(second(LIFLayer()(first(x))))
        LIFLayer()(x)
    assert [layer.normalization for layer in captured] == [first, second, None]


# Replicas -----------------------------------------------------------------------------------------

REPLICAS = """
import json
import numpy as np, tensorflow as tf
from keras_mpdsgr import TDBatchNormalization

random = np.random.default_rng(0)
# The halves of the batch differ, so that statistics of one half would not do.
x = (random.normal(1, 2, (8, 3, 4)) + np.arange(8)[:, None, None]).astype("float32")
weights = random.normal(0, 1, (8, 3, 4)).astype("float32")

def run(strategy):
    with strategy.scope():
        layer = TDBatchNormalization(v_threshold=0.7)
        layer.build((None, 3, 4))
        layer.lambda_.assign([0.5, 1.0, 1.5, 2.0])
    count = strategy.num_replicas_in_sync
    halves = list(zip(np.split(x, count), np.split(weights, count)))
    values = [
        strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(halves[context.replica_id_in_sync_group][i]))
        for i in range(2)
    ]
    @tf.function
    def step(x, weights):
        def replica(x, weights):
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = layer(x, training=True)
                loss = tf.reduce_sum(weights * outputs ** 2)
            gradients = tape.gradient(loss, [x, layer.lambda_.value, layer.beta.value])
            return [outputs, *gradients]
        return strategy.run(replica, (x, weights))
    results = [strategy.experimental_local_results(result) for result in step(*values)]
    outputs, inputs = (np.concatenate(parts).ravel().tolist() for parts in results[:2])
    scale, shift = (np.sum(parts, axis=0).tolist() for parts in results[2:])
    return {
        "outputs": outputs,
        "input gradients": inputs,
        "lambda's gradient": scale,
        "beta's gradient": shift,
        "running mean": layer.moving_mean.numpy().tolist(),
        "running variance": layer.moving_variance.numpy().tolist(),
        "inference": np.array(layer(x)).ravel().tolist(),
    }

two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
print(json.dumps([run(tf.distribute.get_strategy()), run(two)]))
"""


@pytest.fixture(scope="module")
def replicas(on_two_cpus):
    return on_two_cpus(REPLICAS)


@pytest.mark.parametrize(
    "name",
    [
        "outputs",
        "input gradients",
        "lambda's gradient",
        "beta's gradient",
        "running mean",
        "running variance",
        "inference",
    ],
)
def test_two_replicas_with_half_a_batch_each_give_what_one_gives_with_all(replicas, name):
    one, two = (report[name] for report in replicas)
    assert np.any(one)
    np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-4 if "gradient" in name else 1e-5)


# Half precision -----------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_half_precision_rounds_the_result_alone(dtype, shape, training):
    half = tf.as_dtype(dtype.removeprefix("mixed_"))
    layer, exact = trained_layer(dtype, **OPTIONS), trained_layer("float64", **OPTIONS)
    for each in (layer, exact):
        each.moving_mean.assign([3.0, -20.0, 0.1])
    exact.lambda_.assign(tf.cast(layer.lambda_, "float64"))
    exact.beta.assign(tf.cast(layer.beta, "float64"))
    x = tf.cast(normal(shape), half)
    expected = exact(tf.cast(x, tf.float64), training=training)
    found = layer(x, training=training)
    assert found.dtype == half
    # Half of the last digit of each type.
    digit = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[half.name]
    np.testing.assert_allclose(tf.cast(found, tf.float64), expected, rtol=1.01 * digit, atol=1e-5)
    for name in ("moving_mean", "moving_variance"):
        assert getattr(layer, name).dtype == "float32"
        np.testing.assert_allclose(getattr(layer, name), getattr(exact, name), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_layer_in_half_precision_trains_and_averages_as_keras_does(dtype):
    ours, keras_layer = (
        TDBatchNormalization(dtype=dtype),
        keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype),
    )
    for seed in range(20):
        x = tf.cast(normal((8, 4, 3), seed=seed), dtype)
        for layer in (ours, keras_layer):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(tf.cast(layer(x, training=True), tf.float32) - 1.0))
            assert np.isfinite(tape.gradient(loss, layer.trainable_weights[0].value)).all()
    for name in ("moving_mean", "moving_variance"):
        expected = tf.cast(getattr(keras_layer, name), tf.float32)
        np.testing.assert_allclose(getattr(ours, name), expected, rtol=0.05, atol=0.02)
