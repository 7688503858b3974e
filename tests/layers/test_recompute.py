import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import (
    LIFLayer,
    TDBatchNormalization,
    attacks,
    dynamics,
    keras_internals,
    layers,
    models,
)
from keras_mpdsgr.layers import Recompute

TIMESTEPS = 3


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.uniform(size=(24, 8, 8, 2)).astype("float32"), np.arange(24) % 3


class CountedCalls(keras.layers.Layer):
    """Notes each time that it is traced or run."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = 0

    def call(self, inputs):
        self.calls += 1
        return inputs


def block(channels):
    entry = keras.Input((TIMESTEPS, 8, 8, channels))
    x = layers.FoldTime(keras.layers.Conv2D(4, 3, padding="same", use_bias=False))(entry)
    x = LIFLayer(tau=0.5, eta=0.1, learn_tau="layer")(TDBatchNormalization()(x))
    # Draws at random, so that both passes must draw the same.
    return keras.Model(entry, keras.layers.Dropout(0.3, seed=5)(x))


def network(wrap, **compile_options):
    keras.utils.set_random_seed(1)
    entry = keras.Input((8, 8, 2))
    x = layers.DirectEncoder(TIMESTEPS)(entry)
    for channels in (2, 4):
        inner = block(channels)
        x = (Recompute(inner) if wrap else inner)(x)
    x = layers.FoldTime(keras.layers.Dense(3))(layers.FoldTime(keras.layers.Flatten())(x))
    model = keras.Model(entry, layers.TemporalMean()(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, **compile_options)
    return model


@pytest.fixture(scope="module")
def trained(images):
    pair = []
    for wrap in (False, True):
        model = network(wrap)
        history = model.fit(*images, batch_size=8, epochs=2, shuffle=False, verbose=0).history
        pair.append((model, history))
    return pair


def test_training_is_the_same_to_the_last_bit(trained):
    (kept, kept_history), (recomputed, recomputed_history) = trained
    assert recomputed_history == kept_history
    assert {"loss", "omega", "firing_rate"} <= kept_history.keys()
    for expected, found in zip(kept.get_weights(), recomputed.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_random_numbers_go_on_as_without_it(trained):
    states = [
        [generator.state.numpy().tolist() for generator in keras_internals.seed_generators(model)]
        for model, _ in trained
    ]
    assert states[0] == states[1]
    assert states[0]


def test_an_attack_finds_the_same_images(trained, images):
    (kept, _), (recomputed, _) = trained
    attack = attacks.PGD(eps=0.1, steps=3)
    np.testing.assert_array_equal(attack(recomputed, *images), attack(kept, *images))


def test_potentials_inside_are_captured(trained, images):
    with dynamics.capture_potentials() as captured:
        trained[1][0](images[0], training=False)
    assert [layer.membranes.shape[1] for layer in captured] == [TIMESTEPS, TIMESTEPS]


def test_the_forward_pass_runs_again_in_training_only():
    counted = CountedCalls()
    inner = keras.Sequential([keras.Input((2, 4)), counted, LIFLayer()])
    layer, x = Recompute(inner), tf.ones((1, 2, 4))
    counted.calls = 0
    layer(x, training=False)
    assert counted.calls == 1
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    tape.gradient(y, x)
    assert counted.calls == 3


def test_one_inside_another_gives_the_same_gradient():
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(4)
    x = tf.random.stateless_normal((2, 3, 4), seed=(0, 1))
    gradients = []
    for layer in (dense, Recompute(dense), Recompute(Recompute(dense))):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(tf.square(layer(x, training=True)))
        gradients.append(tape.gradient(y, [x, dense.kernel.value]))
    for gradient in gradients[1:]:
        for found, expected in zip(gradient, gradients[0], strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("builder", [models.vgg11, models.wrn16])
def test_a_network_that_recomputes_is_the_same_network(builder, shallow, tmp_path):
    options = {"timesteps": 2, "width": 0.02, "eta": 0.1}
    x = np.random.default_rng(2).uniform(size=(4, 8, 8, 1)).astype("float32")
    keras.utils.set_random_seed(3)
    kept = builder((8, 8, 1), 3, **options)
    recomputed = builder((8, 8, 1), 3, **options, recompute=True)
    recomputed.set_weights(kept.get_weights())
    results = []
    for model in (kept, recomputed):
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss = tf.reduce_sum(tf.square(logits)) + tf.add_n(model.losses)
        weights = [weight.value for weight in model.trainable_weights]
        results.append([logits, *tape.gradient(loss, weights)])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    recomputed.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), recomputed(x))


def test_what_is_no_layer_is_refused():
    with pytest.raises(ValueError, match="`layer` must be a Keras layer. Received: 3"):
        Recompute(3)


def test_potentials_that_are_kept_are_refused_in_training():
    block = keras.Sequential(
        [keras.Input(batch_shape=(2, 3, 4)), LIFLayer(stateful=True, name="kept")]
    )
    x = tf.ones((2, 3, 4))
    assert Recompute(block)(x).shape == (2, 3, 4)
    with pytest.raises(
        ValueError, match="^Recompute runs its layer twice.*Received: 'kept', a LIF"
    ):
        Recompute(block)(x, training=True)
