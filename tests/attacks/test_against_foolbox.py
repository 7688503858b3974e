"""FGSM and BIM against Foolbox's own implementations, on a smooth and on a spiking network."""

import foolbox
import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf

from keras_mpdsgr import attacks, models

FGSM = foolbox.attacks.LinfFastGradientAttack()
EPS = [1 / 255, 8 / 255, 0.3]


@pytest.fixture(scope="module")
def digits():
    """1,797 handwritten digits, 8x8; a third of their pixels lies on the edge of [0, 1]."""
    bunch = sklearn.datasets.load_digits()
    return (bunch.images[..., None] / 16).astype(np.float32), bunch.target


@pytest.fixture(scope="module")
def smooth_network():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, padding="same", activation="softplus"),
            keras.layers.Conv2D(12, 3, strides=2, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


@pytest.fixture(scope="module")
def spiking_network(digits):
    keras.utils.set_random_seed(1)
    model = models.vgg11((8, 8, 1), 10, timesteps=4, width=0.05, track_omega=False)
    model.compile(
        keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    x, y = digits
    model.fit(x[:1024], y[:1024], epochs=5, batch_size=64, verbose=0)
    return model


def foolbox_images(attack, model, x, y, eps):
    wrapped = foolbox.TensorFlowModel(lambda images: model(images, training=False), bounds=(0, 1))
    # Labels as int64: comparing them with argmax's, Foolbox 3.3 needs what NumPy 2 took away.
    labels = tf.constant(y, tf.int64)
    _, found, _ = attack(wrapped, tf.constant(x), labels, epsilons=eps)
    return found.numpy()


def foolbox_bim(steps, step_size):
    return foolbox.attacks.LinfBasicIterativeAttack(
        steps=steps, abs_stepsize=step_size, random_start=False
    )


def farthest_pixel(a, b):
    return np.abs(a - b).reshape(len(a), -1).max(axis=1)


@pytest.mark.parametrize("eps", EPS)
def test_fgsm_is_foolboxs_on_a_smooth_network(smooth_network, digits, eps):
    x, y = digits[0][-64:], digits[1][-64:]
    expected = foolbox_images(FGSM, smooth_network, x, y, eps)
    found = attacks.FGSM(eps=eps)(smooth_network, x, y)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("eps, steps, step_size", [(8 / 255, 7, 0.01), (0.3, 10, 0.05)])
def test_bim_is_foolboxs_on_a_smooth_network(smooth_network, digits, eps, steps, step_size):
    x, y = digits[0][-64:], digits[1][-64:]
    expected = foolbox_images(foolbox_bim(steps, step_size), smooth_network, x, y, eps)
    found = attacks.BIM(eps=eps, steps=steps, step_size=step_size)(smooth_network, x, y)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_the_spiking_network_has_learned_and_is_hurt_by_the_attack(spiking_network, digits):
    x, y = digits[0][-100:], digits[1][-100:]
    adversarial = attacks.BIM(eps=0.15, step_size=0.03)(spiking_network, x, y)
    clean, attacked = (
        np.mean(np.argmax(spiking_network(images, training=False), axis=-1) == y)
        for images in (x, adversarial)
    )
    assert clean > 0.3
    assert attacked < clean - 0.2


@pytest.mark.parametrize("eps", EPS)
def test_fgsm_is_foolboxs_on_a_spiking_network(spiking_network, digits, eps):
    x, y = digits[0][-100:], digits[1][-100:]
    expected = foolbox_images(FGSM, spiking_network, x, y, eps)
    found = attacks.FGSM(eps=eps)(spiking_network, x, y)
    # Not all: a potential next to the threshold may fire in one order of summation only.
    assert np.mean(farthest_pixel(found, expected) <= 1e-6) >= 0.95


def test_bim_is_foolboxs_on_a_spiking_network(spiking_network, digits):
    x, y = digits[0][-100:], digits[1][-100:]
    expected = foolbox_images(foolbox_bim(7, 0.01), spiking_network, x, y, 8 / 255)
    found = attacks.BIM(eps=8 / 255, steps=7, step_size=0.01)(spiking_network, x, y)
    assert np.mean(farthest_pixel(found, expected) <= 1e-6) >= 0.95
