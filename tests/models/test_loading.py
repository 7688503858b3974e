"""A model loaded in another dtype is the network of the same weights in that dtype."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import keras_internals, layers, models

NETWORK = {
    "input_shape": (8, 8, 1), "num_classes": 3, "timesteps": 2, "width": 0.05, "coding": "direct",
    "recompute": True,
}  # fmt: skip
X = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")


@pytest.fixture
def policy():
    """Sets the global dtype policy; afterwards it is what it was."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def policies(model):
    return {layer.dtype_policy.name for layer in keras_internals.all_layers(model)}


def saved(build, name, policy, path):
    """A model built under a policy, which stays in force, with weights of its own, as a file."""
    policy(name)
    keras.utils.set_random_seed(0)
    model = build()
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.5, 1.5, np.shape(w)) for w in model.get_weights()])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(path / "model.keras")
    return model


def with_gains():
    return models.vgg11(
        **NETWORK, before_neurons=lambda name: layers.TemporalGain(name=f"{name}_gain")
    )


def nested():
    image = keras.Input((8, 8, 1))
    inner = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)], name="inner"
    )
    return keras.Model(image, inner(image))


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
@pytest.mark.parametrize("build", [with_gains, nested], ids=["vgg11", "nested"])
def test_in_float32_it_is_the_float32_network_of_the_same_weights(build, name, policy, tmp_path):
    trained = saved(build, name, policy, tmp_path)
    assert name in policies(models.load(tmp_path / "model.keras"))
    loaded = models.load(tmp_path / "model.keras", dtype="float32")
    assert policies(loaded) == {"float32"}
    assert {weight.dtype for weight in loaded.weights} <= {"float32", "uint32"}
    assert keras.config.dtype_policy().name == name  # left as it was
    policy("float32")
    expected = build()
    expected.set_weights([np.asarray(w, "float32") for w in trained.get_weights()])
    np.testing.assert_array_equal(loaded(X), expected(X))
    assert loaded(X).dtype == tf.float32


def test_without_a_dtype_each_layer_keeps_its_own(policy, tmp_path):
    trained = saved(with_gains, "mixed_bfloat16", policy, tmp_path)
    policy("float32")
    loaded = models.load(tmp_path / "model.keras")
    for layer in trained.layers:  # among them the logits, which are in float32
        if isinstance(layer, keras.layers.InputLayer):  # has its images' dtype
            continue
        assert loaded.get_layer(layer.name).dtype_policy.name == layer.dtype_policy.name
    assert policies(loaded) == {"mixed_bfloat16", "float32"}


def test_a_float32_model_is_loaded_in_mixed_precision_and_trains(policy, tmp_path):
    saved(with_gains, "float32", policy, tmp_path)
    loaded = models.load(tmp_path / "model.keras", dtype="mixed_bfloat16")
    assert policies(loaded) == {"mixed_bfloat16"}
    loaded.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    loaded.fit(X, np.arange(16) % 3, verbose=0)


def test_notes_and_the_file_stay_as_they_are(policy, tmp_path):
    trained = saved(with_gains, "mixed_float16", policy, tmp_path)
    before = (tmp_path / "model.keras").read_bytes()
    loaded = models.load(tmp_path / "model.keras", dtype="float32")
    assert isinstance(loaded, models.SpikingModel)
    assert loaded.notes == trained.notes
    assert (tmp_path / "model.keras").read_bytes() == before


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16", "float32", "float64"])
def test_to_be_judged_half_precision_alone_becomes_float32(name, policy, tmp_path):
    trained = saved(nested, name, policy, tmp_path)
    policy("float32")
    loaded = models.load_to_judge(tmp_path / "model.keras")
    as_trained = policies(models.load(tmp_path / "model.keras"))
    assert policies(loaded) == ({"float32"} if name.startswith("mixed") else as_trained)
    assert (name in policies(loaded)) == (not name.startswith("mixed"))
    for expected, weight in zip(trained.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("path", ["no_such.keras", "text.keras", None])
def test_what_cannot_be_loaded_to_be_judged_is_refused_as_by_load(path, tmp_path):
    (tmp_path / "text.keras").write_text("no archive")
    path = path and tmp_path / path
    with pytest.raises((FileNotFoundError, ValueError)) as of_load:
        models.load(path)
    with pytest.raises(type(of_load.value)) as caught:
        models.load_to_judge(path)
    assert str(caught.value) == str(of_load.value)
