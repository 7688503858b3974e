"""Steering towards a class: AutoAttack's targeted loss, and what counts as success on the way."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import attacks
from keras_mpdsgr.attacks import losses


def drawn(classes, n=40):
    """Logits, labels and another class for each."""
    rng = np.random.default_rng(classes)
    y = rng.integers(classes, size=n)
    towards = (y + rng.integers(1, classes, size=n)) % classes
    return rng.normal(size=(n, classes)), y, towards


def slopes(loss, logits, y):
    logits = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(logits, y)
    return np.array(tape.gradient(value, logits))


def test_the_targeted_ratio_is_autoattacks():
    logits, y, towards = drawn(6)
    expected = []
    for z, label, target in zip(logits, y, towards, strict=True):
        first, _, third, fourth, *_ = sorted(z, reverse=True)
        expected.append(-(z[label] - z[target]) / (first - 0.5 * (third + fourth)))
    found = losses.dlr_towards(tf.constant(logits, tf.float32), losses.Goal(y, towards))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_with_fewer_than_four_classes_the_targeted_ratio_is_the_difference(classes):
    logits, y, towards = drawn(classes)
    at = np.arange(len(y))
    found = losses.dlr_towards(tf.constant(logits, tf.float32), losses.Goal(y, towards))
    np.testing.assert_allclose(found, logits[at, towards] - logits[at, y], atol=1e-6)


@pytest.mark.parametrize("loss", losses.TARGETED_LOSSES)
def test_without_a_label_the_best_rival_stands_for_it(loss):
    logits, _, wanted = drawn(6)
    others = logits.copy()
    others[np.arange(len(wanted)), wanted] = -np.inf
    logits, value = tf.constant(logits, tf.float32), losses.TARGETED_LOSSES[loss]
    goal = losses.Goal(others.argmax(axis=1), wanted)
    np.testing.assert_allclose(value(logits, wanted), value(logits, goal), rtol=1e-6)


TIED = [[1.0, 1.0, 1.0, 1.0, 0.0], [7.0, 7.0, 7.0, 7.0, 7.0], [0.0, 0.0, 0.0, 0.0, -1.0]]


@pytest.mark.parametrize("rounding", [0.0, 1e-7])
@pytest.mark.parametrize("logits", TIED)
def test_where_logits_are_equal_the_ratios_have_the_margins_slope(logits, rounding):
    z = np.array([logits]) * (1 + rounding * np.arange(5))
    y, goal = np.array([1]), losses.Goal(np.array([1]), np.array([3]))
    np.testing.assert_array_equal(slopes(losses.dlr, z, y), slopes(losses.margin, z, y))
    np.testing.assert_array_equal(slopes(losses.dlr_towards, z, goal), [[0, -1, 0, 1, 0]])


@pytest.mark.parametrize("loss", [losses.dlr, losses.dlr_towards])
def test_next_to_a_tie_the_ratios_slope_is_that_of_finite_differences(loss):
    z, step = np.array([1.0, 1.002, 0.999, 0.998, 0.2]), 1e-7
    label, towards = np.full(5, 1), np.full(5, 3)
    y = label if loss is losses.dlr else losses.Goal(label, towards)
    # A row for the slope by each logit.
    ahead, behind = (
        np.array(loss(tf.constant(z + s), y)) for s in step * np.stack([np.eye(5), -np.eye(5)])
    )
    found = slopes(loss, np.tile(z, (5, 1)), y)[0]
    np.testing.assert_allclose(found, (ahead - behind) / (2 * step), rtol=2e-3, atol=1e-2)


def test_wrong_classes_are_all_but_the_label_by_their_logits():
    logits = tf.constant([[0.1, 3.0, -2.0, 1.0], [5.0, 4.0, 3.0, 2.0]])
    found = losses.wrong_classes(logits, tf.constant([1, 3]))
    np.testing.assert_array_equal(found, [[3, 0, 2], [0, 1, 2]])


def third_class_on_the_way():
    """Of one pixel: class 1 rises but never leads; class 2 leads at 0.62 alone; elsewhere 0."""
    pixel = keras.Input((1,))

    def scores(x):
        return keras.ops.concatenate([0 * x + 1, x, 3 - 100 * keras.ops.abs(x - 0.62)], axis=1)

    return keras.Model(pixel, keras.layers.Lambda(scores, output_shape=(3,))(pixel))


def test_a_misclassification_into_a_third_class_on_the_way_counts():
    model, x = third_class_on_the_way(), np.array([[0.5]], np.float32)
    options = {"eps": 0.3, "steps": 12, "step_size": 0.02, "loss": "cross_entropy"}
    attack = attacks.BIM(keep="first", targeted=True, **options)
    found = attacks.MultiTargeted(attack, targets=2)(model, x, np.array([0]))
    assert found == pytest.approx(0.62, abs=1e-3)


def test_called_by_itself_a_targeted_attack_stops_at_its_target_alone():
    model, x = third_class_on_the_way(), np.array([[0.5]], np.float32)
    attack = attacks.BIM(eps=0.3, steps=12, step_size=0.02, keep="first", targeted=True)
    # Towards class 2 it stops there; towards class 1 the third class on its way is no success.
    assert attack(model, x, np.array([2])) == pytest.approx(0.62, abs=0.02)
    assert np.argmax(model(attack(model, x, np.array([1])))) != 1


@pytest.mark.parametrize("kind", [attacks.APGD, attacks.SAPGD])
@pytest.mark.parametrize("loss", losses.TARGETED_LOSSES)
def test_multi_targeted_breaks_a_linear_model_wherever_it_can_be_broken(kind, loss):
    rng = np.random.default_rng(4)
    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(5)])
    weights = rng.normal(size=(12, 5)).astype(np.float32)
    model.set_weights([weights, np.zeros(5, np.float32)])
    x = rng.uniform(0.3, 0.7, size=(40, 12)).astype(np.float32)
    logits, eps = x @ weights, 0.04
    y, at = logits.argmax(axis=1), np.arange(40)
    # To each other class at most: the difference of logits plus eps times the slope's L1 norm.
    reach = np.abs(weights[:, :, None] - weights[:, None, :]).sum(axis=0)[y]
    most = logits - logits[at, y][:, None] + eps * reach
    most[at, y] = -np.inf
    breakable = most.max(axis=1) > 0
    assert 5 < breakable.sum() < 35
    attack = kind(eps=eps, steps=15, loss=loss, targeted=True, gradient="bptt")
    found = attacks.MultiTargeted(attack)(model, x, y)
    np.testing.assert_array_equal((found @ weights).argmax(axis=1) != y, breakable)


def test_multi_targeted_carlini_wagner_takes_any_error_at_its_confidence():
    model, x = third_class_on_the_way(), np.array([[0.5]], np.float32)
    attack = attacks.CarliniWagnerL2(
        steps=60, learning_rate=0.02, constant=1.0, binary_search_steps=2, confidence=0.5,
        targeted=True,
    )  # fmt: skip
    found = attacks.MultiTargeted(attack, targets=2)(model, x, np.array([0]))
    logits = np.array(model(found))[0]
    assert logits[2] - logits[0] >= 0.5
