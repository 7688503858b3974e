"""One trace a shape: numbers, seeds, odd remainders and second calls compile nothing."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, attacks, defenses, evaluation, layers, surrogates
from keras_mpdsgr.defenses import AdversarialTraining, DefendedModel

X = np.random.default_rng(0).uniform(size=(24, 4, 4, 1)).astype("float32")
Y = np.arange(24) % 3


class Counting(keras.layers.Layer):
    """Counts how often its call is traced, in training and in inference."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.traces = {True: 0, False: 0}

    def call(self, inputs, training=None):
        self.traces[bool(training)] += 1
        return inputs


def counting_network(eta=0.1):
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 1))
    counting = Counting()
    hidden = keras.layers.Dense(8)(keras.layers.Flatten()(counting(image)))
    spikes = LIFLayer(eta=eta)(layers.DirectEncoder(2)(hidden))
    model = keras.Model(
        image, layers.TemporalMean()(layers.FoldTime(keras.layers.Dense(3))(spikes))
    )
    counting.traces = {True: 0, False: 0}
    return model, counting.traces


def compiled(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


# Training, evaluation, prediction -----------------------------------------------------------------

OBJECTIVES = {
    "plain": lambda: None,
    "adversarial": lambda: AdversarialTraining(eps=0.1, steps=2).objective(),
    "sr": lambda: defenses.SparseGradient().objective(),
}
# How often one step calls the model, in training and in inference.
CALLS = {"plain": (1, 0), "adversarial": (1, 2), "sr": (2, 0)}
# Before its first step Keras runs one on symbols, to build metrics and optimizer.
BUILT = 1


@pytest.mark.parametrize("name", OBJECTIVES)
def test_fit_traces_one_step_for_whole_batches_and_one_for_any_remainder(name):
    model, traces = counting_network()
    model = compiled(DefendedModel(model, OBJECTIVES[name]()))
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=[defenses.EtaWarmup(4)])
    expected = [(BUILT + 1) * calls for calls in CALLS[name]]
    assert [traces[True], traces[False]] == expected
    model.optimizer.learning_rate = 0.01
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0)
    assert [traces[True], traces[False]] == expected
    # Keras lets go of the static batch size once it has seen another.
    for odd in (7, 5, 9):
        model.fit(X, Y, batch_size=odd, epochs=1, verbose=0)
    assert [traces[True], traces[False]] == [(BUILT + 2) * calls for calls in CALLS[name]]


@pytest.mark.parametrize("method, built", [("evaluate", BUILT), ("predict", 0)])
def test_evaluate_and_predict_trace_once_for_whole_batches_and_once_for_any_other(method, built):
    model, traces = counting_network()
    run = getattr(compiled(model), method)
    arguments = (X, Y) if method == "evaluate" else (X,)
    run(*arguments, batch_size=8, verbose=0)
    run(*arguments, batch_size=8, verbose=0)
    assert traces == {True: 0, False: built + 1}
    for odd in (7, 5, 9):
        run(*arguments, batch_size=odd, verbose=0)
    assert traces == {True: 0, False: built + 2}


# Attacks ------------------------------------------------------------------------------------------


def _radial(kind, **fixed):
    return lambda size, steps: kind(eps=size, steps=steps, **fixed)


def _stepping(kind, **fixed):
    return lambda size, steps: kind(eps=size, steps=steps, step_size=size / 4, **fixed)


def _members(size, steps):
    targeted = attacks.BIM(eps=size, steps=steps, step_size=size / 4, targeted=True)
    return [attacks.FGSM(eps=size), attacks.MultiTargeted(targeted, targets=steps)]


# From a radius and a number of steps to an attack.
ATTACKS = {
    "fgsm": lambda size, steps: attacks.FGSM(eps=size),
    "pgd": _stepping(attacks.PGD),
    "pgd first": _stepping(attacks.PGD, keep="first", restarts=2),
    "bim pdsg": _stepping(attacks.BIM, gradient="pdsg"),
    "pgd of any width": lambda size, steps: attacks.PGD(
        eps=size, step_size=size / 4, surrogate=surrogates.get("arctan", gamma=10 * size)
    ),
    "apgd": _radial(attacks.APGD),
    "sapgd": _radial(attacks.SAPGD),
    "hart": _stepping(attacks.HART, gammas=(0.5, 1.0)),
    "fab": _radial(attacks.FAB, targets=2),
    "square": _radial(attacks.Square),
    "random": _radial(attacks.RandomSigns),
    "cw": lambda size, steps: attacks.CarliniWagnerL2(
        eps=size, steps=steps, learning_rate=size, constant=size, confidence=size,
        binary_search_steps=steps,
    ),
    "ensemble and multi-targeted": lambda size, steps: attacks.Ensemble(_members(size, steps)),
}  # fmt: skip


def traces_by_step(model):
    """Of each compiled step that the model keeps: how often it was traced."""
    kept = model._keras_mpdsgr_compiled
    return {str(key): step.experimental_get_tracing_count() for key, step in kept.items()}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_with_other_numbers_or_odd_remainders_traces_nothing_anew(name):
    model, _ = counting_network()
    make = ATTACKS[name]
    make(0.02, 3)(model, X[:8], Y[:8], batch_size=8)
    make(0.02, 3)(model, X[:2], Y[:2], batch_size=8)
    known = traces_by_step(model)
    assert set(known.values()) == {1}  # for batches of any size
    for size, steps, n, seed in [
        (0.05, 2, 8, 0),
        (0.1, 4, 21, 1),
        (0.01, 3, 2, 2),
        (0.1, 3, 17, 3),
    ]:
        make(size, steps)(model, X[:n], Y[:n], seed=seed, batch_size=8)
    assert traces_by_step(model) == known


def test_an_evaluation_that_drops_samples_traces_each_step_once():
    model, _ = counting_network()
    suite = {
        f"pgd {eps}": attacks.PGD(eps=eps, step_size=eps / 4) for eps in (0.02, 0.05, 0.1, 0.2, 0.4)
    }
    report = evaluation.evaluate(model, X, Y, suite, eps=0.4, batch_size=8, drop_broken=True)
    assert len({int(report.survivors().sum()), report.n}) == 2
    counts = traces_by_step(model)
    assert list(counts.values()) == [1, 1]  # the step and the predictor's answer


class Noting(attacks.Attack):
    """Changes nothing and notes the sizes of its batches."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def perturb(self, target, x, y, draws):
        self.sizes.append(len(x))
        return x


@pytest.mark.parametrize(
    "n, sizes",
    [(1, [1]), (2, [2]), (3, [4]), (5, [8]), (8, [8]), (9, [8, 1]), (21, [8, 8, 8])],
)
def test_a_rest_goes_in_a_half_or_a_quarter_of_the_batch_that_holds_it(n, sizes):
    model, _ = counting_network()
    noting = Noting()
    done = [part for part, _ in noting.chunks(noting.target(model), X[:n], Y[:n], batch_size=8)]
    assert noting.sizes == sizes
    np.testing.assert_array_equal(np.concatenate(done), np.arange(n))
