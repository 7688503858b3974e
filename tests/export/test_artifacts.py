"""Exported files compute what the Keras model computes."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, export, layers

# Keras' own float32 sums differ by this much between batch sizes.
ROUNDING = 1e-5


def behind(encoder):
    return keras.Sequential([keras.Input((8, 8, 1)), encoder, layers.TemporalMean()])


def run_onnx(path, x):
    onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
    from onnx.reference import ReferenceEvaluator

    onnx.checker.check_model(str(path))
    evaluator = ReferenceEvaluator(str(path))
    (name,) = evaluator.input_names
    return evaluator.run(None, {name: x})[0]


@pytest.fixture(scope="module")
def onnx_file(digits_model, tmp_path_factory):
    pytest.importorskip("tf2onnx", reason="needs the extra `onnx`")
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export.to_onnx(digits_model, path)
    return path


@pytest.mark.parametrize("n", [1, 12])
def test_onnx_gives_the_logits_of_the_digits_model(digits_model, digits, onnx_file, n):
    logits = digits_model(digits[:n], training=False).numpy()
    np.testing.assert_allclose(run_onnx(onnx_file, digits[:n]), logits, atol=ROUNDING)


def test_writing_leaves_the_model_as_it_was(digits_model, digits, onnx_file):
    assert tf.is_tensor(digits_model.get_layer("pixels").mean)
    assert digits_model(digits[:2]).shape == (2, 10)


def test_an_onnx_file_is_alone_in_its_folder(onnx_file):
    assert [path.name for path in onnx_file.parent.iterdir()] == ["model.onnx"]


def test_a_saved_model_gives_the_logits_of_the_digits_model(digits_model, digits, tmp_path):
    export.to_saved_model(digits_model, tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    served = loaded.serve(digits[:12]).numpy()
    logits = digits_model(digits[:12], training=False).numpy()
    np.testing.assert_allclose(served, logits, atol=ROUNDING)


def test_a_saved_model_of_a_random_coding_draws_at_each_call(tmp_path):
    inputs = keras.Input((50,))
    model = keras.Model(inputs, layers.PoissonEncoder(20, seed=3)(inputs))
    export.to_saved_model(model, tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    x = np.full((4, 50), 0.3, "float32")
    one, two = (loaded.serve(x).numpy() for _ in range(2))
    assert set(np.unique(one)) == {0.0, 1.0}
    assert not np.array_equal(one, two)
    # 4000 draws: five standard errors.
    assert one.mean() == pytest.approx(0.3, abs=5 * np.sqrt(0.3 * 0.7 / 4000))


def test_a_saved_model_of_stateful_neurons_keeps_their_potential(tmp_path):
    inputs = keras.Input(batch_shape=(1, 1, 1))
    model = keras.Model(inputs, LIFLayer(stateful=True)(inputs))
    export.to_saved_model(model, tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    x = np.full((1, 1, 1), 0.4, "float32")
    assert [float(loaded.serve(x)[0, 0, 0]) for _ in range(6)] == [0, 0, 1, 0, 0, 1]


def stateful():
    inputs = keras.Input(batch_shape=(1, 1, 1))
    return keras.Model(inputs, LIFLayer(stateful=True)(inputs))


def half_precision():
    inputs = keras.Input((2, 1))
    return keras.Model(inputs, LIFLayer(dtype="mixed_float16")(inputs))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: behind(layers.PoissonEncoder(2, name="coded")), "at random .*: coded, a Poisson"),
        (lambda: behind(layers.SmoothingEncoder(2, name="coded")), "coded, a SmoothingEncoder"),
        (stateful, "not keep a state between calls"),
        (half_precision, "compute in float32 .* in float16"),
        (lambda: keras.Sequential([keras.layers.Dense(1)]), "must be a built Keras model"),
        (lambda: behind(layers.FrequencyEncoder(2)), "operations that ONNX lacks"),
    ],
)
def test_what_onnx_cannot_express_is_refused(model, message, tmp_path):
    pytest.importorskip("tf2onnx", reason="needs the extra `onnx`")
    with pytest.raises(ValueError, match=message):
        export.to_onnx(model(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"`to_onnx` needs .* onnx.* keras-mpdsgr\[onnx\]"):
        export.to_onnx(behind(layers.DirectEncoder(2)), tmp_path / "model.onnx")
