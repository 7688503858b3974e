"""The probe's figures against NumPy, from potentials simulated in NumPy."""

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import tensorflow as tf

from keras_mpdsgr import LIFLayer, TDBatchNormalization, analysis, defenses, layers, models
from keras_mpdsgr.attacks.compiled import CompiledFunctions

STEPS, TAU, GAMMA, V_THRESHOLD = 3, 0.8, 0.7, 1.2
# tdBN of three channels: lambda, beta, moving mean, moving variance.
NORM = [[2.0, 1.5, -1.0], [0.4, 1.1, 0.2], [0.1, -0.2, 0.3], [0.5, 2.0, 1.0]]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.uniform(size=(20, 4, 4, 2)).astype(np.float32), rng.integers(3, size=20)


def build(**options):
    """conv - tdBN - LIF - dense - LIF - read-out."""
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 2))
    norm = TDBatchNormalization(v_threshold=V_THRESHOLD, epsilon=1e-3)
    neuron = {"tau": TAU, "gamma": GAMMA, "v_threshold": V_THRESHOLD, **options}
    current = norm(keras.layers.Conv2D(3, 2, name="conv")(image))
    spikes = LIFLayer(name="first", **neuron)(layers.DirectEncoder(STEPS)(current))
    spikes = layers.FoldTime(keras.layers.Flatten())(spikes)
    wide = keras.initializers.RandomNormal(stddev=0.6)
    hidden = keras.layers.Dense(7, kernel_initializer=wide, bias_initializer=wide, name="hidden")
    spikes = LIFLayer(name="second", **neuron)(layers.FoldTime(hidden)(spikes))
    readout = keras.layers.Dense(3, name="readout", bias_initializer=wide)
    model = keras.Model(image, layers.TemporalMean()(layers.FoldTime(readout)(spikes)))
    norm.set_weights([np.float32(values) for values in NORM])
    return model


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def found(model, images):
    return analysis.PotentialProbe(model, *images).layers()


def neurons(currents):
    """Potentials before the decision and spikes, of currents `(batch, time, ...)`; hard reset."""
    membranes, spikes = [], []
    left = np.zeros_like(currents[:, 0])
    for t in range(STEPS):
        membranes.append(TAU * left + currents[:, t])
        spikes.append((membranes[-1] >= V_THRESHOLD).astype(float))
        left = membranes[-1] * (1 - spikes[-1])
    return np.stack(membranes, axis=1), np.stack(spikes, axis=1)


@pytest.fixture(scope="module")
def simulated(model, images):
    """(currents, potentials, spikes) of both layers of neurons, in float64."""
    x = np.float64(images[0])
    kernel, bias = (np.float64(w) for w in model.get_layer("conv").get_weights())
    patches = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(1, 2))
    convolved = np.einsum("bhwcij,ijco->bhwo", patches, kernel) + bias
    lambda_, beta, mean, variance = (np.array(values) for values in NORM)
    normed = lambda_ * V_THRESHOLD * (convolved - mean) / np.sqrt(variance + 1e-3) + beta
    currents = np.stack([normed] * STEPS, axis=1)
    first = (currents, *neurons(currents))
    hidden = next(layer.layer for layer in model.layers if layer.name == "fold_time_1")
    kernel, bias = (np.float64(w) for w in hidden.get_weights())
    currents = first[2].reshape(len(x), STEPS, -1) @ kernel + bias
    return [first, (currents, *neurons(currents))]


def all_but_time(array):
    return tuple(axis for axis in range(array.ndim) if axis != 1)


def gaussian_share(mean, std):
    """Share of N(mean, std) in the window around the threshold."""
    inside = [
        np.diff(scipy.stats.norm(m, s).cdf([V_THRESHOLD - GAMMA, V_THRESHOLD + GAMMA]))[0]
        for m, s in zip(np.ravel(mean), np.ravel(std), strict=True)
    ]
    return np.reshape(inside, np.shape(mean))


@pytest.mark.parametrize("layer", [0, 1])
def test_the_neurons_looked_at_fire_and_are_silent(simulated, layer):
    _, membranes, spikes = simulated[layer]
    assert 0.1 < spikes.mean() < 0.9
    share = np.mean(np.abs(membranes - V_THRESHOLD) <= GAMMA)
    assert 0.1 < share < 0.9
    # So far from the threshold and from the window's edges that no rounding decides.
    nearest = [np.abs(membranes - V_THRESHOLD - edge).min() for edge in (-GAMMA, 0.0, GAMMA)]
    assert min(nearest) > 1e-5


