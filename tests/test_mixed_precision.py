"""Half precision against single precision: training, Omega's gradient, what attacks follow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import attacks, dynamics, evaluation, layers, models
from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.target import Target
from keras_mpdsgr.defenses import AdversarialTraining, DefendedModel
from keras_mpdsgr.models.blocks import Blocks, convolved
from keras_mpdsgr.models.policies import policy_scope

SHAPE, CLASSES = (8, 8, 1), 3
# Bright in another third of the columns for each class.
Y = np.arange(48) % CLASSES
X = np.random.default_rng(0).uniform(0, 0.6, size=(48, *SHAPE)).astype("float32")
X += 0.4 * (np.arange(8)[:, None] // 3 == Y[:, None, None, None])
POLICIES = ("mixed_float16", "mixed_bfloat16")


def network(policy, eta=0.2):
    """Two layers of neurons behind convolutions, as the builders of `models` put them together."""
    with policy_scope(policy):
        keras.utils.set_random_seed(0)
        blocks = Blocks(2, 2, eta=eta)
        image = keras.Input(SHAPE)
        x = blocks.pixels(image)
        for block in ("conv1", "conv2"):
            x = blocks.normalized(convolved(x, 6, 3, block), f"{block}_tdbn")
            x = blocks.neurons(x, block)
        return blocks.model(image, layers.FoldTime(keras.layers.Flatten())(x), CLASSES, "network")


def fit(policy, adversary=None):
    inner = network(policy)
    model = inner if adversary is None else DefendedModel(inner, adversary.objective())
    model.compile(
        # Keras scales the loss itself where the policy is float16.
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = model.fit(X, Y, batch_size=16, epochs=5, shuffle=False, verbose=0).history
    return inner, model, history


@pytest.fixture(scope="module", params=POLICIES)
def trained(request):
    """Under each policy: plain fit and adversarial training."""
    adversary = AdversarialTraining(eps=0.05, step_size=0.03, seed=1)
    return request.param, fit(request.param), fit(request.param, adversary)


def test_the_loss_falls_and_all_weights_stay_finite(trained):
    policy, *runs = trained
    for inner, model, history in runs:
        if policy == "mixed_float16":
            assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
            # Raised or lowered from 2^15 if gradients were infinite: a step left out each time.
            assert float(model.optimizer.dynamic_scale) >= 2**10
        assert np.isfinite(history["loss"]).all()
        assert history["loss"][-1] < 0.7 * history["loss"][0]
        assert all(np.isfinite(weight).all() for weight in inner.get_weights())


def test_evaluate_gives_what_the_logits_say(trained):
    _, *runs = trained
    for inner, model, _ in runs:
        logits = np.float64(inner.predict(X, verbose=0))
        shown = model.evaluate(X, Y, verbose=0, return_dict=True)
        assert shown["accuracy"] == pytest.approx((logits.argmax(axis=1) == Y).mean())
        exact = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(Y)), Y]
        assert shown["loss"] == pytest.approx(exact.mean(), rel=1e-3)
        assert evaluation.evaluate(inner, X, Y, ["uniform"]).clean == shown["accuracy"]


def test_membranes_are_float32_and_currents_are_not(trained):
    policy, (inner, *_), _ = trained
    with dynamics.capture_potentials() as captured:
        inner(X[:2], training=False)
    assert [layer.membranes.dtype for layer in captured] == [tf.float32] * 2
    assert {layer.compute_dtype for layer in inner.layers if "lif" in layer.name} == {
        policy.removeprefix("mixed_")
    }


def gradients(loss_of, model):
    with tf.GradientTape() as tape:
        model(X, training=True)
        loss = tf.cast(loss_of(model), tf.float32)
    kernels = [weight.value for weight in model.trainable_weights if "kernel" in weight.path]
    found = tape.gradient(loss, kernels, unconnected_gradients="zero")
    return np.concatenate([np.ravel(gradient) for gradient in found])


@pytest.mark.parametrize("policy", POLICIES)
def test_omegas_gradient_is_single_precisions_to_the_precision_of_the_type(policy):
    exact = gradients(lambda model: tf.add_n(model.losses), network("float32"))
    # As the optimizer scales it: Omega is a mean, so that a single potential's part is tiny.
    scale = 2.0**10
    half = gradients(lambda model: scale * tf.add_n(model.losses), network(policy)) / scale
    assert np.isfinite(half).all() and np.abs(exact).max() > 0
    # bfloat16 keeps 8 bits, float16 11; currents next to the threshold fall on its other side.
    tolerance = {"mixed_bfloat16": 0.1, "mixed_float16": 0.02}[policy]
    assert np.linalg.norm(half - exact) < tolerance * np.linalg.norm(exact)


def test_loaded_in_float32_only_near_ties_are_decided_otherwise(trained, tmp_path):
    _, (inner, *_), _ = trained
    inner.save(tmp_path / "model.keras")
    single = models.load_to_judge(tmp_path / "model.keras")
    assert {layer.compute_dtype for layer in single.layers} == {"float32"}
    # Mixtures of two classes, many of them near a tie.
    share = np.linspace(0, 1, 40, dtype="float32")[:, None, None, None, None]
    x = (share * X + (1 - share) * np.roll(X, 1, axis=0)).reshape(-1, *SHAPE)
    logits, half = single.predict(x, verbose=0), inner.predict(x, verbose=0)
    assert (logits != half).any()
    gap = np.diff(np.sort(logits, axis=1)[:, -2:]).ravel()
    differs = logits.argmax(axis=1) != half.argmax(axis=1)
    assert differs.mean() < 0.02
    assert gap[differs].max(initial=0) < 0.1 * np.median(gap)


# What attacks follow ------------------------------------------------------------------------------


def input_gradient(model, x, y):
    gradient, *_ = Target(model).input_gradient(tf.constant(x), y, losses.cross_entropy)
    return gradient.numpy()


def test_attacks_follow_finite_gradients_in_float32(trained):
    _, *runs = trained
    for inner, *_ in runs:
        gradient = input_gradient(inner, X, Y)
        assert gradient.dtype == np.float32 and np.isfinite(gradient).all()
        assert (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all()
        clean = (inner.predict(X, verbose=0).argmax(axis=1) == Y).mean()
        found = attacks.PGD(eps=0.3, steps=10, step_size=0.1, keep="first")(inner, X, Y)
        assert (inner.predict(found, verbose=0).argmax(axis=1) == Y).mean() < clean


def sure_networks(policy, surety):
    """One network in single and in half precision; logits apart by about `surety`."""
    models = network("float32"), network(policy)
    for _ in range(20):
        models[0](X, training=True)
    weights = models[0].get_weights()
    logits = np.sort(models[0].predict(X, verbose=0), axis=1)
    weights[-2] *= surety / np.median(logits[:, -1] - logits[:, -2])
    for model in models:
        model.set_weights(weights)
    return models


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("surety", [1, 40])
def test_half_precision_masks_no_gradient_of_a_model_that_is_sure(policy, surety):
    single, half = sure_networks(policy, surety)
    y = single.predict(X, verbose=0).argmax(axis=1)
    exact, found = input_gradient(single, X, y), input_gradient(half, X, y)
    alive = np.abs(exact) > 1e-3 * np.abs(exact).max(axis=(1, 2, 3), keepdims=True)
    assert (found[alive] == 0).mean() < 0.01
    # A spike that flips changes all gradients of its sample.
    assert (np.sign(found[alive]) == np.sign(exact[alive])).mean() > 0.9


@pytest.mark.parametrize("policy", POLICIES)
def test_half_precision_masks_no_gradient_that_adversarial_training_follows(policy):
    single, half = sure_networks(policy, 20)
    y = single.predict(X, verbose=0).argmax(axis=1)
    adversary = AdversarialTraining(eps=0.1)
    moves = [adversary.fast_examples(model, X, y).numpy() - X for model in (single, half)]
    inside = (X > 0.11) & (X < 0.89)
    assert (moves[1][inside] == 0).mean() <= (moves[0][inside] == 0).mean() + 0.01
    assert (np.sign(moves[0]) == np.sign(moves[1])).mean() > 0.9


# Pixels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["direct", "smoothing", "frequency"])
@pytest.mark.parametrize("policy", POLICIES)
def test_pixels_are_normalized_before_they_are_rounded(policy, coding):
    with policy_scope(policy):
        options = {"coding_options": {"std": 0.0}} if coding == "smoothing" else {}
        image = keras.Input(SHAPE)
        model = keras.Model(image, Blocks(2, 2, coding=coding, **options).pixels(image))
    # Closer than what half precision tells apart.
    x = np.full((2, *SHAPE), 0.9, "float32")
    x[1] += 1e-5
    found = model.predict(x, verbose=0)
    np.testing.assert_allclose(found[1] - found[0], 4e-5, rtol=0.05)
    np.testing.assert_allclose(found[0], 1.6, rtol=1e-6)
