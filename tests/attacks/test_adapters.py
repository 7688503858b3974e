"""Models handed to Foolbox and ART: bounds, logits and gradients as those libraries see them."""

import sys

import art.attacks.evasion
import foolbox
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, attacks, layers
from keras_mpdsgr.attacks import adapters

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(6, 6)).astype(np.float32)


def smooth(activation=None):
    dense = keras.layers.Dense(4, activation=activation)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation="tanh"), dense])
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def spiking():
    steep = keras.initializers.RandomNormal(stddev=0.7, seed=3)
    image = keras.Input((6,))
    spikes = LIFLayer()(
        layers.DirectEncoder(3)(keras.layers.Dense(20, kernel_initializer=steep)(image))
    )
    readout = layers.FoldTime(keras.layers.Dense(4, kernel_initializer=steep))
    return keras.Model(image, layers.TemporalMean()(readout(spikes)))


def logits_of(model, x=X):
    return attacks.Target(model).logits(tf.constant(x)).numpy()


@pytest.mark.parametrize("model", [smooth(), smooth("softmax"), spiking()], ids=str)
def test_both_see_logits_of_pixels_in_0_1(model):
    shown, classifier = adapters.to_foolbox(model), adapters.to_art(model)
    assert tuple(shown.bounds) == (0, 1)
    np.testing.assert_array_equal(classifier.clip_values, [0, 1])
    for found in (shown(tf.constant(X)), classifier.predict(X)):
        np.testing.assert_allclose(found, logits_of(model), atol=1e-5)


@pytest.mark.parametrize("build", [smooth, spiking])
def test_fgsm_of_both_is_ours(build):
    model, eps = build(), 0.05
    y = logits_of(model).argmax(axis=1)
    own = attacks.FGSM(eps=eps)(model, X, y)
    attack = foolbox.attacks.LinfFastGradientAttack()
    _, theirs, _ = attack(
        adapters.to_foolbox(model), tf.constant(X), tf.constant(y, tf.int64), epsilons=eps
    )
    np.testing.assert_allclose(theirs, own, atol=1e-6)
    theirs = art.attacks.evasion.FastGradientMethod(adapters.to_art(model), eps=eps).generate(X, y)
    np.testing.assert_allclose(theirs, own, atol=1e-6)


def test_a_changed_model_is_seen_as_it_is():
    model = smooth()
    shown, classifier = adapters.to_foolbox(model), adapters.to_art(model)
    before = shown(tf.constant(X)).numpy()
    model.layers[0].activation = keras.activations.relu
    model.layers[-1].bias.assign_add([1.0, 0.0, 0.0, 0.0])
    after = np.array(model(X))
    assert np.abs(after - before).max() > 0.1
    for found in (shown(tf.constant(X)), classifier.predict(X)):
        np.testing.assert_allclose(found, after, atol=1e-5)


@pytest.mark.parametrize(
    "adapter, package",
    [(adapters.to_foolbox, "foolbox"), (adapters.to_art, "art.estimators.classification")],
)
def test_a_missing_library_is_named_in_one_line(monkeypatch, adapter, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"needs the package {package}.*keras-mpdsgr\[test\]"):
        adapter(smooth())


def test_art_is_refused_a_model_that_does_not_say_its_shapes():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="`model` must have one input and one output of known"):
        adapters.to_art(Subclassed())


def test_a_model_handed_on_twice_has_each_time_the_logits_of_what_it_was_said_to_give():
    model = smooth("sigmoid")
    shares = model(X).numpy()
    sigmoids = adapters.to_foolbox(model, outputs="sigmoids")(tf.constant(X))
    logits = adapters.to_foolbox(model, outputs="logits")(tf.constant(X))
    np.testing.assert_allclose(sigmoids, np.log(shares / (1 - shares)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(logits, shares, rtol=1e-5)
