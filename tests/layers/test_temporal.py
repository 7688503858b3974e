"""Layers that handle time: FoldTime, TemporalMean, DirectEncoder."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import layers


def normal(shape, dtype="float32"):
    return np.random.default_rng(0).normal(0, 1, shape).astype(dtype)


def folded_and_distributed(make, shape):
    """FoldTime and Keras' TimeDistributed around layers of equal weights, and an input."""
    folded, distributed = layers.FoldTime(make()), keras.layers.TimeDistributed(make())
    x = tf.constant(normal(shape))
    folded(x), distributed(x)
    distributed.set_weights(folded.get_weights())
    return folded, distributed, x


MAKERS = {
    "dense": (lambda: keras.layers.Dense(4), (3, 5, 6)),
    "convolution": (lambda: keras.layers.Conv2D(4, 3, strides=2), (2, 3, 8, 6, 2)),
    "pooling": (lambda: keras.layers.AveragePooling2D(2), (2, 3, 8, 6, 2)),
    "flatten": (lambda: keras.layers.Flatten(), (2, 3, 4, 2, 2)),
}


@pytest.mark.parametrize("make, shape", MAKERS.values(), ids=MAKERS)
def test_folded_time_is_keras_time_distributed(make, shape):
    folded, distributed, x = folded_and_distributed(make, shape)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        actual, expected = folded(x), distributed(x)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert folded.compute_output_shape(shape) == expected.shape
    np.testing.assert_allclose(
        tape.gradient(actual, x), tape.gradient(expected, x), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("make, shape", MAKERS.values(), ids=MAKERS)
def test_folded_time_knows_its_shape_without_a_batch_size(make, shape):
    folded = layers.FoldTime(make())
    outputs = folded(keras.Input(shape[1:]))
    expected = keras.layers.TimeDistributed(make())(keras.Input(shape[1:])).shape
    assert outputs.shape == expected
    assert folded.compute_output_shape((None, *shape[1:])) == expected


@pytest.mark.parametrize("name", ["dense", "convolution"])
def test_one_function_compiled_by_xla_takes_batches_of_any_size(name):
    make, shape = MAKERS[name]
    folded, distributed, x = folded_and_distributed(make, shape)
    signature = [tf.TensorSpec((None, *shape[1:]))]
    traces = []

    @tf.function(jit_compile=True, input_signature=signature)
    def call(x):
        traces.append(x.shape)
        return folded(x)

    for batch in (x, x[:1]):
        np.testing.assert_allclose(call(batch), distributed(batch), rtol=1e-4, atol=1e-5)
    assert traces == [(None, *shape[1:])]


def test_a_predicted_batch_may_have_any_size():
    inputs = keras.Input((3, 6))
    model = keras.Model(inputs, layers.FoldTime(keras.layers.Dense(4))(inputs))
    assert model.predict(normal((5, 3, 6)), batch_size=2, verbose=0).shape == (5, 3, 4)


def test_dropout_draws_anew_at_each_time_step_and_only_in_training():
    dropout = layers.FoldTime(keras.layers.Dropout(0.5, seed=0))
    x = np.ones((1, 4, 200), "float32")
    np.testing.assert_array_equal(dropout(x, training=False), x)
    kept = dropout(x, training=True).numpy()[0] > 0
    assert not np.array_equal(kept[0], kept[1])


def test_batch_statistics_run_over_batch_and_time_together():
    normalization = layers.FoldTime(keras.layers.BatchNormalization(epsilon=1e-6))
    x = normal((4, 3, 2)) + np.arange(3)[:, None]
    expected = (x - x.mean((0, 1))) / x.std((0, 1))
    np.testing.assert_allclose(normalization(x, training=True), expected, rtol=1e-3, atol=1e-4)


def test_the_layers_weights_and_losses_are_folded_times_own():
    inner = keras.layers.Dense(4, kernel_regularizer=keras.regularizers.L2(0.5))
    folded = layers.FoldTime(inner)
    folded(normal((2, 3, 5)))
    assert [w.path for w in folded.trainable_weights] == [w.path for w in inner.trainable_weights]
    expected = 0.5 * np.sum(inner.kernel.numpy() ** 2)
    assert float(sum(folded.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "shape, words", [((4, 5), "at least 3 axes"), ((2, None, 5), "time axis must be static")]
)
def test_folded_time_refuses_inputs_without_static_time(shape, words):
    with pytest.raises(ValueError, match=f"FoldTime.*{words}"):
        layers.FoldTime(keras.layers.Dense(2))(keras.Input(batch_shape=shape))


@pytest.mark.parametrize("shape, axis", [((3, 4, 5), 1), ((3, 4, 2, 2, 5), 1), ((3, 4, 5), -2)])
def test_the_temporal_mean_is_the_mean_over_the_time_axis(shape, axis):
    layer, x = layers.TemporalMean(axis=axis), normal(shape)
    expected = x.mean(axis)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)
    assert layer.compute_output_shape(shape) == expected.shape
    assert layer(keras.Input(shape[1:])).shape == (None, *expected.shape[1:])


@pytest.mark.parametrize("axis", [1.0, "time", None, True])
def test_an_axis_that_is_no_whole_number_is_refused(axis):
    with pytest.raises(ValueError, match="`axis` must be a whole number"):
        layers.TemporalMean(axis=axis)


@pytest.mark.parametrize("axis", [3, -4])
@pytest.mark.parametrize("symbolic", [False, True], ids=["eager", "symbolic"])
def test_an_axis_that_the_input_lacks_is_refused(axis, symbolic):
    x = keras.Input(batch_shape=(3, 4, 5)) if symbolic else normal((3, 4, 5))
    with pytest.raises(ValueError, match=f"axis={axis}"):
        layers.TemporalMean(axis=axis)(x)


def test_direct_coding_repeats_the_input_at_every_time_step():
    encoder, x = layers.DirectEncoder(3), normal((2, 4, 5, 1))
    expected = np.repeat(x[:, None], 3, axis=1)
    np.testing.assert_array_equal(encoder(x), expected)
    assert encoder.compute_output_shape((None, 4, 5, 1)) == (None, 3, 4, 5, 1)
    assert encoder(keras.Input((4, 5, 1))).shape == (None, 3, 4, 5, 1)


@pytest.mark.parametrize("timesteps", [0, -1, 2.0, "4", None, True])
def test_a_window_without_a_whole_length_is_refused(timesteps):
    with pytest.raises(ValueError, match=f"`timesteps` must be a whole number.*{timesteps!r}"):
        layers.DirectEncoder(timesteps)


def build(policy="float32"):
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.DirectEncoder(3, dtype=policy),
            layers.FoldTime(keras.layers.Conv2D(4, 3, dtype=policy), dtype=policy),
            layers.TemporalMean(axis=1, dtype=policy),
        ]
    )


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_float16"])
def test_a_saved_model_loads_in_safe_mode_and_gives_the_same_outputs(tmp_path, policy):
    model, x = build(policy), normal((2, 6, 6, 2))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded(x).dtype == policy.removeprefix("mixed_")


@pytest.mark.parametrize(
    "layer",
    [
        layers.DirectEncoder(3, name="encoder"),
        layers.FoldTime(keras.layers.Dense(4, use_bias=False, name="inside"), name="folded"),
        layers.TemporalMean(axis=2, name="mean"),
    ],
    ids=lambda layer: layer.name,
)
def test_a_layer_made_from_its_config_is_the_same_layer(layer):
    again = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config()
    shape = (2, 5, 6)
    assert again.compute_output_shape(shape) == layer.compute_output_shape(shape)
    assert again.name == layer.name


def test_configs_hold_what_the_layers_were_made_with():
    assert layers.DirectEncoder(3).get_config()["timesteps"] == 3
    assert layers.TemporalMean(axis=2).get_config()["axis"] == 2
    config = layers.FoldTime(keras.layers.Dense(4)).get_config()
    assert config["layer"]["class_name"] == "Dense"
    assert config["layer"]["config"]["units"] == 4
