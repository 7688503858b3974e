"""Training steps and attacks under XLA against the plain run, a step at a time.

XLA sums in another order, so that a potential next to the threshold may fire in one of the two:
only there may they differ. XLA also draws other random numbers from the same seed, so that gates
and random codings are only seen to compile and to give finite figures.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import attacks, defenses, dynamics, layers
from keras_mpdsgr.attacks.target import Target
from keras_mpdsgr.defenses import AdversarialTraining, DefendedModel
from keras_mpdsgr.models.blocks import Blocks, convolved

SHAPE, CLASSES, TIMESTEPS = (8, 8, 1), 4, 2
# Relative; and how near to the threshold a potential may be that fires in one of the two only.
TOLERANCE = 1e-4
X = np.random.default_rng(0).uniform(size=(8, *SHAPE)).astype("float32")
Y = np.arange(8) % CLASSES


def network(**options):
    """Two layers of neurons behind convolutions, as the builders of `models` put them together."""
    keras.utils.set_random_seed(1)
    blocks = Blocks(2, TIMESTEPS, **options)
    image = keras.Input(SHAPE)
    x = blocks.pixels(image)
    for block in ("conv1", "conv2"):
        x = blocks.normalized(convolved(x, 4, 3, block), f"{block}_tdbn")
        x = blocks.neurons(x, block)
    x = layers.FoldTime(keras.layers.Flatten())(x)
    return blocks.model(image, x, CLASSES, "network")


def potentials(model, x, training=False):
    """Of all neurons and time steps, `(batch, n)`."""
    with dynamics.capture_potentials() as captured:
        outputs = model(x, training=training)
    flat = [tf.reshape(layer.membranes, (tf.shape(x)[0], -1)) for layer in captured]
    return outputs, tf.concat(flat, axis=1)


def flipped(membranes, others):
    """Which neurons fire in one of the two only; all of them are next to the threshold."""
    flips = (membranes >= 1.0) != (others >= 1.0)
    farthest = np.abs(membranes - 1.0)[flips].max(initial=0.0)
    assert farthest < TOLERANCE, f"a spike flips {farthest:g} from the threshold"
    return flips


# Training steps -----------------------------------------------------------------------------------


def defended(name, adversary=None, **arguments):
    def build():
        defense = defenses.get(name, **arguments)
        model = network(**defense.model_options(TIMESTEPS))
        defense.prepare(model)
        objective = defense.objective(adversary and adversary())
        return model, model if objective is None else DefendedModel(model, objective)

    return build


STEPS = {
    "none": defended("none"),
    "mpd_sgr batch": defended("mpd_sgr", eta=0.5),
    "mpd_sgr analytic": defended("mpd_sgr", eta=0.5, omega_form="analytic"),
    "mpd_sgr scale_free": defended("mpd_sgr", eta=0.5, omega_form="scale_free"),
    "mpd_sgr sample": defended("mpd_sgr", eta=0.5, omega_form="sample"),
    "tgo": defended("tgo", noise=0.0),
    "rate": defended("rate"),
    "reg": defended("reg"),
    "sr": defended("sr"),
    "dlif": defended("dlif", AdversarialTraining),
    "feel": defended("feel"),
    "adversarial pgd": defended("none", lambda: AdversarialTraining(steps=1)),
    # So far that spikes change: where none does, the KL is zero and its gradient's sign is noise.
    "adversarial trades": defended(
        "none", lambda: AdversarialTraining(eps=0.2, steps=1, step_size=0.1, loss="trades")
    ),
}


def one_step(build, jit):
    inner, model = build()
    before = inner.get_weights()
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit,
        # What is not compiled costs the test less.
        run_eagerly=not jit,
    )
    loss = model.train_on_batch(X, Y)
    changes = [now - then for now, then in zip(inner.get_weights(), before, strict=True)]
    return inner, float(np.ravel(loss)[0]), changes


def same_start(adversary, x, allowed, share):
    """In place of the random start, of which XLA draws another."""
    assert share == 1
    offset = tf.linspace(-adversary.eps, adversary.eps, tf.size(x))
    return tf.clip_by_value(x + tf.reshape(tf.cast(offset, x.dtype), tf.shape(x)), *allowed)


@pytest.mark.parametrize("name", STEPS)
def test_a_training_step_under_xla_is_the_plain_one(name, monkeypatch):
    monkeypatch.setattr(AdversarialTraining, "_start", same_start)
    plain, loss, changes = one_step(STEPS[name], jit=False)
    compiled, other_loss, other_changes = one_step(STEPS[name], jit=True)
    (_, membranes), (_, others) = (potentials(model, X) for model in (plain, compiled))
    flips = flipped(membranes.numpy(), others.numpy())
    said = f"{flips.sum()} of {flips.size} spikes flip after the step"
    assert other_loss == pytest.approx(loss, rel=TOLERANCE), said
    assert any(np.abs(change).max() > 0 for change in changes)
    for change, other, weight in zip(changes, other_changes, plain.weights, strict=True):
        largest = np.abs(change).max()
        np.testing.assert_allclose(
            other, change, rtol=0, atol=TOLERANCE * largest + 1e-7, err_msg=f"{weight.path}: {said}"
        )


@pytest.mark.parametrize(
    "build",
    [
        defended("stog"),
        lambda: (network(coding="smoothing"),) * 2,
    ],
    ids=["gates", "smoothing coding"],
)
def test_a_training_step_with_random_draws_compiles_and_is_finite(build):
    _, loss, changes = one_step(build, jit=True)
    assert np.isfinite(loss)
    assert all(np.isfinite(change).all() for change in changes)
    assert any(np.abs(change).max() > 0 for change in changes)


# Attacks ------------------------------------------------------------------------------------------

EPS = 0.1
_SHORT = {"eps": EPS, "steps": 3}
ATTACKS = {
    **{
        f"fgsm {mode}": attacks.FGSM(eps=EPS, gradient=mode)
        for mode in ("bptt", "bptr", "bptr_rga", "assg", "pdsg", "hybrid")
    },
    "fgsm arctan": attacks.FGSM(eps=EPS, surrogate="arctan"),
    "pgd": attacks.PGD(**_SHORT, step_size=0.03, keep="first", restarts=2),
    "pgd l2 pdsg": attacks.PGD(**_SHORT, step_size=0.1, norm="l2", gradient="pdsg"),
    "apgd": attacks.APGD(**_SHORT),
    # One step: where the right class has come to be the third, DLR is 1, and its gradient is noise.
    "apgd dlr l2": attacks.APGD(eps=EPS, steps=1, loss="dlr", norm="l2"),
    "sapgd": attacks.SAPGD(**_SHORT),
    "hart": attacks.HART(**_SHORT, step_size=0.03, gammas=(0.5, 1.0)),
    "fab": attacks.FAB(**_SHORT, targets=2, restarts=2),
    "square": attacks.Square(eps=EPS, steps=6),
    "random": attacks.RandomSigns(eps=EPS, steps=3),
    # Weighed so that the last bit of a pixel is no part of the gradient.
    "cw": attacks.CarliniWagnerL2(steps=3, binary_search_steps=2, learning_rate=0.1, constant=1.0),
    "ensemble of a multi-targeted": attacks.Ensemble(
        [attacks.MultiTargeted(attacks.BIM(**_SHORT, targeted=True), targets=2)]
    ),
}


class BothWays:
    """Runs every compiled step of an attack plain and under XLA, and goes on from the plain one.

    So the two start each step from the same bits, and what differs is of that step alone.
    """

    def __init__(self, monkeypatch, seen, slope):
        self._seen, self._slope = seen, slope
        self.steps = self.flips = self.neurons = 0
        monkeypatch.setattr(Target, "call", self._both(Target.call))
        monkeypatch.setattr(Target, "logits", self._noting_potentials(Target.logits))
        monkeypatch.setattr(Target, "input_gradient", self._noting_gradients(Target.input_gradient))

    def _noting_potentials(self, logits):
        def noting(target, x):
            with dynamics.capture_potentials() as captured:
                outputs = logits(target, x)
            flat = [tf.reshape(layer.membranes, (tf.shape(x)[0], -1)) for layer in captured]
            self._seen.assign(tf.concat(flat, axis=1))
            return outputs

        return noting

    def _noting_gradients(self, input_gradient):
        def noting(target, *arguments):
            gradient, *rest = input_gradient(target, *arguments)
            self._slope.assign(gradient)
            return gradient, *rest

        return noting

    def _both(self, call):
        def both(target, step, *arguments, look=True):
            results = []
            for jit in (True, False):
                target._jit = jit
                self._slope.assign(tf.ones_like(X))
                found = call(target, step, *arguments, look=look)
                results.append((found, self._seen.numpy(), self._slope.numpy()))
            (other, others, slopes), (found, membranes, slope) = results
            self._compare(found, other, flipped(membranes, others).any(axis=1), slope, slopes)
            self.flips += int(flipped(membranes, others).sum())
            self.neurons += membranes.size
            self.steps += 1
            return found

        return both

    def _compare(self, found, other, excused, slope, slopes):
        said = f"in step {self.steps}; {self.flips} of {self.neurons} spikes flipped so far"
        pairs = zip(tf.nest.flatten((slope, found)), tf.nest.flatten((slopes, other)), strict=True)
        largest = np.abs(slope).max(axis=(1, 2, 3), keepdims=True)
        # The sign of next to nothing is up to the order of summation, too.
        faint = np.abs(slope) < 1e-5 * largest
        for i, (ours, theirs) in enumerate(pairs):
            ours, theirs = np.float64(ours)[~excused], np.float64(theirs)[~excused]
            axes = tuple(range(1, ours.ndim))
            scale = np.abs(ours).max(axis=axes, keepdims=True, initial=0, where=np.isfinite(ours))
            with np.errstate(invalid="ignore"):
                far = ~((ours == theirs) | (np.abs(ours - theirs) <= TOLERANCE * scale))
            if far.shape[1:] == SHAPE:
                far &= ~faint[~excused]
            assert not far.any(), f"result {i}, {ours[far]} and {theirs[far]} {said}"


@pytest.fixture(scope="module")
def attacked():
    """A model whose running averages fit it, its classes, and what its steps note down."""
    model = network()
    for _ in range(30):
        model(X, training=True)
    logits, membranes = potentials(model, X)
    # As long-lived as the compiled steps, which the model keeps.
    noted = tf.Variable(membranes), tf.Variable(tf.ones_like(X))
    return model, np.argmax(logits, axis=1), noted


@pytest.mark.parametrize("name", ATTACKS)
def test_every_step_of_an_attack_under_xla_is_the_plain_one(name, attacked, monkeypatch):
    model, y, noted = attacked
    both = BothWays(monkeypatch, *noted)
    found = ATTACKS[name](model, X, y)
    assert both.steps > 0
    assert np.abs(found - X).max() > 0
    # What agrees by exception alone would say nothing.
    assert both.flips <= 1e-4 * both.neurons, f"{both.flips} of {both.neurons} spikes flip"


def test_an_attack_on_a_random_coding_compiles_and_is_finite():
    model = network(coding="poisson")
    found = attacks.PGD(eps=EPS, steps=2, eot=2, jit="on")(model, X, Y)
    assert np.isfinite(found).all() and 0 < np.abs(found - X).max() <= np.float32(EPS)
