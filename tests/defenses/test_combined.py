"""Several defences at once: the loss of all by hand, and which of them go together."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, defenses, layers
from keras_mpdsgr.defenses import AdversarialTraining, DefendedModel, SparseGradient
from keras_mpdsgr.fitting import TaskLoss

X = np.random.default_rng(0).uniform(size=(12, 4)).astype("float32")
Y = np.arange(12) % 2
# A step so long that spikes change on the way.
SR = {"weight": 0.3, "h": 0.2}


def network(defense):
    """Two layers of neurons, built with a defence's options as a builder of `models` does."""
    options = defense.model_options(timesteps=3)
    behind = options.pop("after_neurons", lambda name: keras.layers.Identity())
    share = {"eta": options.pop("eta", 0.0) / 2}
    image = keras.Input((4,))
    x = layers.DirectEncoder(3)(keras.layers.Dense(6)(image))
    x = behind("one")(LIFLayer(name="one", **share, **options)(x))
    x = layers.FoldTime(keras.layers.Dense(5))(x)
    x = behind("two")(LIFLayer(name="two", **share, **options)(x))
    model = keras.Model(image, keras.layers.Dense(2)(layers.TemporalMean()(x)))
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(0.2, 1.5, w.shape) for w in model.weights])
    defense.prepare(model)
    return model


def losses_of(defense, steps=3, adversary=None):
    """The loss of each step of a training that changes no weight."""
    model = network(defense)
    objective = defense.objective(adversary)
    trained = model if objective is None else DefendedModel(model, objective)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trained.compile(keras.optimizers.SGD(0.0), loss)
    callbacks = defense.callbacks(steps, warmup_steps=2)
    history = trained.fit(X, Y, batch_size=12, epochs=steps, verbose=0, callbacks=callbacks)
    return np.array(history.history["loss"])


def added(model, x):
    """What the layers add to the loss on some images."""
    model(x, training=True)
    return float(tf.add_n(model.losses))


def test_sr_and_mpd_sgr_add_the_penalty_and_omega_with_its_warm_up():
    none, sr = losses_of(defenses.get("none")), losses_of(defenses.get("sr", **SR))
    both = defenses.get("sr,mpd_sgr", eta=0.5, **SR)
    model = network(both)
    with tf.GradientTape() as tape:
        x = tf.constant(X)
        tape.watch(x)
        logits = model(x, training=True)
        right, wrong = (tf.gather(logits, c, axis=1, batch_dims=1) for c in (Y, 1 - Y))
        score = tf.reduce_sum(tf.sigmoid(right - wrong))
    moved = x + SR["h"] * tf.sign(tape.gradient(score, x))
    # The model is called twice in training: what its layers add counts as the mean of both calls.
    omega = (added(model, x) + added(model, moved)) / 2
    assert sr[0] > none[0] + 0.01 and omega > 0.1
    np.testing.assert_allclose(losses_of(both), sr + omega * np.array([0, 0.5, 1]), rtol=1e-5)


def test_against_an_adversary_the_penalty_is_that_of_its_images():
    both = defenses.get("sr,mpd_sgr", eta=0.5, **SR)
    adversary = AdversarialTraining(eps=0.2, step_size=0.2, random_start=False)
    model = network(both)
    no_loss = TaskLoss(lambda y, logits: tf.zeros(()))
    _, loss = both.objective(adversary)(model, tf.constant(X), Y, no_loss)
    moved = adversary.examples(model, X, Y)
    _, expected = SparseGradient(**SR).objective()(model, moved, Y, no_loss)
    _, clean = SparseGradient(**SR).objective()(model, tf.constant(X), Y, no_loss)
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert abs(float(loss) - float(clean)) > 1e-3 * float(loss)


def test_two_penalties_of_layers_rise_together_by_one_warm_up():
    both = defenses.get("mpd_sgr,rate", eta=0.5, weight=0.8)
    assert len(both.callbacks(10, warmup_steps=5)) == 1
    found = losses_of(both)
    none, omega, rate = (
        losses_of(defenses.get(name, **given))
        for name, given in [("none", {}), ("mpd_sgr", {"eta": 0.5}), ("rate", {"weight": 0.8})]
    )
    np.testing.assert_allclose(found, omega + rate - none, rtol=1e-5)


def test_each_prepares_the_model_and_says_what_it_is():
    both = defenses.get("reg,sr", seed=3)
    assert both.name == "reg,sr" and both.own_weight_rule and not both.needs_spikes
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    both.prepare(model)
    assert model.layers[0].kernel.constraint is not None
    assert defenses.get("sr,mpd_sgr").needs_spikes


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("sr,dlif", {}, "'sr' and 'dlif' have a loss of their own each"),
        ("stog,rate", {}, "both set `after_neurons`"),
        ("tgo,mpd_sgr", {}, "each in its own way"),
        ("sr,sr", {}, "must name each defence once"),
        ("none,sr", {}, "none of them 'none'"),
        ("sr,armour", {}, "`defense` must be one of 'none'"),
        ("sr,", {}, "`defense` must be one of 'none'"),
        ("sr,rate", {"weight": 1}, "Say sr.weight or rate.weight"),
        ("sr,rate", {"mpd_sgr.eta": 1}, "given for 'mpd_sgr', which is none of"),
        ("sr,rate", {"beta": 1}, "take sr.weight, sr.h, rate.weight. Received: beta"),
        ("sr,reg", {"h": 1, "sr.h": 2}, "`h` of 'sr' is given twice"),
        ("sr", {"sr.beta": 1}, "Defence 'sr' takes weight, h. Received: beta"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(name, arguments, said):
    with pytest.raises(ValueError, match=said) as caught:
        defenses.get(name, **arguments)
    assert "\n" not in str(caught.value)


def test_trades_is_refused_by_the_one_that_has_a_loss_of_its_own():
    both = defenses.get("sr,mpd_sgr")
    with pytest.raises(ValueError, match="Defence 'sr' has a loss of its own"):
        both.objective(AdversarialTraining(loss="trades"))
