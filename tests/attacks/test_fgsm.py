"""FGSM against closed forms; whose gradient it follows, in which mode, averaged over what."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import attacks
from keras_mpdsgr.attacks import Target, losses

# Two classes of four pixels. The last column says where class 1 lies from class 0.
WEIGHTS = np.float32([[1.0, -2.0], [0.5, 3.0], [-1.0, 1.0], [2.0, 1.5]])
TOWARDS_1 = np.array([-1, 1, 1, -1])


def linear_model(weights, bias=None, activation=None):
    weights = np.float32(weights)
    bias = np.zeros(weights.shape[1]) if bias is None else bias
    dense = keras.layers.Dense(weights.shape[1], activation=activation)
    model = keras.Sequential([keras.Input((len(weights),)), dense])
    dense.set_weights([weights, np.float32(bias)])
    return model


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def linear_gradient(x, y, weights, bias=0.0):
    """Cross-entropy's gradient for logits x W + b, in float64."""
    weights = np.float64(weights)
    shares = softmax(np.float64(x) @ weights + bias)
    return (shares - np.eye(weights.shape[1])[y]) @ weights.T


@pytest.mark.parametrize("eps", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("label, direction", [(0, TOWARDS_1), (1, -TOWARDS_1)])
def test_fgsm_steps_from_the_true_class_to_the_other(eps, label, direction):
    x = np.float32([[0.5, 0.5, 0.5, 0.5], [0.0, 1.0, 0.05, 0.95]])
    found = attacks.FGSM(eps=eps)(linear_model(WEIGHTS), x, np.array([label, label]))
    np.testing.assert_allclose(found, np.clip(x + eps * direction, 0, 1), rtol=0, atol=1e-6)


def test_fgsm_follows_the_gradient_worked_out_by_hand_for_three_classes():
    rng = np.random.default_rng(5)
    weights, bias = rng.normal(size=(12, 3)), rng.normal(size=3)
    x = rng.uniform(size=(20, 12)).astype(np.float32)
    y = rng.integers(3, size=20)
    gradient = linear_gradient(x, y, weights, bias)
    assert np.abs(gradient).min() > 1e-5  # no sign hangs on a rounding
    found = attacks.FGSM(eps=0.1)(linear_model(weights, bias), x, y)
    expected = np.clip(x + 0.1 * np.sign(gradient), 0, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_pixel_that_the_model_does_not_look_at_stays():
    weights = np.float32([[1, -1], [0, 0], [0, 0], [-1, 1]])
    x = np.full((1, 4), 0.5, np.float32)
    found = attacks.FGSM(eps=0.1)(linear_model(weights), x, np.array([0]))
    np.testing.assert_allclose(found, [[0.4, 0.5, 0.5, 0.6]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("margin", [8.0, 20.0])
def test_a_confident_model_is_attacked_in_the_same_direction(margin):
    # From about 17 on, the true class' probability is 1 in float32.
    x = np.full((1, 4), 0.5, np.float32)
    model = linear_model(WEIGHTS, bias=[margin + 0.5, 0.0])
    logits = model.predict(x, verbose=0)[0]
    assert logits[0] - logits[1] == pytest.approx(margin, abs=0.1)
    found = attacks.FGSM(eps=0.1)(model, x, np.array([0]))
    np.testing.assert_allclose(found, x + 0.1 * TOWARDS_1, rtol=0, atol=1e-6)


def ends_in_dense(logits, image):
    return keras.Model(image, keras.layers.Activation("softmax")(logits))


def ends_in_softmax_layer(logits, image):
    return keras.Model(image, keras.layers.Softmax()(logits))


def ends_in_softmax_function(logits, image):
    return keras.Model(image, keras.ops.softmax(logits))


def ends_in_a_model(logits, image):
    head = keras.Sequential([keras.Input((3,)), keras.layers.Softmax()])
    return keras.Model(image, head(logits))


@pytest.mark.parametrize(
    "ending", [ends_in_dense, ends_in_softmax_layer, ends_in_softmax_function, ends_in_a_model]
)
@pytest.mark.parametrize("attack", [attacks.FGSM(eps=0.1), attacks.BIM(eps=0.1, step_size=0.03)])
def test_a_model_that_ends_in_softmax_is_attacked_as_its_logits_are(ending, attack):
    image = keras.Input((12,))
    hidden = keras.layers.Dense(6, activation="tanh")(image)
    logits = keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(stddev=4))(
        hidden
    )
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(30, 12)).astype(np.float32), rng.integers(3, size=30)
    expected = attack(keras.Model(image, logits), x, y)
    np.testing.assert_allclose(attack(ending(logits, image), x, y), expected, rtol=0, atol=1e-6)


def test_a_dense_layer_with_softmax_is_attacked_as_its_logits_are():
    x = np.float32([[0.5, 0.5, 0.5, 0.5], [0.0, 1.0, 0.05, 0.95]])
    found = attacks.FGSM(eps=0.2)(linear_model(WEIGHTS, activation="softmax"), x, np.array([0, 1]))
    expected = np.clip(x + 0.2 * np.stack([TOWARDS_1, -TOWARDS_1]), 0, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_the_model_is_attacked_in_inference_mode():
    # In training, batch statistics of equal images leave no gradient, and dropout leaves little.
    norm = keras.layers.BatchNormalization(epsilon=0.0)
    dense = keras.layers.Dense(2, use_bias=False)
    layers = [keras.Input((4,)), norm, keras.layers.Dropout(0.99), dense]
    model = keras.Sequential(layers)
    scale, shift, mean, variance = [2, -1, 1, 3], [0, 0, 0, 0], [0.5] * 4, [4, 1, 1, 9]
    norm.set_weights([np.float32(values) for values in (scale, shift, mean, variance)])
    dense.set_weights([WEIGHTS])
    x = np.full((8, 4), 0.4, np.float32)
    with tf.GradientTape() as tape:
        images = tf.constant(x)
        tape.watch(images)
        loss = losses.cross_entropy(model(images, training=True), tf.zeros(8, tf.int32))
    assert np.abs(tape.gradient(loss, images)).max() < 1e-4
    found = attacks.FGSM(eps=0.1)(model, x, np.zeros(8, int))
    # Through inference-mode normalisation, a factor of 2/2, -1/1, 1/1 and 3/3 a pixel.
    expected = x + 0.1 * TOWARDS_1 * np.sign(scale)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


class Scripted(keras.layers.Layer):
    """Scales its input by the next of a list of factors at each call: a draw known beforehand."""

    def __init__(self, factors):
        super().__init__()
        self.factors = tf.constant(factors, tf.float32)
        self.position = tf.Variable(0, trainable=False)

    def call(self, inputs):
        factor = self.factors[self.position % len(self.factors)]
        self.position.assign_add(1)
        return inputs * factor


def scripted_model(factors):
    drawn, dense = Scripted(factors), keras.layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((4,)), drawn, dense])
    dense.set_weights([WEIGHTS])
    drawn.position.assign(0)
    return model


def test_eot_follows_the_mean_of_the_draws_gradients():
    factors = [1.0, -4.0, 2.0, -3.0]
    x, y = np.float32([[0.3, 0.2, 0.6, 0.4], [0.5, 0.5, 0.5, 0.5]]), np.array([0, 1])
    each = [f * linear_gradient(f * x, y, WEIGHTS) for f in factors]
    target = Target(scripted_model(factors), eot=4)
    gradient, *_ = target.input_gradient(
        tf.constant(x), tf.constant(y, tf.int32), losses.cross_entropy
    )
    np.testing.assert_allclose(gradient, np.mean(each, axis=0), rtol=1e-5)
    model = scripted_model(factors)
    for eot in (1, 4):
        model.layers[0].position.assign(0)
        found = attacks.FGSM(eps=0.1, eot=eot)(model, x, y)
        expected = x + 0.1 * np.sign(np.mean(each[:eot], axis=0))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert (np.sign(each[0]) != np.sign(np.mean(each, axis=0))).any()


class Noisy(keras.layers.Layer):
    """Multiplies by noise of mean 1, in inference too."""

    def __init__(self, deviation, seed=0):
        super().__init__()
        self.deviation = deviation
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        noise = keras.random.normal(keras.ops.shape(inputs), seed=self.generator)
        return inputs * (1.0 + self.deviation * noise)


def noisy_model(pixels, deviation, weight):
    dense = keras.layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((pixels,)), Noisy(deviation), dense])
    dense.set_weights([np.float32([[weight, -weight]] * pixels)])
    return model


