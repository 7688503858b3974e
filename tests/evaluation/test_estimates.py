"""What attacks take at most, against what a model that never breaks makes them take."""

import collections

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, attacks, evaluation, layers
from keras_mpdsgr.attacks.target import Target

X, Y = np.full((4, 8, 8, 1), 0.5, "float32"), np.zeros(4, int)


@pytest.fixture(scope="module")
def unbreakable():
    """Spiking, and sure of class 0 whatever it is shown."""
    image = keras.Input((8, 8, 1))
    hidden = keras.layers.Dense(4)(keras.layers.Flatten()(image))
    spikes = LIFLayer()(layers.DirectEncoder(2)(hidden))
    biased = keras.layers.Dense(
        3, bias_initializer=lambda shape, dtype: keras.ops.array([50.0, 0.0, 0.0], dtype)
    )
    return keras.Model(image, layers.TemporalMean()(layers.FoldTime(biased)(spikes)))


SUBSTITUTE_ATTACK = attacks.PGD(steps=2, eot=3)
ATTACKS = {
    "fgsm": attacks.FGSM(eot=2),
    "pgd": attacks.PGD(steps=3, restarts=2, eot=2, keep="first"),
    "apgd": attacks.APGD(steps=4, restarts=2),
    "sapgd": attacks.SAPGD(steps=3, eot=2),
    "hart": attacks.HART(steps=2, gammas=(0.5, 1.0, 2.0), eot=2),
    "cw": attacks.CarliniWagnerL2(steps=3, binary_search_steps=2, eot=2),
    "fab": attacks.FAB(steps=3, targets=2, restarts=2),
    "square": attacks.Square(steps=5),
    "random": attacks.RandomSigns(steps=4),
    "gaussian": attacks.GaussianNoise(),
    "ensemble": attacks.Ensemble([attacks.FGSM(), attacks.BIM(steps=2, gradient="bptr")]),
    "multi-targeted": attacks.MultiTargeted(attacks.PGD(steps=2, targeted=True), targets=2),
}
# Looks that cost one forward pass a restart or an attack are not counted.
QUERIES = {"score", "improve"}


def test_every_attack_says_what_it_takes_where_nothing_breaks(unbreakable, monkeypatch):
    queries, call = collections.Counter(), Target.call

    def counting(target, step, *arguments, look=True):
        attack, name = step.__self__, step.__name__
        random = isinstance(attack, attacks.RandomSigns)
        each_step = isinstance(attack, attacks.FAB) and name == "iterate"
        queries[type(attack)] += random or each_step or name in QUERIES
        return call(target, step, *arguments, look=look)

    monkeypatch.setattr(Target, "call", counting)
    for name, attack in ATTACKS.items():
        target = attack.target(unbreakable)
        attack.run(target, X, Y)
        said = collections.Counter()
        for backward, number in attack.passes():
            said[backward is None] += number
        assert target.gradient_calls == said[False] * len(X), name
        assert queries[type(attack)] == said[True], name


def test_a_transfer_attack_takes_what_its_attack_on_the_substitute_takes(unbreakable):
    transfer = attacks.Transfer(unbreakable, SUBSTITUTE_ATTACK)
    assert transfer.passes() == SUBSTITUTE_ATTACK.passes()


def test_time_goes_with_passes_and_batches(unbreakable):
    suite = {
        "short": attacks.PGD(steps=5),
        "long": attacks.PGD(steps=50),
        "square": attacks.Square(steps=10),
    }
    few = evaluation.estimate(unbreakable, X, Y, suite, total=8, batch_size=4)
    assert few["long"].seconds == pytest.approx(10 * few["short"].seconds)
    assert [(one.gradients, one.queries) for one in few.values()] == [(5, 0), (50, 0), (0, 10)]
    assert 0 < few["square"].seconds < 60
