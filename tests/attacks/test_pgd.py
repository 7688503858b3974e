"""PGD and BIM against loops in NumPy; what they keep, depend on, leave alone and compile."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, attacks, layers, surrogates


@pytest.fixture
def problem():
    """A linear softmax model of 12 pixels and 3 classes, and 9 images."""
    rng = np.random.default_rng(11)
    weights, bias = rng.normal(size=(12, 3)) * 3, rng.normal(size=3)
    dense = keras.layers.Dense(3)
    model = keras.Sequential([keras.Input((12,)), dense])
    dense.set_weights([np.float32(weights), np.float32(bias)])
    x = rng.uniform(size=(9, 12)).astype(np.float32)
    x[0], x[1] = 0.0, 1.0
    return model, (weights, bias), x, rng.integers(3, size=9)


def curved_model(seed=3):
    steep = keras.initializers.RandomNormal(stddev=1.5, seed=seed)
    return keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(16, activation="tanh", kernel_initializer=steep),
            keras.layers.Dense(3, kernel_initializer=steep),
        ]
    )


def spiking_model(seed=3):
    steep = keras.initializers.RandomNormal(stddev=1.5, seed=seed)
    image = keras.Input((12,))
    current = keras.layers.Dense(24, kernel_initializer=steep)(image)
    spikes = LIFLayer(tau=0.7)(layers.DirectEncoder(4)(current))
    readout = layers.FoldTime(keras.layers.Dense(3, kernel_initializer=steep))
    return keras.Model(image, layers.TemporalMean()(readout(spikes)))


def some_images(n=9):
    rng = np.random.default_rng(2)
    return rng.uniform(size=(n, 12)).astype(np.float32), rng.integers(3, size=n)


def iterate_by_hand(start, x, y, parameters, eps, steps, step_size):
    """Signed gradient steps in float64, and the smallest gradient met."""
    weights, bias = parameters
    image, smallest = np.float64(start), np.inf
    for _ in range(steps):
        logits = image @ weights + bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = powers / powers.sum(axis=1, keepdims=True)
        gradient = (shares - np.eye(3)[y]) @ weights.T
        smallest = min(smallest, np.abs(gradient).min())
        image = image + step_size * np.sign(gradient)
        image = np.clip(np.clip(image, x - eps, x + eps), 0, 1)
    return image, smallest


@pytest.mark.parametrize("eps, steps, step_size", [(0.1, 1, 0.05), (0.1, 7, 0.03), (1.0, 20, 0.2)])
def test_bim_is_the_loop_written_in_numpy(problem, eps, steps, step_size):
    model, parameters, x, y = problem
    expected, smallest = iterate_by_hand(x, x, y, parameters, eps, steps, step_size)
    assert smallest > 1e-5  # no sign hangs on a rounding
    found = attacks.BIM(eps=eps, steps=steps, step_size=step_size)(model, x, y)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_pgd_is_the_loop_written_in_numpy_from_its_random_start(problem):
    model, parameters, x, y = problem
    start = attacks.PGD(eps=0.2, steps=1, step_size=0.0)(model, x, y, seed=4)
    expected, smallest = iterate_by_hand(start, x, y, parameters, 0.2, 5, 0.06)
    assert smallest > 1e-5
    found = attacks.PGD(eps=0.2, steps=5, step_size=0.06)(model, x, y, seed=4)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_pgd_starts_uniformly_in_the_ball(problem):
    model, *_ = problem
    x, y = np.full((300, 12), 0.5, np.float32), np.zeros(300, int)
    start = attacks.PGD(eps=0.2, steps=1, step_size=0.0)(model, x, y)
    moved = (start - x).ravel() / 0.2
    assert moved.mean() == pytest.approx(0, abs=0.05)
    assert moved.var() == pytest.approx(1 / 3, abs=0.02)
    assert np.abs(moved).max() > 0.99


@pytest.mark.parametrize("attack", [attacks.BIM, attacks.PGD])
def test_the_planted_direction_is_found_in_full(attack):
    dense = keras.layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((4,)), dense])
    dense.set_weights([np.float32([[1, -2], [0.5, 3], [-1, 1], [2, 1.5]])])
    x = np.float32([[0.5, 0.5, 0.5, 0.5], [0.0, 1.0, 0.05, 0.95]])
    found = attack(eps=0.1, steps=9, step_size=0.03)(model, x, np.array([0, 0]))
    expected = np.clip(x + 0.1 * np.array([-1, 1, 1, -1]), 0, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "steps, last",
    [(1, [0.6, 0.53, 0.8]), (2, [0.7, 0.63, 0.7]), (3, [0.6, 0.53, 0.6]), (4, [0.7, 0.63, 0.7])],
)
def test_keep_first_keeps_the_first_misclassified_image(steps, last):
    # Class 0 everywhere but within 0.03 of 0.62. Steps of 0.1 towards it reach 0.6, and pass it.
    pixel = keras.Input((1,))
    logit = 50.0 * (keras.ops.square(pixel - 0.62) - 0.03**2)
    model = keras.Model(pixel, keras.layers.Concatenate()([logit, -logit]))
    # The second is misclassified to begin with; the third comes to 0.6 with its third step.
    x, y = np.float32([[0.5], [0.63], [0.9]]), np.zeros(3, int)
    first = [0.6, 0.63, {1: 0.8, 2: 0.7, 3: 0.6, 4: 0.6}[steps]]
    for keep, expected in (("last", last), ("first", first)):
        found = attacks.BIM(eps=0.35, steps=steps, step_size=0.1, keep=keep)(model, x, y)
        np.testing.assert_allclose(found[:, 0], expected, rtol=0, atol=1e-6)


def test_keep_first_goes_on_from_the_first_success_without_keeping_a_later_one():
    dense = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((1,)), dense])
    dense.set_weights([np.float32([[-5, 5]]), np.float32([2.5, -2.5])])  # class 1 above 1/2
    x, y = np.float32([[0.45], [0.35]]), np.zeros(2, int)
    for keep, expected in (("first", [0.55, 0.55]), ("last", [0.85, 0.75])):
        found = attacks.BIM(eps=0.5, steps=4, step_size=0.1, keep=keep)(model, x, y)
        np.testing.assert_allclose(found[:, 0], expected, rtol=0, atol=1e-6)


def test_keep_first_breaks_every_sample_that_keep_last_breaks_and_more():
    model, (x, y) = spiking_model(), some_images(200)
    y = np.argmax(model(x, training=False), axis=-1)
    broken = {}
    for keep in ("last", "first"):
        attack = attacks.BIM(eps=0.15, steps=10, step_size=0.05, keep=keep)
        found = attack(model, x, y, batch_size=200)
        broken[keep] = np.argmax(model(found, training=False), axis=-1) != y
    assert (broken["first"] >= broken["last"]).all()
    assert broken["first"].sum() > broken["last"].sum()


def trained_model(kind):
    """A model whose optimizer, metrics and moving averages hold something."""
    if kind == "smooth":
        model = curved_model()
        model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.Dropout(0.5))
    else:
        image = keras.Input((12,))
        current = keras.layers.Dense(8)(image)
        current = layers.TDBatchNormalization()(current)
        spikes = LIFLayer(eta=0.1)(layers.DirectEncoder(3)(current))
        readout = layers.FoldTime(keras.layers.Dense(3))(spikes)
        model = keras.Model(image, layers.TemporalMean()(readout))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.train_on_batch(*some_images())
    return model


@pytest.mark.parametrize("kind", ["smooth", "spiking"])
def test_an_attack_changes_nothing_in_the_model(kind):
    model, (x, y) = trained_model(kind), some_images()
    held = [*model.variables, *model.optimizer.variables]
    held += [variable for metric in model.metrics for variable in metric.variables]
    before = [np.array(variable) for variable in held]
    assert len(before) > 15
    attacks.FGSM(eps=0.1)(model, x, y)
    attacks.PGD(eps=0.1, eot=2)(model, x, y)
    for variable, value in zip(held, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value, err_msg=variable.path)


def test_no_gradient_but_the_images_is_taken(monkeypatch):
    tapes = []

    class Recorded(tf.GradientTape):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            tapes.append(self)

    monkeypatch.setattr(tf, "GradientTape", Recorded)
    x, y = some_images()
    attacks.FGSM()(spiking_model(), x, y)
    attacks.PGD(eot=2)(curved_model(), x, y)
    assert len(tapes) == 2 * 3  # for each gradient one by the image and one by the logits
    assert all(tape.watched_variables() == () for tape in tapes)


@pytest.mark.parametrize("batch_size", [1, 4, 9, 100])
@pytest.mark.parametrize("keep", attacks.iterative.KEEPS)
def test_the_size_of_the_chunks_does_not_matter(batch_size, keep):
    model, (x, y) = curved_model(), some_images()
    attack = attacks.PGD(eps=0.2, step_size=0.05, keep=keep)
    expected = attack(model, x, y, seed=5, batch_size=5)
    found = attack(model, x, y, seed=5, batch_size=batch_size)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_the_order_of_the_samples_does_not_matter_given_their_numbers():
    model, (x, y) = curved_model(), some_images()
    numbers = np.array([3, 14, 15, 92, 65, 35, 8, 9, 79])
    attack = attacks.PGD(eps=0.2, step_size=0.05)
    expected = attack(model, x, y, seed=5, indices=numbers)
    chosen = np.array([7, 2, 5, 0])
    found = attack(model, x[chosen], y[chosen], seed=5, indices=numbers[chosen], batch_size=3)
    np.testing.assert_allclose(found, expected[chosen], rtol=0, atol=1e-6)


def test_the_seed_and_the_samples_number_decide_the_start():
    model, start = curved_model(), attacks.PGD(eps=0.2, steps=1, step_size=0.0)
    x, y = np.full((4, 12), 0.5, np.float32), np.zeros(4, int)
    first, again, other = (start(model, x, y, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.99
    assert all((first[0] != first[i]).mean() > 0.9 for i in range(1, 4))
    same_number = start(model, x, y, seed=1, indices=[7, 7, 8, 9])
    np.testing.assert_array_equal(same_number[0], same_number[1])
    assert (same_number[1] != same_number[2]).mean() > 0.9


def traces(model):
    compiled = model.__dict__["_keras_mpdsgr_compiled"].values()
    return sum(function.experimental_get_tracing_count() for function in compiled)


def copied(model):
    """The same model, with nothing compiled."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def test_other_numbers_compile_nothing_anew():
    model, (x, y) = spiking_model(), some_images()
    attacks.PGD(eps=0.1, step_size=0.01, surrogate="arctan")(model, x, y)
    attacks.FGSM(eps=0.1)(model, x, y)
    assert traces(model) == 2
    for eps, step_size, gamma, steps in [(0.2, 0.05, 0.5, 7), (0.3, 0.1, 2.0, 3)]:
        surrogate = surrogates.get("arctan", gamma=gamma)
        attack = attacks.PGD(eps=eps, step_size=step_size, steps=steps, surrogate=surrogate)
        attack(model, x, y)
        attacks.FGSM(eps=eps)(model, x, y)
    assert traces(model) == 2


