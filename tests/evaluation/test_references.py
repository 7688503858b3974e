"""The attacks against Foolbox' and ART's on a trained spiking network, at equal budgets.

Prints its figures as a Markdown measured, and with --record writes them into docs/evaluation.md:

    python -m pytest -m slow tests/evaluation/test_references.py -s --record
"""

import pathlib
import time

import art.attacks.evasion
import foolbox
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import peer_tables
from keras_mpdsgr import attacks, data, models

pytestmark = pytest.mark.slow

MODEL = pathlib.Path(__file__).resolve().parents[2] / "saved_models" / "digits" / "model.keras"
COMMAND = (
    "python -m trainers.cifar --dataset digits --width 0.125 --timesteps 4 --epochs 20 "
    "--eta 0.05 --run_dir saved_models/digits"
)
IMAGES, BATCH, SEED, EPS = 360, 120, 0, 8 / 255
STEP_SIZE = 0.01
SIGNIFICANT = 0.01


@pytest.fixture(scope="module")
def model():
    if not MODEL.is_file():
        pytest.skip(f"no trained model: {COMMAND}")
    return models.load(MODEL)


@pytest.fixture(scope="module")
def digits():
    loaded = data.load("digits", limit_train=1, limit_test=IMAGES)
    assert len(loaded.x_test) == IMAGES
    return data.to_pixels(loaded.x_test), loaded.y_test.astype(np.int64)


@pytest.fixture(scope="module")
def measured(model, digits, pytestconfig):
    found = {}
    yield found
    settings = {
        "model": "digits",
        "images": f"0-{IMAGES - 1}",
        "eps": f"{EPS * 255:.0f}/255",
        "seed": SEED,
        "batch": BATCH,
        "clean accuracy": f"{correct(model, *digits).mean():.1%}",
    }
    packages = ("foolbox", "adversarial-robustness-toolbox", "tensorflow")
    write = pytestconfig.getoption("record")
    peer_tables.finish("foolbox-and-art", settings, packages, found, write)


def correct(model, x, y):
    parts = [model(x[i : i + BATCH], training=False) for i in range(0, len(x), BATCH)]
    return np.argmax(np.concatenate(parts), axis=1) == y


def ours(attack, model, x, y):
    began = time.process_time()
    found = attack(model, x, y, seed=SEED, batch_size=BATCH)
    return found, time.process_time() - began


def foolboxs(attack, model, x, y, eps=EPS):
    wrapped = attacks.adapters.to_foolbox(model)
    tf.random.set_seed(SEED)
    began, found = time.process_time(), []
    for i in range(0, len(x), BATCH):
        part = tf.constant(x[i : i + BATCH]), tf.constant(y[i : i + BATCH])
        found.append(attack(wrapped, *part, epsilons=eps)[1].numpy())
    return np.concatenate(found), time.process_time() - began


def arts(make, model, x, y):
    classifier = attacks.adapters.to_art(model)
    np.random.seed(SEED)  # noqa: NPY002 - ART draws from NumPy's global generator.
    began = time.process_time()
    found = make(classifier).generate(x, y)
    return found, time.process_time() - began


def compare(measured, name, model, x, y, own, reference):
    """Which images are right after both attacks, and McNemar's p-value."""
    (own, own_seconds), (reference, reference_seconds) = own, reference
    for found in (own, reference):
        assert np.abs(found.astype(np.float64) - x).max() <= EPS + 1e-6
        assert found.min() >= 0 and found.max() <= 1
    same = same_images(own, reference)
    own, reference = correct(model, own, y), correct(model, reference, y)
    measured[name] = peer_tables.compared(own, reference, (own_seconds, reference_seconds), same)
    return own, reference, measured[name]["p"]


def assert_no_weaker(own, reference, p):
    assert own.sum() <= reference.sum() or p >= SIGNIFICANT


def same_images(a, b):
    return np.mean(np.abs(a - b).reshape(len(a), -1).max(axis=1) <= 1e-6)


def test_the_model_is_worth_attacking(model, digits):
    assert correct(model, *digits).mean() > 0.9