@pytest.mark.parametrize("layer", [0, 1])
def test_omega_is_the_true_share_in_the_window_at_each_time_step(found, simulated, layer):
    _, membranes, _ = simulated[layer]
    inside = np.abs(membranes - V_THRESHOLD) <= GAMMA
    np.testing.assert_allclose(
        found[layer].omega, inside.mean(axis=all_but_time(membranes)), atol=1e-6
    )


@pytest.mark.parametrize("layer", [0, 1])
def test_mean_and_deviation_are_those_of_the_distance_from_the_threshold(found, simulated, layer):
    _, membranes, _ = simulated[layer]
    axes = all_but_time(membranes)
    expected = membranes.mean(axis=axes) - V_THRESHOLD
    np.testing.assert_allclose(found[layer].mean, expected, atol=1e-5)
    np.testing.assert_allclose(found[layer].std, membranes.std(axis=axes), atol=1e-5)


@pytest.mark.parametrize("layer", [0, 1])
def test_the_firing_rate_is_spikes_a_neuron_and_time_step(found, simulated, layer):
    spikes = simulated[layer][2]
    np.testing.assert_allclose(
        found[layer].firing_rate, spikes.mean(axis=all_but_time(spikes)), atol=1e-6
    )


@pytest.mark.parametrize("layer", [0, 1])
def test_omega_batch_is_the_mean_of_each_channels_gaussian_share(found, simulated, layer):
    _, membranes, _ = simulated[layer]
    batch_and_space = tuple(axis for axis in range(membranes.ndim - 1) if axis != 1)
    shares = gaussian_share(
        membranes.mean(axis=batch_and_space), membranes.std(axis=batch_and_space)
    )
    np.testing.assert_allclose(found[layer].omega_batch, shares.mean(axis=-1), atol=1e-5)


def below_threshold(mean, std, power):
    """E[u^power; u < v_th] for u ~ N(mean, std), by quadrature."""
    density = scipy.stats.norm(mean, std).pdf
    return scipy.integrate.quad(
        lambda u: u**power * density(u), mean - 12 * std, V_THRESHOLD, epsabs=1e-12
    )[0]


def analytic_shares(currents, steps):
    """Mean over channels of the share in the window, by the recursion of the moments."""
    axes = tuple(range(currents.ndim - 1))
    by_channel = []
    for mean, std in zip(currents.mean(axis=axes), currents.std(axis=axes), strict=True):
        means, stds = [mean], [std]
        for _ in range(steps - 1):
            kept, squared = (below_threshold(means[-1], stds[-1], power) for power in (1, 2))
            means.append(TAU * kept + mean)
            stds.append(np.sqrt(TAU**2 * (squared - kept**2) + std**2))
        by_channel.append(gaussian_share(means, stds))
    return np.mean(by_channel, axis=0)


def test_omega_analytic_is_the_recursion_from_the_moments_of_the_current(found, simulated):
    currents = simulated[1][0]
    np.testing.assert_allclose(found[1].omega_analytic, analytic_shares(currents, STEPS), atol=1e-5)


@pytest.mark.parametrize("layer", [0, 1])
def test_omega_analytic_begins_with_the_moments_of_the_current_alone(found, simulated, layer):
    currents = simulated[layer][0]
    assert found[layer].omega_analytic.shape == (STEPS,)
    assert found[layer].omega_analytic[0] == pytest.approx(
        analytic_shares(currents, 1)[0], abs=1e-5
    )


def test_lambda_and_beta_are_the_norms_means_and_none_without_a_norm(found):
    first, second = found
    assert (first.name, second.name) == ("first", "second")
    assert first.lambda_ == pytest.approx(np.mean(NORM[0]))
    assert first.beta == pytest.approx(np.mean(NORM[1]))
    assert second.lambda_ is None
    assert second.beta is None


def test_figures_over_time_are_means_and_leave_out_what_there_is_not(found):
    first, second = (layer.over_time() for layer in found)
    assert first["omega"] == pytest.approx(found[0].omega.mean())
    assert first["lambda"] == pytest.approx(np.mean(NORM[0]))
    assert set(first) - set(second) == {"lambda", "beta"}
    assert all(isinstance(value, float) for value in first.values())