def test_what_is_compiled_uses_the_numbers_of_the_moment():
    model, (x, y) = spiking_model(), some_images(40)
    attacks.PGD(eps=0.1, step_size=0.01, surrogate="arctan")(model, x, y)
    found = []
    for eps, step_size, gamma in [(0.2, 0.05, 0.1), (0.2, 0.05, 5.0), (0.2, 0.02, 5.0)]:
        surrogate = surrogates.get("arctan", gamma=gamma)
        attack = attacks.PGD(eps=eps, step_size=step_size, surrogate=surrogate)
        found.append(attack(model, x, y))
        np.testing.assert_allclose(found[-1], attack(copied(model), x, y), rtol=0, atol=1e-6)
    assert not np.allclose(found[0], found[1], atol=1e-3)
    assert not np.allclose(found[1], found[2], atol=1e-3)


def test_what_is_compiled_uses_the_weights_of_the_moment():
    model, (x, y) = curved_model(), some_images(40)
    attack = attacks.BIM(eps=0.2, step_size=0.05)
    before = attack(model, x, y)
    model.set_weights(curved_model(seed=8).get_weights())
    after = attack(model, x, y)
    np.testing.assert_allclose(after, attack(copied(model), x, y), rtol=0, atol=1e-6)
    assert not np.allclose(before, after, atol=1e-3)


