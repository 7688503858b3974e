"""Weights of samples and classes in `fit` reach each term of an objective that is of samples."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats

from keras_mpdsgr import LIFLayer, defenses, dynamics, layers

RANDOM = np.random.default_rng(3)
KERNEL = RANDOM.normal(size=(5, 3)).astype("float32")
X = RANDOM.uniform(size=(8, 5)).astype("float32")
Y = np.array([0, 2, 1, 2, 0, 1, 1, 0])
WEIGHTS = np.array([0.5, 0.0, 2.0, 1.0, 0.0, 3.0, 0.25, 1.0], "float32")
ROWS = np.arange(8)


def linear():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, use_bias=False)])
    model.set_weights([KERNEL])
    return model


def spiking():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(6, name="current"),
            layers.DirectEncoder(3),
            LIFLayer(tau=0.9),
            layers.TemporalMean(),
            keras.layers.Dense(3),
        ]
    )


def defended(model, objective, rate=0.0):
    model = defenses.DefendedModel(model, objective)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss)
    return model


def shown_loss(model, objective, **weights):
    fit = defended(model, objective).fit(X, Y, batch_size=8, shuffle=False, verbose=0, **weights)
    return fit.history["loss"][0]


def cross_entropy(logits):
    return scipy.special.logsumexp(logits, axis=1) - logits[ROWS, Y]


def plain(**options):
    adversary = defenses.AdversarialTraining(eps=0.1, step_size=0.05, seed=4, **options)
    examples = adversary.examples(linear(), X, Y).numpy().astype("float64")
    return defenses.AdversarialTraining(**adversary.get_config()), examples


def trades():
    adversary, examples = plain(loss="trades", beta=3.0)
    clean = X.astype("float64") @ KERNEL
    p, q = (scipy.special.softmax(x @ KERNEL, axis=1) for x in (X.astype("float64"), examples))
    return (
        linear(),
        adversary.objective(),
        cross_entropy(clean) + 3.0 * scipy.stats.entropy(p, q, axis=1),
    )


def pgd():
    adversary, examples = plain()
    return linear(), adversary.objective(), cross_entropy(examples @ KERNEL)


def sparse_gradient(adversary=None, x=X):
    objective = defenses.SparseGradient(weight=2.0, h=0.3).objective(adversary)
    x, kernel = x.astype("float64"), KERNEL.astype("float64")
    logits = x @ kernel
    others = np.where(np.eye(3, dtype=bool)[Y], -np.inf, logits).argmax(1)
    moved = x + 0.3 * np.sign(kernel[:, Y] - kernel[:, others]).T
    there, beyond = (
        scipy.special.expit(z[ROWS, Y] - z[ROWS, others]) for z in (logits, moved @ kernel)
    )
    return linear(), objective, cross_entropy(logits) + 2.0 * ((beyond - there) / 0.3) ** 2


def adversarial_sparse_gradient():
    return sparse_gradient(*plain())


def dlif():
    adversary, model = defenses.AdversarialTraining(eps=0.1), spiking()
    objective = defenses.DLIF(tau=0.9, alpha=5.0, kappa=0.25).objective(adversary)
    perturbed = adversary.fast_examples(model, X, Y).numpy()
    currents, losses = [], []
    for x in (X, perturbed):
        with dynamics.capture_potentials() as captured:
            losses.append(cross_entropy(model(x).numpy().astype("float64")))
        currents.append(captured[-1].currents.numpy().astype("float64"))
    y, squares = 0.0, []
    for difference in np.moveaxis(currents[0] - currents[1], 1, 0):
        y = 0.9 * y + difference
        squares.append((y**2).mean(1))
    return model, objective, 0.25 * losses[0] + 0.75 * losses[1] + 5.0 * np.mean(squares, axis=0)


OBJECTIVES = {
    "trades": trades,
    "pgd": pgd,
    "sr": sparse_gradient,
    "sr against pgd": adversarial_sparse_gradient,
    "dlif": dlif,
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_is_the_mean_of_each_samples_loss_times_its_weight(name):
    model, objective, losses = OBJECTIVES[name]()
    assert shown_loss(model, objective, sample_weight=WEIGHTS) == pytest.approx(
        np.mean(WEIGHTS * losses), rel=1e-4
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_classes_weigh_as_samples_do_and_none_as_ones(name):
    model, objective, losses = OBJECTIVES[name]()
    classes = {0: 0.5, 1: 2.0, 2: 0.0}
    weights = np.array([classes[y] for y in Y])
    assert shown_loss(model, objective, class_weight=classes) == pytest.approx(
        np.mean(weights * losses), rel=1e-4
    )
    model, objective, losses = OBJECTIVES[name]()
    assert shown_loss(model, objective) == pytest.approx(np.mean(losses), rel=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_images_of_no_weight_move_no_weights_of_the_network(name):
    trained = []
    for other in (X, np.where(WEIGHTS[:, None] > 0, X, 0.9)):
        model, objective, _ = OBJECTIVES[name]()
        step = defended(model, objective, rate=1.0)
        step.fit(other, Y, batch_size=8, shuffle=False, verbose=0, sample_weight=WEIGHTS)
        trained.append(model.get_weights())
    for one, two in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, two)
