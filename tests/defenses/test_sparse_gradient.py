"""SR's finite difference on a linear model, worked out in numpy from the formula."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr.defenses import AdversarialTraining, SparseGradient
from keras_mpdsgr.fitting import TaskLoss

WEIGHTS = np.array([[1.0, -2.0, 0.5], [0.3, 1.0, -1.5]], "float32")
X = np.array([[0.4, 0.7], [0.9, 0.2], [0.5, 0.1]], "float32")
Y = np.array([0, 1, 2])
# The best wrong class at each image: logits are [.61, -.1, -.85], [.96, -1.6, .15], [.53, -.9, .1].
RIVALS = np.array([1, 0, 0])


@pytest.fixture(scope="module")
def linear():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, use_bias=False)])
    model.set_weights([WEIGHTS])
    return model


no_loss = TaskLoss(lambda y, logits: tf.zeros(()))


def penalty(x, weights, rivals, h, directions=None):
    """mean(((f(x + h d) - f(x)) / h)^2), d the sign of df/dx = f (1 - f) (w_y - w_j)."""
    x, weights = x.astype("float64"), weights.astype("float64")
    rows = np.arange(len(x))
    if directions is None:
        directions = np.sign(weights[:, Y] - weights[:, rivals]).T

    def f(images):
        z = np.exp(images @ weights)
        return z[rows, Y] / (z[rows, Y] + z[rows, rivals])

    return np.mean(((f(x + h * directions) - f(x)) / h) ** 2)


@pytest.mark.parametrize("h", [0.01, 0.5])
def test_the_loss_holds_the_squared_slope_of_the_right_class(linear, h):
    objective = SparseGradient(weight=2.0, h=h).objective()
    with tf.GradientTape() as tape:
        logits, loss = objective(linear, tf.constant(X), tf.constant(Y), no_loss)
    np.testing.assert_allclose(logits, X @ WEIGHTS, atol=1e-6)
    assert float(loss) == pytest.approx(2.0 * penalty(X, WEIGHTS, RIVALS, h), rel=2e-4)
    gradient = tape.gradient(loss, linear.trainable_weights[0]).numpy()
    for index in np.ndindex(2, 3):
        step = np.zeros((2, 3))
        step[index] = 1e-5
        slope = (
            penalty(X, WEIGHTS + step, RIVALS, h) - penalty(X, WEIGHTS - step, RIVALS, h)
        ) / 2e-5
        assert gradient[index] == pytest.approx(2.0 * slope, rel=2e-3, abs=2e-3)


def test_the_best_wrong_class_is_that_of_the_image_even_where_another_is_best_beyond(linear):
    # From [.5, .5] of class 0, logits [.65, -.5, -.5001]; raising f lowers class 1 below class 2.
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, use_bias=False)])
    weights = np.array([[1.0, -2.0, -1.5], [0.3, 1.0, 0.4]], "float32")
    model.set_weights([weights])
    x, y = np.array([[0.5, 0.5]], "float32"), np.array([0])
    assert np.argmax((x @ weights)[0, 1:]) == 0
    beyond = x + 0.4 * np.sign(weights[:, 0] - weights[:, 1])
    assert np.argmax((beyond @ weights)[0, 1:]) == 1
    _, loss = SparseGradient(weight=1.0, h=0.4).objective()(
        model, tf.constant(x), tf.constant(y), no_loss
    )
    z, moved = np.exp(x @ weights)[0], np.exp(beyond @ weights)[0]
    slope = (moved[0] / (moved[0] + moved[1]) - z[0] / (z[0] + z[1])) / 0.4
    assert float(loss) == pytest.approx(slope**2, rel=1e-4)


def test_the_task_loss_is_added_and_taken_at_the_same_images(linear):
    objective = SparseGradient(weight=0.0).objective()
    _, loss = objective(
        linear, tf.constant(X), tf.constant(Y), TaskLoss(lambda y, z: tf.reduce_sum(z))
    )
    assert float(loss) == pytest.approx((X @ WEIGHTS).sum(), rel=1e-5)


def test_with_an_adversary_both_terms_are_taken_at_its_images(linear):
    adversary = AdversarialTraining(eps=0.1, step_size=0.1, random_start=False)
    examples = adversary.examples(linear, X, Y).numpy()
    rivals = [np.argmax(np.where(np.arange(3) == y, -np.inf, z))
              for y, z in zip(Y, examples @ WEIGHTS, strict=True)]  # fmt: skip
    objective = SparseGradient(weight=2.0, h=0.3).objective(adversary)
    logits, loss = objective(linear, tf.constant(X), tf.constant(Y), no_loss)
    np.testing.assert_allclose(logits, examples @ WEIGHTS, atol=1e-6)
    assert float(loss) == pytest.approx(
        2.0 * penalty(examples, WEIGHTS, np.array(rivals), 0.3), rel=1e-4
    )


def test_a_sure_and_an_infinite_logit_leave_the_penalty_finite():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, use_bias=False)])
    model.set_weights([WEIGHTS * 1e4])
    with tf.GradientTape() as tape:
        _, loss = SparseGradient(weight=1.0).objective()(
            model, tf.constant(X), tf.constant(Y), no_loss
        )
    assert np.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, model.trainable_weights[0])).all()