def test_another_surrogate_backward_or_keep_is_not_taken_for_the_one_compiled_before():
    model, (x, y) = spiking_model(), some_images(40)
    options = [{}, {"surrogate": "arctan"}, {"gradient": "bptr"}, {"eot": 2}, {"keep": "first"}]
    for option in options:
        attack = attacks.BIM(eps=0.3, step_size=0.1, **option)
        expected = attack(copied(model), x, y)
        np.testing.assert_allclose(attack(model, x, y), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("build", [curved_model, spiking_model])
@pytest.mark.parametrize("keep", attacks.iterative.KEEPS)
def test_xla_agrees_with_the_plain_run(build, keep):
    model, (x, y) = build(), some_images(60)
    plain, compiled = (
        attacks.PGD(eps=0.2, step_size=0.05, keep=keep, jit=jit)(model, x, y)
        for jit in ("off", "on")
    )
    same = np.abs(plain - compiled).max(axis=1) <= 1e-6
    # Not all: a potential next to the threshold may fire in one order of summation only.
    assert same.mean() >= (0.95 if build is spiking_model else 1.0)


def test_fgsm_under_xla_agrees_with_the_plain_run():
    model, (x, y) = curved_model(), some_images(60)
    plain, compiled = (attacks.FGSM(eps=0.2, jit=jit)(model, x, y) for jit in ("off", "on"))
    np.testing.assert_allclose(compiled, plain, rtol=0, atol=1e-6)