def test_fgsm_gives_foolboxs_images(model, digits, measured):
    own = ours(attacks.FGSM(eps=EPS), model, *digits)
    reference = foolboxs(foolbox.attacks.LinfFastGradientAttack(), model, *digits)
    compare(measured, "FGSM (Foolbox)", model, *digits, own, reference)
    assert same_images(own[0], reference[0]) >= 0.95


def test_bim_gives_foolboxs_images(model, digits, measured):
    own = ours(attacks.BIM(eps=EPS, steps=7, step_size=STEP_SIZE), model, *digits)
    reference = foolboxs(
        foolbox.attacks.LinfBasicIterativeAttack(
            steps=7, abs_stepsize=STEP_SIZE, random_start=False
        ),
        model,
        *digits,
    )
    compare(measured, "BIM, 7 steps (Foolbox)", model, *digits, own, reference)
    assert same_images(own[0], reference[0]) >= 0.95


@pytest.mark.parametrize("steps", [7, 50])
def test_pgd_is_no_weaker_than_foolboxs(model, digits, measured, steps):
    own = ours(attacks.PGD(eps=EPS, steps=steps, step_size=STEP_SIZE), model, *digits)
    theirs = foolbox.attacks.LinfPGD(steps=steps, abs_stepsize=STEP_SIZE, random_start=True)
    reference = foolboxs(theirs, model, *digits)
    name = f"PGD, {steps} steps (Foolbox)"
    assert_no_weaker(*compare(measured, name, model, *digits, own, reference))


def test_auto_pgd_is_no_weaker_than_arts(model, digits, measured):
    own = ours(attacks.APGD(eps=EPS, steps=50), model, *digits)
    reference = arts(
        lambda classifier: art.attacks.evasion.AutoProjectedGradientDescent(
            classifier,
            eps=EPS,
            eps_step=2 * EPS,  # the first step of Croce & Hein
            max_iter=50,
            nb_random_init=1,
            batch_size=BATCH,
            loss_type=None,
            verbose=False,
        ),
        model,
        *digits,
    )
    name = "Auto-PGD, cross-entropy, 50 steps (ART)"
    assert_no_weaker(*compare(measured, name, model, *digits, own, reference))


def test_square_is_no_weaker_than_arts(model, digits, measured):
    own = ours(attacks.Square(eps=EPS, steps=300), model, *digits)
    reference = arts(
        lambda classifier: art.attacks.evasion.SquareAttack(
            classifier, eps=EPS, max_iter=300, nb_restarts=1, batch_size=BATCH, verbose=False
        ),
        model,
        *digits,
    )
    name = "Square, 300 queries (ART)"
    assert_no_weaker(*compare(measured, name, model, *digits, own, reference))


def test_carlini_wagner_is_no_farther_than_foolboxs(model, digits, measured):
    x, y = digits
    own, own_seconds = ours(
        attacks.CarliniWagnerL2(steps=100, binary_search_steps=5, constant=1.0), model, x, y
    )
    theirs = foolbox.attacks.L2CarliniWagnerAttack(
        steps=100, binary_search_steps=5, initial_const=1.0, stepsize=0.01, abort_early=False
    )
    reference, reference_seconds = foolboxs(theirs, model, x, y, eps=None)
    # Foolbox returns black images for what it has not broken.
    found = reference.reshape(len(x), -1).any(axis=1)
    own_broken = ~correct(model, own, y)
    reference_broken = ~correct(model, reference, y) & found
    both = own_broken & reference_broken
    means = [
        np.linalg.norm((images - x)[both].reshape(both.sum(), -1), axis=1).mean()
        for images in (own, reference)
    ]
    measured["CW L2, 5 x 100 steps (Foolbox)"] = peer_tables.compared(
        ~own_broken, ~reference_broken, (own_seconds, reference_seconds), distances=means
    )
    assert both.sum() > IMAGES / 2
    assert own_broken.sum() >= reference_broken.sum()
    assert means[0] <= 1.02 * means[1]