def test_averaging_over_draws_divides_the_gradients_variance_by_their_number():
    # Weights so small that both classes keep probability 1/2, and the gradient is the noise alone.
    model = noisy_model(20_000, deviation=3.0, weight=1e-6)
    x, y = tf.fill((1, 20_000), 0.5), tf.zeros(1, tf.int32)

    def variance(eot):
        gradient, *_ = Target(model, eot=eot).input_gradient(x, y, losses.cross_entropy)
        return np.var(gradient)

    # An estimate from 20,000 pixels has a deviation of 1 %.
    assert variance(1) / variance(16) == pytest.approx(16, rel=0.06)


def test_averaging_over_draws_finds_more_of_the_true_direction():
    model = noisy_model(2_000, deviation=3.0, weight=1e-5)
    x, y = np.full((1, 2_000), 0.5, np.float32), np.array([0])
    share = {eot: np.mean(attacks.FGSM(eps=0.1, eot=eot)(model, x, y) < 0.5) for eot in (1, 25)}
    # Phi(1/3) and Phi(5/3): the chance that a mean of 1 keeps its sign.
    assert share[1] == pytest.approx(0.631, abs=0.04)
    assert share[25] == pytest.approx(0.952, abs=0.02)


def test_the_same_seed_repeats_an_attack_on_a_model_that_is_random_itself():
    model = noisy_model(200, deviation=3.0, weight=1e-5)
    x, y = np.full((1, 200), 0.5, np.float32), np.array([0])
    first, again, other = (attacks.FGSM(eps=0.1)(model, x, y, seed=seed) for seed in (1, 1, 2))
    assert (first != other).any()
    np.testing.assert_array_equal(first, again)
