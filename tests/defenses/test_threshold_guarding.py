"""TGO: the penalty by hand, its gradient through the neurons, its rise, the noise in training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, defenses, dynamics, layers, models
from keras_mpdsgr.defenses import CosineRise, ThresholdGuarding

RNG = np.random.default_rng(0)
X, Y = RNG.uniform(size=(8, 4)).astype("float32"), np.arange(8) % 2


def test_c_is_the_mean_of_what_a_potential_lacks_of_the_margin():
    # u = 0.4, 0.8, 1.2 and, after the reset, nothing; the other neuron's are 0.2, 0.4, 0.6.
    regularizer = layers.ThresholdMargin(margin=0.5, weight=3.0)
    neurons = LIFLayer(membrane_regularizer=regularizer, dtype="float64")
    neurons(tf.constant([[[0.4, 0.2]] * 3], tf.float64), training=True)
    lacking = [0.0, 0.3, 0.3, 0.0, 0.0, 0.1]
    assert float(sum(neurons.losses)) == pytest.approx(3.0 * np.mean(lacking), rel=1e-12)
    neurons(tf.constant([[[0.4, 0.2]] * 3], tf.float64), training=False)
    assert neurons.losses == []


def test_its_gradient_is_that_of_unrolled_neurons_to_the_current():
    # Soft reset kept out of the gradient, so that u is linear in the currents: finite differences.
    regularizer = layers.ThresholdMargin(margin=0.7, weight=1.0)
    neurons = LIFLayer(
        tau=0.8, reset="soft", detach_reset=True, dtype="float64", membrane_regularizer=regularizer
    )
    currents = RNG.normal(0.6, 0.5, (3, 4, 5))

    def loss(currents):
        neurons(currents, training=True)
        return tf.add_n(neurons.losses)

    with tf.GradientTape() as tape:
        x = tf.constant(currents)
        tape.watch(x)
        value = loss(x)
    gradient = tape.gradient(value, x).numpy()
    assert np.count_nonzero(gradient) > 20
    for place in [(0, 0, 0), (1, 2, 3), (2, 3, 4), (0, 3, 1), (2, 0, 2)]:
        moved = np.zeros_like(currents)
        moved[place] = 1e-6
        slope = float(loss(currents + moved) - loss(currents - moved)) / 2e-6
        assert gradient[place] == pytest.approx(slope, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("form", ["batch", "sample"])
def test_fused_neurons_and_whole_steps_under_xla_have_the_same_gradient(fused, form):
    currents = tf.constant(RNG.normal(0.6, 0.5, (2, 2, 65, 64)), tf.float32)
    neurons = LIFLayer(
        membrane_regularizer=layers.ThresholdMargin(0.5, 1.0), eta=0.5, omega_form=form
    )

    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            neurons(x, training=True)
            loss = tf.add_n(neurons.losses)
        return loss, tape.gradient(loss, x)

    compiled = tf.function(both, jit_compile=not fused)  # without it the neurons alone are compiled
    for one, other in zip(both(currents), compiled(currents), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-9)


def network(defense, timesteps=2):
    """Two layers of neurons; with the learning rate 0, every epoch sees the same weights."""
    options = defense.model_options(timesteps)
    noise = options.pop("before_neurons", lambda name: keras.layers.Identity())
    image = keras.Input((4,))
    x = layers.DirectEncoder(timesteps)(keras.layers.Dense(6)(image))
    x = LIFLayer(name="one", **options)(noise("one")(x))
    x = layers.FoldTime(keras.layers.Dense(5))(x)
    x = LIFLayer(name="two", **options)(noise("two")(x))
    model = keras.Model(image, keras.layers.Dense(2)(layers.TemporalMean()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss)
    return model


def test_the_loss_holds_lambda_times_the_sum_over_layers_and_lambda_rises():
    defense = ThresholdGuarding(weight=0.5, noise=0.0, initial=0.1)
    model = network(defense)
    with dynamics.capture_potentials() as captured:
        model(X)
    total = sum(np.mean(np.maximum(0, 1 - np.abs(c.membranes - 1.0))) for c in captured)
    assert total > 0.1 and len(captured) == 2
    plain = model.evaluate(X, Y, verbose=0)
    history = model.fit(
        X, Y, batch_size=8, epochs=3, verbose=0, callbacks=defense.callbacks(total_steps=2)
    ).history
    expected = plain + np.array([0.1, 0.3, 0.5]) * total
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)


def test_lambda_rises_along_half_a_cosine_to_the_end_of_the_training():
    (rise,) = ThresholdGuarding(weight=0.4, initial=0.1).callbacks(total_steps=100, warmup_steps=7)
    assert isinstance(rise, CosineRise)
    steps = np.arange(0, 101, 10)
    expected = 0.1 + 0.3 * (1 - np.cos(np.pi * steps / 100)) / 2
    np.testing.assert_allclose([0.4 * rise.factor(k) for k in steps], expected)
    assert rise.factor(500) == 1.0


def test_the_noise_is_in_training_alone_and_of_its_deviation():
    model = network(ThresholdGuarding(noise=0.3))
    np.testing.assert_array_equal(model(X), model(X))
    noise = model.get_layer("one_noise")
    currents = tf.zeros((5000, 2, 6))
    drawn = noise(currents, training=True).numpy()
    assert drawn.std() == pytest.approx(0.3, rel=0.05) and abs(drawn.mean()) < 0.02
    assert np.abs(np.corrcoef(drawn[:, 0].ravel(), drawn[:, 1].ravel())[0, 1]) < 0.05
    assert "one_noise" not in [x.name for x in network(ThresholdGuarding(noise=0)).layers]


def test_a_saved_network_keeps_the_penalty(tmp_path):
    network(ThresholdGuarding(weight=0.3, delta=0.5)).save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras").get_layer("one")
    assert loaded.membrane_regularizer.get_config() == {"margin": 0.5, "weight": 0.3}


def test_in_bfloat16_it_is_counted_in_single_precision():
    currents = tf.cast(tf.fill((4, 1, 200, 200), 0.75), tf.bfloat16)
    neurons = LIFLayer(
        membrane_regularizer=layers.ThresholdMargin(1.0, 1.0), dtype="mixed_bfloat16"
    )
    neurons(currents, training=True)
    assert float(sum(neurons.losses)) == pytest.approx(0.75, rel=1e-6)


@pytest.mark.parametrize(
    "given", [{"delta": 0}, {"weight": -1}, {"noise": 2}, {"weight": 0.2, "initial": 0.3}]
)
def test_what_is_out_of_range_is_refused(given):
    with pytest.raises(ValueError, match="must be a (positive )?number"):
        defenses.get("tgo", **given)


def test_a_regularizer_that_is_none_is_refused():
    with pytest.raises(ValueError, match="`membrane_regularizer` must be None or a Keras reg"):
        LIFLayer(membrane_regularizer="margin")
