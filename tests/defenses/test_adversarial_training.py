"""Adversarial training's examples and losses on a linear softmax model, worked out in numpy."""

import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from keras_mpdsgr import LIFLayer, attacks, dynamics, layers
from keras_mpdsgr.attacks.ball import ball
from keras_mpdsgr.defenses import AdversarialTraining
from keras_mpdsgr.fitting import ModelInStep, TaskLoss

RANDOM = np.random.default_rng(3)
WEIGHTS = RANDOM.normal(size=(5, 3)).astype("float32")
X = RANDOM.uniform(size=(4, 5)).astype("float32")
Y = np.array([0, 2, 1, 2])


@pytest.fixture(scope="module")
def linear():
    """Logits x W, without a bias."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, use_bias=False)])
    model.set_weights([WEIGHTS])
    return model


def softmax(x, weights=WEIGHTS):
    return scipy.special.softmax(x.astype("float64") @ weights, axis=1)


def cross_entropy(y, logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))


# Examples -----------------------------------------------------------------------------------------


def test_with_two_classes_every_step_goes_along_the_difference_of_their_weights(linear):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    model.set_weights([np.array([[1.0, 2.0], [0.5, -1.0], [2.0, 2.0]], "float32")])
    adversary = AdversarialTraining(eps=0.05, steps=2, step_size=0.03, random_start=False)
    x = np.array([[0.5, 0.5, 0.5], [0.98, 0.01, 0.5]], "float32")
    moved = adversary.examples(model, x, np.array([0, 0]))
    # Class 1 wins where the first pixel is bright and the second dark; the third does not matter.
    expected = [[0.55, 0.45, 0.5], [1.0, 0.0, 0.5]]
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_pgd_steps_along_the_sign_of_the_cross_entropys_gradient(linear):
    adversary = AdversarialTraining(eps=0.1, steps=3, step_size=0.04, random_start=False)
    images = X.astype("float64")
    for _ in range(3):
        gradient = (softmax(images) - np.eye(3)[Y]) @ WEIGHTS.T
        images = np.clip(images + 0.04 * np.sign(gradient), X - 0.1, X + 0.1).clip(0, 1)
    np.testing.assert_allclose(adversary.examples(linear, X, Y), images, atol=1e-6)


def test_trades_steps_along_the_sign_of_the_divergences_gradient(linear):
    options = {"eps": 0.1, "loss": "trades", "seed": 11}
    start = AdversarialTraining(step_size=0.0, **options).examples(linear, X, Y).numpy()
    found = AdversarialTraining(steps=2, step_size=0.03, **options).examples(linear, X, Y)
    images, clean = start.astype("float64"), softmax(X)
    for _ in range(2):
        gradient = (softmax(images) - clean) @ WEIGHTS.T
        images = np.clip(images + 0.03 * np.sign(gradient), X - 0.1, X + 0.1).clip(0, 1)
    np.testing.assert_allclose(found, images, atol=1e-6)
    before, after = (
        scipy.stats.entropy(clean, softmax(x), axis=1) for x in (start, np.asarray(found))
    )
    assert (after > before).all()


def test_a_fast_example_is_one_step_of_the_whole_radius(linear):
    gradient = (softmax(X) - np.eye(3)[Y]) @ WEIGHTS.T
    expected = np.clip(X + 0.2 * np.sign(gradient), 0, 1)
    found = AdversarialTraining(eps=0.2, steps=5).fast_examples(linear, X, Y)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.fixture(scope="module")
def spiking():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.DirectEncoder(4),
            layers.FoldTime(keras.layers.Dense(24)),
            LIFLayer(surrogate="sigmoid", tau=0.9),
            layers.FoldTime(keras.layers.Dense(3)),
            layers.TemporalMean(),
        ]
    )


class Divergence(attacks.PGD):
    """Raises the KL divergence from the clean answers, which it is given in place of labels."""

    def objective(self, logits, y):
        log_p, log_q = tf.nn.log_softmax(y), tf.nn.log_softmax(logits)
        return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1)


@pytest.mark.parametrize("network", ["linear", "spiking"])
@pytest.mark.parametrize("loss", ["pgd", "trades"])
@pytest.mark.parametrize("options", [{}, {"eps": 0.2, "steps": 5, "step_size": 0.07}], ids=str)
def test_examples_are_those_of_the_attack_from_the_same_start(network, loss, options, request):
    model = request.getfixturevalue(network)
    found = AdversarialTraining(loss=loss, seed=7, **options).examples(model, X, Y)
    start = AdversarialTraining(loss=loss, seed=7, **options | {"step_size": 0.0})
    adversary = AdversarialTraining(**options)
    kind = attacks.PGD if loss == "pgd" else Divergence
    attack = kind(adversary.eps, adversary.steps, adversary.step_size, jit="off")
    target = attack.target(model)
    state = {"image": start.examples(model, X, Y), "mode": ()}
    reference = tf.constant(Y, tf.int32) if loss == "pgd" else target.logits(X)
    for _ in range(attack.steps):
        state = target.call(attack.iterate, state, ball(X, attack.eps), reference)
    np.testing.assert_allclose(found, state["image"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("network", ["linear", "spiking"])
def test_examples_without_a_random_start_are_bims_and_fast_ones_fgsms(network, request):
    model = request.getfixturevalue(network)
    adversary = AdversarialTraining(eps=0.1, steps=3, step_size=0.04, random_start=False)
    bim = attacks.BIM(eps=0.1, steps=3, step_size=0.04)(model, X, Y)
    np.testing.assert_allclose(adversary.examples(model, X, Y), bim, rtol=0, atol=1e-7)
    fgsm = attacks.FGSM(eps=0.1)(model, X, Y)
    np.testing.assert_allclose(adversary.fast_examples(model, X, Y), fgsm, rtol=0, atol=1e-7)


@hypothesis.given(
    eps=st.floats(0, 1),
    steps=st.integers(1, 3),
    step_size=st.floats(0, 1),
    loss=st.sampled_from(["pgd", "trades"]),
    seed=st.integers(0, 99),
)
@hypothesis.settings(max_examples=25)  # of fifty images each
def test_examples_stay_in_the_ball_and_valid_by_not_so_much_as_a_rounding(
    linear, eps, steps, step_size, loss, seed
):
    adversary = AdversarialTraining(eps, steps, step_size, loss, seed=seed)
    x = np.random.default_rng(seed).uniform(size=(50, 5)).astype("float32")
    found = adversary.examples(linear, x, np.resize(Y, 50)).numpy()
    assert found.min() >= 0 and found.max() <= 1
    assert np.abs(found.astype("float64") - x.astype("float64")).max() <= eps


def test_the_random_start_is_uniform_in_the_ball_and_another_one_each_time(linear):
    adversary = AdversarialTraining(eps=0.25, step_size=0.0, seed=2)
    x, y = np.full((500, 5), 0.5, "float32"), np.zeros(500, "int32")
    first, second = (adversary.examples(linear, x, y).numpy() for _ in range(2))
    for start in (first, second):
        assert scipy.stats.kstest(start.ravel(), scipy.stats.uniform(0.25, 0.5).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
    again = AdversarialTraining(eps=0.25, step_size=0.0, seed=2).examples(linear, x, y)
    np.testing.assert_array_equal(again, first)


# Single steps -------------------------------------------------------------------------------------


def start_of(**options):
    """Where the step of an adversary starts, float64."""
    still = AdversarialTraining(step_size=0.0, **options)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    return still.examples(model, X, Y).numpy().astype("float64")


def signs_at(images):
    return np.sign((softmax(images) - np.eye(3)[Y]) @ WEIGHTS.T)


def test_fgsm_rs_takes_one_step_of_five_quarters_of_the_radius_and_projects(linear):
    options = {"eps": 0.1, "method": "fgsm_rs", "seed": 3}
    start = start_of(**options)
    assert 0.05 < np.abs(start - X).max() <= 0.1
    expected = np.clip(start + 0.125 * signs_at(start), X - 0.1, X + 0.1).clip(0, 1)
    found = AdversarialTraining(**options).examples(linear, X, Y)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_n_fgsm_steps_by_the_radius_from_noise_of_twice_of_it_and_does_not_project(linear):
    options = {"eps": 0.1, "method": "n_fgsm", "seed": 3}
    start = start_of(**options)
    assert 0.15 < np.abs(start - X).max() <= 0.2
    found = AdversarialTraining(**options).examples(linear, X, Y).numpy()
    np.testing.assert_allclose(found, (start + 0.1 * signs_at(start)).clip(0, 1), atol=1e-6)
    assert np.abs(found - X).max() > 0.2
    assert found.min() >= 0 and found.max() <= 1


def test_fgsm_rs_raises_the_divergence_of_trades_too(linear):
    options = {"eps": 0.1, "method": "fgsm_rs", "loss": "trades", "seed": 3}
    start, clean = start_of(**options), softmax(X)
    gradient = (softmax(start) - clean) @ WEIGHTS.T
    expected = np.clip(start + 0.125 * np.sign(gradient), X - 0.1, X + 0.1).clip(0, 1)
    found = AdversarialTraining(**options).examples(linear, X, Y)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("method", ["pgd", "n_fgsm"])
def test_the_radius_rises_with_the_steps_that_are_done(linear, method):
    options = {"eps": 0.1, "method": method, "seed": 3}
    full = AdversarialTraining(**options).examples(linear, X, Y)
    for done, share in ((0, 0.0), (1, 0.25), (4, 1.0), (9, 1.0)):
        adversary = AdversarialTraining(warmup_steps=4, **options)
        found = adversary.examples(ModelInStep(linear, tf.constant(done)), X, Y).numpy()
        reach = 0.1 * share * (1 if method == "pgd" else 3)
        assert np.abs(found - X).max() <= reach + 1e-7
        assert np.abs(found - X).max() >= 0.8 * reach
        if share == 1:
            np.testing.assert_array_equal(found, full)
    # Outside a training there is no step that it could have come to.
    outside = AdversarialTraining(warmup_steps=4, **options).examples(linear, X, Y)
    np.testing.assert_array_equal(outside, full)


# A backward pass of its own -----------------------------------------------------------------------

MODES = ["bptr", "assg", dynamics.GradientMode(detach_reset=True)]


CASES = [*((mode, "fused") for mode in MODES), ("bptr", ""), ("assg", "xla")]


@pytest.mark.parametrize(
    "gradient, compiled", CASES, ids=["bptr-fused", "assg-fused", "cut-fused", "bptr", "assg-xla"]
)
def test_examples_go_along_the_gradient_that_was_asked_for(spiking, gradient, compiled):
    options = {"eps": 0.3, "steps": 3, "step_size": 0.02, "random_start": False}
    adversary = AdversarialTraining(gradient=gradient, **options)

    def examples():
        with dynamics.fused_neurons(compiled == "fused"):
            return adversary.examples(spiking, X, Y)

    if compiled:
        examples = tf.function(examples, jit_compile=compiled == "xla", autograph=False)
    expected = attacks.BIM(eps=0.3, steps=3, step_size=0.02, gradient=gradient)(spiking, X, Y)
    np.testing.assert_allclose(examples(), expected, rtol=0, atol=1e-6)
    trained = AdversarialTraining(**options).examples(spiking, X, Y)
    assert np.abs(trained - expected).max() > 0.01


def test_the_weights_gradient_keeps_the_backward_pass_that_they_are_trained_by(spiking):
    adversary = AdversarialTraining(eps=0.3, gradient="bptr", random_start=False)
    as_data = tf.constant(adversary.examples(spiking, X, Y).numpy())
    with tf.GradientTape() as tape:
        _, loss = adversary.objective()(spiking, X, Y, TaskLoss(cross_entropy))
    found = tape.gradient(loss, spiking.trainable_weights)
    with tf.GradientTape() as tape:
        loss = cross_entropy(Y, spiking(as_data, training=True))
    for one, other in zip(found, tape.gradient(loss, spiking.trainable_weights), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_backward_pass_of_neurons_needs_neurons(linear):
    with pytest.raises(ValueError, match="`gradient` of adversarial.*'bptr' and 'sequential"):
        AdversarialTraining(gradient="bptr").examples(linear, X, Y)


def test_examples_are_made_with_the_statistics_of_inference():
    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.BatchNormalization()(inputs)))
    before = model.get_weights()
    adversary = AdversarialTraining(eps=0.1, step_size=0.1, random_start=False)
    # The statistics of a batch of one would leave the logits constant, and the image in its place.
    moved = adversary.examples(model, X[:1], Y[:1]).numpy() - X[:1]
    assert np.abs(moved).min() > 0.01
    for weight, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(other, weight)


def test_one_hot_rows_and_columns_of_labels_are_class_numbers_too(linear):
    adversary = AdversarialTraining(random_start=False)
    expected = adversary.examples(linear, X, Y)
    for labels in (np.eye(3, dtype="float32")[Y], Y[:, None], Y.astype("uint8")):
        np.testing.assert_array_equal(adversary.examples(linear, X, labels), expected)


# Losses -------------------------------------------------------------------------------------------


def loss_and_gradient(objective, model):
    """The loss of a step, and its gradient with respect to the weights."""
    with tf.GradientTape() as tape:
        logits, loss = objective(model, tf.constant(X), tf.constant(Y), TaskLoss(cross_entropy))
    return logits.numpy(), float(loss), tape.gradient(loss, model.trainable_weights[0]).numpy()


def test_the_network_is_trained_on_the_examples_as_if_they_were_data(linear):
    adversary = AdversarialTraining(eps=0.2, step_size=0.1, random_start=False)
    examples = adversary.examples(linear, X, Y).numpy().astype("float64")
    p = softmax(examples)
    logits, loss, gradient = loss_and_gradient(adversary.objective(), linear)
    np.testing.assert_allclose(logits, examples @ WEIGHTS, atol=1e-5)
    assert loss == pytest.approx(-np.log(p[np.arange(4), Y]).mean(), rel=1e-5)
    # No part of it comes through the making of the examples.
    np.testing.assert_allclose(gradient, examples.T @ (p - np.eye(3)[Y]) / 4, atol=1e-6)


def test_trades_adds_the_divergence_between_clean_and_adversarial_answers(linear):
    options = {"eps": 0.2, "step_size": 0.1, "loss": "trades", "beta": 3.0, "seed": 4}
    examples = AdversarialTraining(**options).examples(linear, X, Y).numpy()

    def expected(weights):
        p, q = softmax(X, weights), softmax(examples, weights)
        kl = scipy.stats.entropy(p, q, axis=1)
        return -np.log(p[np.arange(4), Y]).mean() + 3.0 * kl.mean()

    adversary = AdversarialTraining(**options)
    logits, loss, gradient = loss_and_gradient(adversary.objective(), linear)
    np.testing.assert_allclose(logits, X @ WEIGHTS, atol=1e-5)
    assert loss == pytest.approx(expected(WEIGHTS), rel=1e-5)
    # The slope of the whole formula: the clean answers are differentiated as well.
    for index in np.ndindex(5, 3):
        step = np.zeros((5, 3))
        step[index] = 1e-5
        slope = (expected(WEIGHTS + step) - expected(WEIGHTS - step)) / 2e-5
        assert gradient[index] == pytest.approx(slope, abs=1e-4)


# Arguments ----------------------------------------------------------------------------------------


def test_the_defaults_are_the_papers():
    adversary = AdversarialTraining()
    assert (adversary.eps, adversary.steps, adversary.step_size) == (2 / 255, 2, 1 / 255)
    assert "steps=2" in repr(adversary) and AdversarialTraining(**adversary.get_config())
    for method, length in (("fgsm_rs", 10 / 255), ("n_fgsm", 8 / 255)):
        adversary = AdversarialTraining(eps=8 / 255, method=method)
        assert adversary.steps == 1 and adversary.step_size == pytest.approx(length)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"eps": 8}, "`eps` must be.*8/255.*Received: 8"),
        ({"steps": 0}, "`steps` must be.*0"),
        ({"step_size": -0.1}, "`step_size` must be.*-0.1"),
        ({"loss": "mart"}, "`loss` must be one of 'pgd', 'trades'.*'mart'"),
        ({"beta": -1}, "`beta` must be.*-1"),
        ({"random_start": 1}, "`random_start` must be True or False"),
        ({"loss": "trades", "random_start": False}, "`random_start` must be True with"),
        ({"seed": -3}, "`seed` must be a whole number"),
        ({"method": "fgsm"}, "`method` must be one of 'pgd', 'fgsm_rs', 'n_fgsm'"),
        ({"method": "fgsm_rs", "steps": 2}, "`steps` must be 1.*'fgsm_rs'.*steps=2"),
        ({"method": "n_fgsm", "random_start": False}, "`random_start` must be True.*'n_fgsm'"),
        ({"method": "n_fgsm", "loss": "trades"}, '`method` must be "pgd" or "fgsm_rs"'),
        ({"gradient": "no_such"}, "`gradient` must be one of assg, .*'no_such'"),
        ({"warmup_steps": -1}, "`warmup_steps` must be a whole number"),
    ],
    ids=str,
)
def test_an_argument_out_of_its_range_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        AdversarialTraining(**arguments)


def test_pixels_of_eight_bits_are_refused(linear):
    with pytest.raises(ValueError, match="floating-point pixels.*uint8.*255"):
        AdversarialTraining().examples(linear, np.zeros((4, 5), "uint8"), Y)
