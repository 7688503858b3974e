"""WeightedSum: branches with one learnable weight each."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import layers


def branches(count=2):
    return [np.random.default_rng(i).normal(size=(2, 3, 4)).astype("float32") for i in range(count)]


@pytest.mark.parametrize("count", [2, 3])
def test_branches_start_with_equal_weights_that_sum_to_one(count):
    layer, given = layers.WeightedSum(), branches(count)
    np.testing.assert_allclose(layer(given), np.mean(given, axis=0), rtol=1e-5, atol=1e-6)
    assert layer.branch_weights.shape == (count,)
    assert layer.trainable_weights == [layer.branch_weights]


def test_each_weight_belongs_to_its_branch_and_gets_its_gradient():
    layer, (one, other) = layers.WeightedSum(), branches()
    layer([one, other])
    layer.branch_weights.assign([0.25, -2.0])
    upstream = branches(3)[2]
    with tf.GradientTape() as tape:
        combined = layer([one, other])
        loss = tf.reduce_sum(upstream * combined)
    np.testing.assert_allclose(combined, 0.25 * one - 2.0 * other, rtol=1e-5, atol=1e-6)
    expected = [(upstream * one).sum(), (upstream * other).sum()]
    slope = tape.gradient(loss, layer.branch_weights.value)
    np.testing.assert_allclose(slope, expected, rtol=1e-4)


def test_a_saved_sum_is_the_same_sum_and_follows_its_dtype(tmp_path):
    inputs = [keras.Input((3, 4)), keras.Input((3, 4))]
    layer = layers.WeightedSum(dtype="mixed_float16")
    model = keras.Model(inputs, layer(inputs))
    layer.branch_weights.assign([0.75, 0.5])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(branches()), model(branches()))
    assert loaded(branches()).dtype == "float16" and loaded.output_shape == (None, 3, 4)


@pytest.mark.parametrize("shapes", [[(2, 3)], [(2, 3), (2, 4)], (2, 3)])
def test_anything_but_several_tensors_of_one_shape_is_refused(shapes):
    with pytest.raises(ValueError, match="WeightedSum takes a list of at least two tensors"):
        layers.WeightedSum().build(shapes)