def test_each_convolution_of_a_network_is_paired_with_its_own_norm():
    model = models.vgg11((8, 8, 1), 4, timesteps=1, width=0.02)
    norms = [layer for layer in model.layers if isinstance(layer, TDBatchNormalization)]
    for i, norm in enumerate(norms, start=1):
        norm.lambda_.assign(np.full(norm.lambda_.shape, i))
        norm.beta.assign(np.full(norm.beta.shape, -i))
    x = np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype(np.float32)
    found = analysis.PotentialProbe(model, x, np.array([0, 1, 2])).layers()
    names = [*(f"conv{i}_lif" for i in range(1, 9)), "dense1_lif", "dense2_lif"]
    assert [layer.name for layer in found] == names
    assert [layer.lambda_ for layer in found] == [1, 2, 3, 4, 5, 6, 7, 8, None, None]
    assert [layer.beta for layer in found] == [-1, -2, -3, -4, -5, -6, -7, -8, None, None]


def test_the_input_gradients_norm_is_worked_out_by_hand_on_a_linear_model():
    rng = np.random.default_rng(1)
    weights, x, y = rng.normal(size=(6, 3)), rng.uniform(size=(10, 6)), rng.integers(3, size=10)
    dense = keras.layers.Dense(3, use_bias=False)
    model = keras.Sequential([keras.Input((6,)), dense])
    dense.set_weights([np.float32(weights)])
    shares = np.exp(x @ weights)
    shares /= shares.sum(axis=1, keepdims=True)
    gradient = (shares - np.eye(3)[y]) @ weights.T
    probe = analysis.PotentialProbe(model, x, y)
    expected = np.abs(gradient).sum(axis=1).mean()
    assert probe.input_gradient_norm() == pytest.approx(expected, rel=1e-5)
    assert probe.layers() == []


def test_the_input_gradients_norm_is_that_of_the_single_images(model, images):
    norms = []
    for image, label in zip(*images, strict=True):
        with tf.GradientTape() as tape:
            pixels = tf.constant(image[None])
            tape.watch(pixels)
            logits = model(pixels, training=False)
            loss = -tf.nn.log_softmax(logits)[0, label]
        norms.append(np.abs(tape.gradient(loss, pixels)).sum())
    found = analysis.PotentialProbe(model, *images).input_gradient_norm()
    assert found == pytest.approx(np.mean(norms), rel=1e-4)
    assert found > 0


def test_the_probe_sees_the_weights_of_the_moment_and_changes_nothing(model, images):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    probe = analysis.PotentialProbe(copy, *images)
    before, gradient_before = probe.layers(), probe.input_gradient_norm()
    norm = next(layer for layer in copy.layers if isinstance(layer, TDBatchNormalization))
    norm.beta.assign(norm.beta + 0.5)
    weights = copy.get_weights()
    after = probe.layers()
    assert after[0].beta == pytest.approx(before[0].beta + 0.5, abs=1e-6)
    # The first step's potential is the current itself.
    np.testing.assert_allclose(after[0].mean[0], before[0].mean[0] + 0.5, atol=1e-5)
    assert probe.input_gradient_norm() != gradient_before
    for value, held in zip(copy.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(value, held)


def test_the_probe_says_the_same_of_a_regularised_network(found, images):
    regularised = build(eta=0.5, track_omega=True, omega_form="analytic", half_width=0.1)
    again = analysis.PotentialProbe(regularised, *images).layers()
    assert [layer.over_time() for layer in again] == [layer.over_time() for layer in found]


def test_a_probe_after_each_epoch_of_a_training_traces_the_model_once(images):
    x, y = images
    model = build(eta=0.1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    probe = analysis.PotentialProbe(model, x, y)
    traces = []

    def look(*_):
        probe.layers(), probe.input_gradient_norm()
        functions = CompiledFunctions.of(model).values()
        traces.append([function.experimental_get_tracing_count() for function in functions])

    after = keras.callbacks.LambdaCallback(on_epoch_end=look)
    warmup = defenses.EtaWarmup(4)
    model.fit(
        x, y, epochs=4, batch_size=10, validation_data=(x, y), verbose=0, callbacks=[warmup, after]
    )
    found = list(map(id, CompiledFunctions.of(model).values()))
    assert traces[1:] == [[1] * len(found)] * 3
    model.fit(x, y, epochs=1, batch_size=10, validation_data=(x, y), verbose=0, callbacks=[after])
    assert list(map(id, CompiledFunctions.of(model).values())) == found
