"""Attacks beyond FGSM and PGD: against closed forms, linear models and loops in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_mpdsgr import LIFLayer, attacks, gradient_mode, layers, surrogates
from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.target import Target

MODELS = {}  # what hypothesis' examples share


def linear_model(weights, bias=None, shape=None):
    weights = np.float32(weights)
    pixels, classes = weights.shape
    dense = keras.layers.Dense(classes)
    before = [keras.Input(shape or (pixels,))]
    before += [keras.layers.Flatten()] if shape else []
    model = keras.Sequential([*before, dense])
    dense.set_weights([weights, np.float32(np.zeros(classes) if bias is None else bias)])
    return model


def random_linear_model(seed=1, classes=4, shape=None, pixels=12):
    rng = np.random.default_rng(seed)
    return linear_model(rng.normal(size=(pixels, classes)), shape=shape)


def spiking_model(seed=3, shape=(8, 8, 1)):
    steep = keras.initializers.RandomNormal(stddev=0.7, seed=seed)
    image = keras.Input(shape)
    flat = keras.layers.Flatten()(image) if len(shape) > 1 else image
    current = keras.layers.Dense(20, kernel_initializer=steep)(flat)
    spikes = LIFLayer(tau=0.7)(layers.DirectEncoder(3)(current))
    readout = layers.FoldTime(keras.layers.Dense(3, kernel_initializer=steep))
    return keras.Model(image, layers.TemporalMean()(readout(spikes)))


def some_images(n=12, shape=(12,), low=0.0, high=1.0):
    return np.random.default_rng(2).uniform(low, high, (n, *shape)).astype(np.float32)


def predicted(model, x):
    return np.argmax(model(x, training=False), axis=-1)


def arguments_of(name):
    """The least arguments that keep a run short."""
    many = {"pgd", "bim", "apgd", "sapgd", "hart", "fab", "square", "random"}
    given = {"steps": 6} if name in many else {}
    return {"steps": 5, "binary_search_steps": 2} if name == "cw" else given


# Losses


def test_cross_entropy_is_tensorflows_on_moderate_logits():
    rng = np.random.default_rng(0)
    logits, y = tf.constant(rng.normal(size=(50, 5)) * 3, tf.float32), rng.integers(5, size=50)
    expected = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    np.testing.assert_allclose(losses.cross_entropy(logits, y), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_cross_entropy_keeps_its_direction_where_the_model_is_sure(classes):
    logits = np.zeros((1, classes), np.float32)
    logits[0, 1], logits[0, 0] = 50.0, 0.5
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = losses.cross_entropy(logits, tf.constant([1]))
    gradient = np.float64(tape.gradient(value, logits)[0])
    wrong = np.exp(np.float64(logits[0]))
    wrong[1] = 0.0
    direction = wrong / wrong.sum()
    direction[1] = -1.0
    assert np.abs(gradient).max() > 0
    np.testing.assert_allclose(gradient / np.abs(gradient).max(), direction, rtol=1e-4)


def test_dlr_is_the_margin_over_the_distance_to_the_third_logit():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(40, 5)), rng.integers(5, size=40)
    expected = []
    for z, label in zip(logits, y, strict=True):
        first, _, third, *_ = sorted(z, reverse=True)
        expected.append(-(z[label] - np.delete(z, label).max()) / (first - third))
    found = losses.dlr(tf.constant(logits, tf.float32), y)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_dlr_is_free_of_the_logits_scale(scale):
    rng = np.random.default_rng(0)
    logits, y = tf.constant(rng.normal(size=(40, 4)), tf.float32), rng.integers(4, size=40)
    scaled = losses.dlr(scale * logits, y)
    np.testing.assert_allclose(scaled, losses.dlr(logits, y), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("loss", ["cross_entropy", "dlr", "margin"])
@pytest.mark.parametrize("attack", [attacks.APGD, attacks.PGD])
def test_every_loss_breaks_a_linear_model_of_two_classes(attack, loss):
    model, x = random_linear_model(classes=2), some_images(low=0.4, high=0.6)
    y = predicted(model, x)
    found = attack(eps=0.35, steps=10, loss=loss)(model, x, y)
    weights = np.float64(model.layers[-1].get_weights()[0])
    towards = np.sign(weights[:, 1] - weights[:, 0]) * np.where(y == 0, 1, -1)[:, None]
    reachable = predicted(model, np.float32(x + 0.35 * towards)) != y
    assert reachable.sum() >= 10
    if attack is attacks.APGD:
        np.testing.assert_array_equal(predicted(model, found) != y, reachable)
    else:
        # Ten steps of 0.01 from a random start: no farther, but in the right direction.
        start = attack(eps=0.35, steps=1, step_size=0.0)(model, x, y)
        assert (((found - start) * towards).mean(axis=1) > 0.05).all()


# Auto-PGD


def test_apgd_has_the_published_checkpoints():
    due = attacks.APGD(steps=100).checkpoints()
    # p(j+1) = p(j) + max(p(j) - p(j-1) - .03, .06), in hundredths, up to N.
    previous, current, expected = 0, 22, []
    while current <= 100:
        expected.append(current)
        previous, current = current, current + max(current - previous - 3, 6)
    assert expected == [22, 41, 57, 70, 80, 87, 93, 99]
    assert [i for i, interval in enumerate(due) if interval] == expected
    assert [interval for interval in due if interval] == [22, 19, 16, 13, 10, 7, 6, 6]


def test_apgd_halves_the_step_where_the_loss_does_not_rise():
    # One pixel; the loss is highest at 0.5, 0.03 from the centre, and no image is misclassified.
    pixel = keras.Input((1,))
    logit = 5.0 + 40.0 * keras.ops.square(pixel - 0.5)
    model = keras.Model(pixel, keras.layers.Concatenate()([logit, 0.0 * logit]))
    attack = attacks.APGD(eps=0.2, steps=30, loss="margin")
    x = np.float32([[0.53], [0.45], [0.6]])
    lengths = []
    original = attacks.APGD._step

    class Watched(attacks.APGD):
        def _step(self, image, previous, gradient, state, allowed, momentum):
            lengths.append(state["step_size"].numpy())
            return original(self, image, previous, gradient, state, allowed, momentum)

    tf.config.run_functions_eagerly(True)
    try:
        found = Watched(eps=0.2, steps=30, loss="margin")(model, x, np.zeros(3, int))
    finally:
        tf.config.run_functions_eagerly(False)
    lengths = np.array(lengths)
    np.testing.assert_allclose(lengths[0], 0.4, rtol=1e-6)
    ratios = lengths[1:] / lengths[:-1]
    np.testing.assert_allclose(ratios[ratios < 0.99], 0.5, rtol=1e-6)
    assert (lengths[-1] < 0.11).all()
    np.testing.assert_allclose(found[:, 0], 0.5, atol=0.02)
    np.testing.assert_allclose(attack(model, x, np.zeros(3, int)), found, atol=1e-6)


def sure_linear_model():
    """Three classes, never misclassified in the balls used: the optimum is a corner."""
    weights = np.random.default_rng(4).normal(size=(12, 2))
    return linear_model(weights, bias=[20.0, 0.0]), np.float64(weights)


def test_apgd_finds_the_planted_corner_of_the_cube():
    model, weights = sure_linear_model()
    x = some_images(6)
    found = attacks.APGD(eps=0.1, steps=20)(model, x, np.zeros(6, int))
    expected = np.clip(x + 0.1 * np.sign(weights[:, 1] - weights[:, 0]), 0, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("attack", [attacks.APGD, attacks.PGD])
def test_the_planted_point_of_the_sphere_is_found(attack):
    model, weights = sure_linear_model()
    x = some_images(6, low=0.45, high=0.55)
    options = {} if attack is attacks.APGD else {"step_size": 0.1}
    # The gradient is e^-20 or so: the direction must survive that.
    found = attack(eps=0.3, steps=30, norm="l2", **options)(model, x, np.zeros(6, int))
    slope = weights[:, 1] - weights[:, 0]
    np.testing.assert_allclose(
        found - x, 0.3 * np.tile(slope / np.linalg.norm(slope), (6, 1)), rtol=0, atol=2e-3
    )


@pytest.mark.parametrize("kind", [attacks.PGD, attacks.APGD])
@settings(max_examples=10)
@given(eps=st.floats(1e-3, 3.0), seed=st.integers(0, 1000))
def test_the_l2_ball_is_kept(kind, eps, seed):
    model = MODELS.setdefault("linear", random_linear_model())
    x = np.random.default_rng(seed).uniform(size=(5, 12)).astype(np.float32)
    y = predicted(model, x)
    options = {"step_size": eps} if kind is attacks.PGD else {}
    found = kind(eps=eps, steps=4, norm="l2", **options)(model, x, y, seed=seed)
    assert np.linalg.norm(np.float64(found) - x, axis=1).max() <= eps
    assert found.min() >= 0 and found.max() <= 1


# SA-PGD


def test_sapgds_step_sizes_are_those_worked_by_hand():
    # 22 steps of eps, then halved after 22, +19, +16, +13, +10, +7, +6 and +6.
    halvings = [22, 19, 16, 13, 10, 7, 6, 6, 1]
    expected = np.concatenate([[0.5 / 2**i] * n for i, n in enumerate(halvings)])
    np.testing.assert_allclose(attacks.SAPGD(eps=0.5, steps=100).step_sizes(), expected, rtol=1e-12)
    # 0.22 of 7 is 1 step, and no interval is shorter than 1.
    expected = [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]
    np.testing.assert_allclose(attacks.SAPGD(eps=0.5, steps=7).step_sizes(), expected, rtol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_sapgd_is_the_loop_written_in_numpy(steps):
    rng = np.random.default_rng(7)
    weights = rng.normal(size=(12, 3))
    # Sure of class 0, so that no image of the way is kept for having succeeded.
    bias = np.array([20.0, 0.0, 0.0])
    model, x, y = linear_model(weights, bias), some_images(6), np.zeros(6, int)
    eps = 0.2
    options = {"gradient": "bptt", "loss": "margin"}
    tiny = attacks.PGD(eps=eps, steps=1, step_size=0.0, loss="margin")
    image = np.float64(tiny(model, x, y, seed=3))  # the same draws: its random start
    m = v = 0.0
    best, kept = np.full(6, -np.inf), image
    for i in range(steps + 1):
        logits = image @ weights + bias
        value = logits[:, 1:].max(axis=1) - logits[:, 0]
        kept = np.where((value > best)[:, None], image, kept)
        best = np.maximum(value, best)
        if i == steps:
            break
        g = weights[:, 1 + logits[:, 1:].argmax(axis=1)].T - weights[:, 0]
        m = 0.5 * m + g / np.abs(g).mean(axis=1, keepdims=True)
        v = 0.8 * v + g**2 / (g**2).mean(axis=1, keepdims=True)
        size = eps / 2**i  # at so few steps every one is a checkpoint
        image = image + np.clip(m / (np.sqrt(v) + 1e-12) * size, -size, size)
        image = np.clip(np.clip(image, x - eps, x + eps), 0, 1)
    found = attacks.SAPGD(eps=eps, steps=steps, **options)(model, x, y, seed=3)
    np.testing.assert_allclose(found, kept, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["apgd", "sapgd", "pgd", "bim", "fgsm", "cw", "hart"])
def test_a_gradient_of_zero_gives_no_nan(name):
    model = spiking_model()
    for layer in model.layers:
        layer.set_weights([0 * value for value in layer.get_weights()])
    x = some_images(4, (8, 8, 1))
    found = attacks.get(name, eps=0.1, **arguments_of(name))(model, x, np.zeros(4, int))
    assert np.isfinite(found).all()
    assert found.min() >= 0 and found.max() <= 1


# HART


def test_harts_gradient_is_the_mean_over_its_triangles():
    model, x = spiking_model(), tf.constant(some_images(5, (8, 8, 1)))
    y, gammas = tf.constant([0, 1, 2, 0, 1]), (0.5, 1.0, 2.0)
    found, *_ = attacks.HART(gammas=gammas).target(model).input_gradient(x, y, losses.cross_entropy)
    single = []
    for gamma in gammas:
        with gradient_mode("hybrid", surrogates.get("triangle", gamma=gamma)):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True)
            single.append(tape.gradient(value, x).numpy())
    assert not np.allclose(single[0], single[2])
    np.testing.assert_allclose(found, np.mean(single, axis=0), rtol=1e-3, atol=1e-6)


# Square


def test_the_squares_lie_within_the_images():
    height, width, side = 6, 9, 3
    places = np.array([[0.0, 0.0], [0.9999999, 0.9999999], [0.5, 0.2], [0.99, 0.0]])
    masks = attacks.square._squares(places, side, height, width).numpy()[..., 0]
    assert masks.shape == (4, height, width)
    np.testing.assert_array_equal(masks.sum(axis=(1, 2)), side * side)
    for mask in masks:
        rows, columns = np.nonzero(mask)
        assert np.ptp(rows) == np.ptp(columns) == side - 1


def test_squares_get_smaller_by_the_published_schedule():
    attack = attacks.Square(steps=10_000, initial_share=0.8)
    halvings = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]
    for done, halving in enumerate(halvings):
        at, behind = (attack.side(query, 100, 100) for query in (halving, halving + 1))
        assert at == round((0.8 / 2**done * 100 * 100) ** 0.5)
        assert behind == round((0.8 / 2 ** (done + 1) * 100 * 100) ** 0.5)
    assert attack.side(9999, 8, 8) >= 1
    # With fewer queries the schedule is shortened in proportion.
    short = attacks.Square(steps=1000)
    assert [short.side(q, 32, 32) for q in (1, 3, 200, 700)] == [
        attack.side(10 * q, 32, 32) for q in (1, 3, 200, 700)
    ]


def test_no_query_of_square_lowers_a_margin():
    seen = []

    class Watched(attacks.Square):
        def improve(self, target, image, best, *rest):
            following, margin = super().improve(target, image, best, *rest)
            seen.append((best.numpy(), margin.numpy(), following.numpy()))
            return following, margin

    model = random_linear_model(shape=(8, 8, 1), pixels=64)
    x = some_images(5, (8, 8, 1))
    y = predicted(model, x)
    tf.config.run_functions_eagerly(True)
    try:
        Watched(eps=0.02, steps=20)(model, x, y)
    finally:
        tf.config.run_functions_eagerly(False)
    assert len(seen) == 19
    before, after, images = (np.array(values) for values in zip(*seen, strict=True))
    assert (after >= before).all() and (after > before).any()
    np.testing.assert_array_equal(before[1:], after[:-1])
    for image, margin in zip(images, after, strict=True):
        logits = np.array(model(image))
        right = logits[np.arange(5), y]
        logits[np.arange(5), y] = -np.inf
        np.testing.assert_allclose(margin, logits.max(axis=1) - right, rtol=1e-3, atol=1e-4)


def test_square_breaks_a_linear_model_without_gradients(monkeypatch):
    model = random_linear_model(shape=(8, 8, 1), pixels=64)
    x = some_images(10, (8, 8, 1))
    y = predicted(model, x)

    def refuse(*_, **__):
        raise AssertionError("a gradient was asked for")

    monkeypatch.setattr(tf, "GradientTape", refuse)
    attack = attacks.Square(eps=0.2, steps=100)
    target = attack.target(model)
    found = attack.run(target, x, y)
    assert target.gradient_calls == 0
    assert (predicted(model, found) != y).all()
    assert np.abs(np.float64(found) - x).max() <= 0.2


def test_squares_shrink_by_the_public_schedule_whatever_the_queries():
    # Of the public code: sides on 32 x 32 pixels, p = 0.8 halved behind these queries.
    behind = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]
    first = [0, *(query + 1 for query in behind)]
    expected = [max(round((0.8 / 2**i * 32 * 32) ** 0.5), 1) for i in range(10)]
    own = attacks.Square(steps=5000, rescale_schedule=False)
    assert [own.side(query, 32, 32) for query in first] == expected
    assert [own.side(query, 32, 32) for query in behind] == expected[:-1]
    assert [attacks.Square(steps=10_000).side(query, 32, 32) for query in first] == expected
    half = attacks.Square(steps=5000)
    assert [half.side((query + 1) // 2, 32, 32) for query in first] == expected


def test_square_refuses_what_is_no_image():
    with pytest.raises(ValueError, match=r"Square needs images.*\(4, 12\)"):
        attacks.Square()(random_linear_model(), some_images(4), np.zeros(4, int))


# Carlini & Wagner


@pytest.fixture
def plane():
    """A linear model of two classes, images of class 0 away from the bounds, their distances."""
    rng = np.random.default_rng(8)
    slope = rng.normal(size=12)
    x = rng.uniform(0.45, 0.55, size=(6, 12)).astype(np.float32)
    bias = -(np.float64(x) @ slope).max() - 0.3 * np.linalg.norm(slope)
    model = linear_model(np.stack([0 * slope, slope], axis=1), bias=[0.0, bias])
    distances = -(np.float64(x) @ slope + bias) / np.linalg.norm(slope)
    nearest = x + distances[:, None] * slope / np.linalg.norm(slope)
    assert nearest.min() > 0.05 and nearest.max() < 0.95
    return model, x, distances, np.linalg.norm(slope)


def carlini_wagner(**options):
    return attacks.CarliniWagnerL2(
        **{"steps": 120, "learning_rate": 0.02, "constant": 0.1, **options}
    )


def lengths(found, x):
    return np.linalg.norm(np.float64(found) - x, axis=1)


def test_carlini_wagner_finds_the_distance_to_the_hyperplane(plane):
    model, x, distances, _ = plane
    found = carlini_wagner()(model, x, np.zeros(6, int))
    assert (predicted(model, found) == 1).all()
    assert (lengths(found, x) >= distances - 1e-4).all()
    np.testing.assert_allclose(lengths(found, x), distances, rtol=0.02)


def test_carlini_wagner_returns_the_clean_image_where_success_lies_beyond_eps(plane):
    model, x, distances, _ = plane
    limit = float(np.sort(distances)[2:4].mean())
    assert np.abs(distances / limit - 1).min() > 0.003
    found = carlini_wagner(eps=limit, steps=200)(model, x, np.zeros(6, int))
    beyond = distances > limit
    np.testing.assert_array_equal(found[beyond], x[beyond])
    assert (lengths(found, x) <= limit).all()
    clear = distances < 0.97 * limit
    assert (predicted(model, found)[clear] == 1).all()


def test_carlini_wagner_keeps_its_distance_by_the_confidence(plane):
    model, x, distances, steepness = plane
    found = carlini_wagner(confidence=0.3)(model, x, np.zeros(6, int))
    logits = np.array(model(found))
    assert (logits[:, 1] - logits[:, 0] >= 0.3).all()
    np.testing.assert_allclose(lengths(found, x), distances + 0.3 / steepness, rtol=0.02)


def test_carlini_wagner_returns_the_clean_image_where_it_finds_nothing(plane):
    model, x, *_ = plane
    attack = carlini_wagner(constant=1e-6, binary_search_steps=1, steps=20)
    np.testing.assert_array_equal(attack(model, x, np.zeros(6, int)), x)


# Combinations


@pytest.mark.parametrize(
    "attack",
    [
        attacks.PGD(eps=0.5, steps=20, step_size=0.1, targeted=True),
        attacks.PGD(eps=0.5, steps=20, step_size=0.1, targeted=True, keep="first"),
        attacks.APGD(eps=0.5, steps=20, targeted=True),
        attacks.SAPGD(eps=0.5, steps=20, targeted=True, gradient="bptt"),
        attacks.PGD(eps=3.0, steps=30, step_size=0.3, targeted=True, norm="l2"),
        carlini_wagner(targeted=True),
    ],
    ids=["pgd", "pgd-first", "apgd", "sapgd", "pgd-l2", "cw"],
)
@pytest.mark.parametrize("wanted", [0, 1, 2, 3])
def test_targeted_attacks_reach_the_target_class(attack, wanted):
    model, x = random_linear_model(), some_images(6, low=0.4, high=0.6)
    found = attack(model, x, np.full(6, wanted))
    np.testing.assert_array_equal(predicted(model, found), wanted)


def test_multi_targeted_breaks_what_any_class_alone_breaks():
    model, x = random_linear_model(seed=5), some_images(40)
    y = predicted(model, x)
    member = attacks.PGD(eps=0.04, steps=20, step_size=0.01, targeted=True)
    alone = np.array([predicted(model, member(model, x, np.full(40, c))) != y for c in range(4)])
    alone[y, np.arange(40)] = False
    found = attacks.MultiTargeted(member, targets=3)(model, x, y)
    broken = predicted(model, found) != y
    np.testing.assert_array_equal(broken, alone.any(axis=0))
    assert 0 < broken.sum() < 40
    one = predicted(model, attacks.MultiTargeted(member, targets=1)(model, x, y)) != y
    wrong = np.array(model(x))
    wrong[np.arange(40), y] = -np.inf
    np.testing.assert_array_equal(one, alone[wrong.argmax(axis=1), np.arange(40)])


def test_multi_targeted_refuses_an_untargeted_attack():
    with pytest.raises(ValueError, match="targeted=True"):
        attacks.MultiTargeted(attacks.PGD())


def test_a_sample_survives_an_ensemble_only_if_it_survives_all_members():
    model, x = spiking_model(shape=(12,)), some_images(60)
    y = predicted(model, x)
    members = [
        attacks.PGD(eps=0.06, step_size=0.03, gradient=gradient)
        for gradient in ("bptt", "bptr", "straight_through")
    ]
    survived = []
    for number, member in enumerate(members):
        own, alone = np.empty_like(x), member.target(model)
        for rows, images in member.chunks(alone, x, y, stream=(number,)):
            own[rows] = images
        survived.append(predicted(model, own) == y)
    survived = np.array(survived)
    found = attacks.Ensemble(members)(model, x, y)
    np.testing.assert_array_equal(predicted(model, found) == y, survived.all(axis=0))
    assert survived.all(axis=0).sum() < survived.sum(axis=1).min()


def test_transfer_is_the_attack_on_the_substitute():
    model, substitute, x = random_linear_model(1), random_linear_model(2), some_images()
    attack, y = attacks.PGD(eps=0.1, step_size=0.03), predicted(model, x)
    expected = attack(substitute, x, y, seed=6)
    found = attacks.Transfer(substitute, attack)(model, x, y, seed=6)
    np.testing.assert_array_equal(found, expected)
    assert not np.allclose(found, attack(model, x, y, seed=6))


@pytest.mark.parametrize("keep", ["first", "last"])
def test_restarts_replace_failures_only(keep):
    model, x = spiking_model(shape=(12,)), some_images(60)
    y = predicted(model, x)
    runs = {
        restarts: attacks.PGD(eps=0.06, steps=3, step_size=0.02, restarts=restarts, keep=keep)(
            model, x, y
        )
        for restarts in (1, 4)
    }
    broken = {restarts: predicted(model, found) != y for restarts, found in runs.items()}
    np.testing.assert_array_equal(runs[4][broken[1]], runs[1][broken[1]])
    assert broken[4].sum() > broken[1].sum() > 0
    failed = runs[4][~broken[1]] != runs[1][~broken[1]]
    assert failed.any(axis=1).all()


# Noise and random search


def test_gaussian_noise_has_the_deviation_it_is_given():
    x = np.full((40, 100), 0.5, np.float32)
    noise = attacks.GaussianNoise(std=0.08)(random_linear_model(pixels=100), x, np.zeros(40, int))
    noise = np.float64(noise) - 0.5
    assert noise.mean() == pytest.approx(0, abs=4 * 0.08 / 4000**0.5)
    assert noise.std() == pytest.approx(0.08, rel=0.05)
    assert (noise**4).mean() / noise.var() ** 2 == pytest.approx(3, abs=0.4)


def test_uniform_noise_fills_its_bounds_evenly():
    x = np.full((40, 100), 0.5, np.float32)
    noise = attacks.UniformNoise(bound=0.2)(random_linear_model(pixels=100), x, np.zeros(40, int))
    noise = np.float64(noise) - 0.5
    assert 0.199 < np.abs(noise).max() <= 0.2 + 1e-7
    assert noise.mean() == pytest.approx(0, abs=4 * 0.2 / (3 * 4000) ** 0.5)
    assert noise.var() == pytest.approx(0.2**2 / 3, rel=0.06)


def test_random_signs_move_every_pixel_by_eps_or_none():
    model, x = random_linear_model(), some_images(80, low=0.3, high=0.7)
    y = predicted(model, x)
    found = attacks.RandomSigns(eps=0.25, steps=10)(model, x, y)
    broken = predicted(model, found) != y
    assert 0 < broken.sum() < 80
    np.testing.assert_array_equal(found[~broken], x[~broken])
    moved = np.abs(np.float64(found[broken]) - x[broken])
    np.testing.assert_allclose(moved, 0.25, rtol=0, atol=1e-6)
    longer = predicted(model, attacks.RandomSigns(eps=0.25, steps=40)(model, x, y)) != y
    assert (longer >= broken).all() and longer.sum() > broken.sum()


# All of them


@pytest.mark.parametrize("name", attacks.names())
def test_every_attack_at_radius_zero_returns_the_images(name):
    model, x = spiking_model(), some_images(4, (8, 8, 1))
    y = predicted(model, x)
    if name in ("gaussian", "uniform"):
        arguments = {{"gaussian": "std", "uniform": "bound"}[name]: 0.0}
    else:
        arguments = {"eps": 0.0} | arguments_of(name)
    kind = type(attacks.get(name))
    np.testing.assert_array_equal(kind(**arguments)(model, x, y), x)


@pytest.mark.parametrize("name", attacks.names())
def test_every_attack_stays_in_its_ball_and_agrees_with_itself_under_xla(name):
    model, x = spiking_model(), some_images(60, (8, 8, 1))
    x[0], x[1] = 0.0, 1.0
    y = predicted(model, x)
    plain, compiled = (
        attacks.get(name, eps=0.07, jit=jit, **arguments_of(name))(model, x, y)
        for jit in ("off", "on")
    )
    for found in (plain, compiled):
        assert found.dtype == np.float32 and found.shape == x.shape
        assert found.min() >= 0 and found.max() <= 1
        if attacks.get(name).norm == "linf":
            assert np.abs(np.float64(found) - x).max() <= 0.07
    # Not all: a potential next to the threshold may fire in one order of summation only.
    assert (np.abs(plain - compiled) <= 1e-5).mean() >= 0.95


def test_the_gradients_of_a_run_are_counted():
    model, x = spiking_model(), some_images(4, (8, 8, 1))
    y = predicted(model, x)
    attack = attacks.HART(eps=0.0, steps=3, gammas=(0.5, 1.0), eot=2)
    target = attack.target(model)
    assert isinstance(target, Target)
    attack.run(target, x, y)
    assert target.gradient_calls == 4 * 3 * 2 * 2
