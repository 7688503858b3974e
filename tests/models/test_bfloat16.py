"""What stays in float32 in a network that computes in bfloat16, and how exact it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_mpdsgr import dynamics, keras_internals, models
from keras_mpdsgr.layers import TDBatchNormalization
from keras_mpdsgr.layers.tracking import TrainingMean
from keras_mpdsgr.models.policies import policy_scope

STEPS, TAU, ETA = 2, 0.5, 0.3
# The largest error of rounding to 8 significant bits, relative to the number.
ROUNDED = 2.0**-8
X = np.random.default_rng(0).uniform(size=(16, 16, 16, 3)).astype("float32")
Y = np.arange(16) % 4


@pytest.fixture(scope="module")
def network():
    """VGG11 of tiny width after some steps of training, all in eager operations."""
    with policy_scope("mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        model = models.vgg11((16, 16, 3), 4, timesteps=STEPS, width=0.03, tau=TAU, eta=ETA)
    model.compile(
        keras.optimizers.SGD(0.02, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(X, Y, batch_size=8, epochs=3, verbose=0)
    return model


@pytest.fixture(scope="module")
def stages(network):
    """Outputs of all layers by name, in inference mode."""
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    outputs = keras.Model(network.input, [layer.output for layer in layers])(X, training=False)
    return dict(zip([layer.name for layer in layers], outputs, strict=True))


def exact(tensor):
    return tf.cast(tensor, tf.float64).numpy()


def rounded(tensor):
    """What a layer in bfloat16 reads, as numbers of 64 bits."""
    return tf.cast(tf.cast(tensor, tf.bfloat16), tf.float64)


def test_weights_statistics_slots_and_sums_are_float32(network):
    kept = [*network.weights, *network.optimizer.variables]
    kept = [w for w in kept if "seed" not in w.path and "iteration" not in w.path]
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in kept} == {"float32"}
    sums = [
        metric
        for layer in keras_internals.all_layers(network)
        for metric in layer.metrics
        if isinstance(metric, TrainingMean)
    ]
    assert len(sums) >= 20  # Omega and the firing rate of 10 layers
    assert {metric.total.dtype for metric in sums} == {"float32"}


def test_pixels_and_logits_are_float32_and_what_lies_between_is_not(stages):
    types = {name: output.dtype for name, output in stages.items()}
    assert types.pop("pixels") == types.pop("logits") == tf.float32
    assert set(types.values()) == {tf.bfloat16}


def test_a_convolution_adds_up_exact_products_and_rounds_their_sum(network, stages):
    for name, before in (("conv1", "pixels"), ("conv5_time", "conv4_lif")):
        layer = network.get_layer(name)
        kernel = rounded(getattr(layer, "layer", layer).kernel)
        inputs = rounded(stages[before])
        folded = tf.reshape(inputs, (-1, *inputs.shape[-3:]))
        expected = tf.nn.conv2d(folded, kernel, 1, "SAME").numpy()
        found = exact(stages[name]).reshape(expected.shape)
        # The sum is of float32, and of at most 135 terms.
        np.testing.assert_allclose(found, expected, rtol=ROUNDED * 1.01, atol=1e-5)


def test_inferences_normalization_is_of_float32_and_rounds_once(network, stages):
    layer = network.get_layer("conv5_tdbn")
    lambda_, beta, mean, variance = map(exact, layer.weights)
    scale = lambda_ * layer.alpha * layer.v_threshold
    expected = scale * (exact(stages["conv5_time"]) - mean) / np.sqrt(variance + layer.epsilon)
    np.testing.assert_allclose(
        exact(stages["conv5_tdbn"]), expected + beta, rtol=ROUNDED * 1.01, atol=1e-6
    )


def test_membranes_follow_the_rounded_currents_in_float32(network, stages):
    with dynamics.capture_potentials() as captured:
        network(X, training=False)
    layer = captured[4]
    assert layer.membranes.dtype == tf.float32
    currents, membranes = exact(stages["conv5_tdbn"]), exact(layer.membranes)
    carried = 0.0
    for step in range(STEPS):
        potential = TAU * carried + currents[:, step]
        np.testing.assert_allclose(membranes[:, step], potential, rtol=1e-6, atol=1e-7)
        spikes = exact(stages["conv5_lif"])[:, step]
        np.testing.assert_array_equal(spikes, membranes[:, step] >= 1.0)
        carried = potential * (1.0 - spikes)


def test_logits_are_the_mean_of_the_read_outs_steps_in_float32(stages):
    expected = exact(stages["readout_time"]).mean(axis=1)
    np.testing.assert_allclose(exact(stages["logits"]), expected, rtol=1e-6, atol=1e-7)


def test_omega_and_its_moments_are_float32s(network):
    with dynamics.capture_potentials() as captured:
        network(X, training=True)
    losses = [loss for loss in network.losses if loss.shape == ()]
    assert {loss.dtype for loss in losses} == {tf.float32}
    by_layer = []
    for layer in captured:
        distance = exact(layer.membranes) - 1.0
        axes = (0, *range(2, distance.ndim - 1))
        normal = stats.norm(distance.mean(axes), distance.std(axes))
        by_layer.append(np.mean(normal.cdf(1.0) - normal.cdf(-1.0)))
    assert float(tf.add_n(losses)) == pytest.approx(ETA * np.mean(by_layer), rel=1e-5)


@pytest.mark.parametrize("shape", [(64, 1, 8, 8, 3), (512, 3)])
def test_normalizations_statistics_are_sums_of_float32(shape):
    layer = TDBatchNormalization(dtype="mixed_bfloat16", momentum=0.5)
    x = tf.cast(100 + tf.random.stateless_normal(shape, (0, 1)), tf.bfloat16)
    outputs = layer(x, training=True)
    assert outputs.dtype == tf.bfloat16
    values = exact(x).reshape(-1, 3)
    # In bfloat16 numbers of about 100 are .5 apart.
    np.testing.assert_allclose(exact(layer.moving_mean), values.mean(0) / 2, rtol=1e-6)
    np.testing.assert_allclose(exact(layer.moving_variance), 0.5 + values.var(0) / 2, rtol=1e-4)


def test_the_loss_is_that_of_the_logits_in_float32(network, stages):
    logits = exact(stages["logits"])
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(Y)), Y]
    shown = network.evaluate(X, Y, batch_size=16, verbose=0, return_dict=True)["loss"]
    # Compiled, a spike at the threshold may be another one.
    assert shown == pytest.approx(expected.mean(), rel=1e-3)
