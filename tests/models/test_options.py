"""What all networks share: eta over their layers, hooks around neurons, options, codings."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import (
    LIFLayer,
    TDBatchNormalization,
    dynamics,
    evaluation,
    keras_internals,
    layers,
    models,
)
from keras_mpdsgr.attacks.target import Target

# Layers of neurons: convolutions and two hidden layers; two in each of six blocks and a last one.
LAYERS = {"vgg11": 8 + 2, "vgg16": 13 + 2, "wrn16": 6 * 2 + 1}
every_network = pytest.mark.parametrize("name", LAYERS)


def images(shape=(4, 8, 8, 1), seed=0):
    return np.random.default_rng(seed).uniform(0, 1, shape).astype("float32")


def small(name="wrn16", **options):
    return models.get(name)((8, 8, 1), 4, **{"timesteps": 2, "width": 0.03, **options})


def alive(model):
    """Raises tdBN's offsets: before any training hardly a deep neuron fires in inference."""
    for layer in model.layers:
        if isinstance(layer, TDBatchNormalization):
            layer.beta.assign(layer.beta + 0.5)
    return model


@pytest.fixture
def float64():
    # In float32 a rounding error may flip a spike.
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def neurons(model):
    return [layer for layer in model.layers if isinstance(layer, LIFLayer)]


def maker(layer):
    """Name of the layer that a layer takes its input from."""
    return keras_internals.operation_behind(layer.input).name


def test_the_registry_knows_the_networks():
    assert models.names() == sorted(LAYERS)
    assert [models.get(name) for name in LAYERS] == [models.vgg11, models.vgg16, models.wrn16]


# Neurons ------------------------------------------------------------------------------------------


@every_network
def test_each_layer_of_neurons_gets_its_part_of_eta(name):
    found = neurons(small(name, eta=0.6))
    assert len(found) == LAYERS[name]
    assert [layer.eta for layer in found] == pytest.approx(LAYERS[name] * [0.6 / LAYERS[name]])


@every_network
def test_options_reach_all_neurons(name):
    model = small(name, tau=0.7, reset="soft", half_width=0.4, detach_reset=True, v_threshold=0.5)
    for layer in neurons(model):
        assert (layer.tau, layer.reset, layer.half_width) == (0.7, "soft", 0.4)
        assert layer.detach_reset and layer.track_omega and layer.v_threshold == 0.5
    norms = [layer for layer in model.layers if isinstance(layer, TDBatchNormalization)]
    assert norms and {layer.v_threshold for layer in norms} == {0.5}


@pytest.mark.parametrize("name", ["leak", "self", "kwargs", "layers", "plan"])
def test_an_unknown_option_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match=f"`neuron_options`.*half_width.*Received: {name}\\.$"):
        small(**{name: 1})


# Hooks --------------------------------------------------------------------------------------------


@every_network
def test_layers_are_put_around_each_layer_of_neurons(name):
    asked = []

    def before(neuron):
        asked.append(neuron)
        return keras.layers.Rescaling(2.0, name=f"{neuron}_gain")

    model = small(
        name,
        before_neurons=before,
        after_neurons=lambda neuron: keras.layers.Rescaling(0.5, name=f"{neuron}_gate"),
    )
    found = neurons(model)
    assert asked == [layer.name for layer in found] and len(set(asked)) == LAYERS[name]
    for layer in found:
        assert maker(layer) == f"{layer.name}_gain"
        assert maker(model.get_layer(f"{layer.name}_gate")) == layer.name
        assert model.get_layer(f"{layer.name}_gain").output.shape[1] == 2  # has a time axis


@every_network
def test_a_layer_behind_the_neurons_changes_what_follows(name):
    model = small(
        name, after_neurons=lambda neuron: keras.layers.Rescaling(0.0, name=f"{neuron}_off")
    )
    bias = np.float32([1.0, 2.0, 3.0, 4.0])
    model.get_layer("readout_time").layer.bias.assign(bias)
    np.testing.assert_allclose(model(images()), np.tile(bias, (4, 1)), rtol=1e-6)


@pytest.mark.parametrize("argument", ["before_neurons", "after_neurons"])
@pytest.mark.parametrize("hook", ["gate", lambda name: None])
def test_a_hook_that_gives_no_layer_is_refused(argument, hook):
    with pytest.raises(ValueError, match=f"`{argument}` must .*Keras layer.*Received"):
        small(**{argument: hook})


# Codings ------------------------------------------------------------------------------------------


@every_network
def test_a_coding_that_changes_nothing_is_direct_coding(name, float64):
    direct, x = alive(small(name)), np.round(images())
    expected = direct(x).numpy()
    assert np.ptp(expected, axis=0).max() > 0.05
    for coding, options in [
        ("poisson", {}),  # of black and white pixels
        ("smoothing", {"std": 0.0}),
        ("frequency", {"half_widths": (8, 8)}),
    ]:
        coded = small(name, coding=coding, coding_options=options)
        coded.set_weights(direct.get_weights())
        np.testing.assert_allclose(coded(x), expected, rtol=1e-5, atol=1e-6)


@every_network
@pytest.mark.parametrize("coding", ["poisson", "smoothing", "frequency"])
def test_pixels_are_coded_first_and_then_normalised(name, coding):
    model = small(name, coding=coding)
    assert maker(model.get_layer("encoder")) == "image"
    assert maker(model.get_layer("pixels")) == "encoder"
    assert model.get_layer("pixels").output.shape == (None, 2, 8, 8, 1)


@pytest.fixture(scope="module")
def poisson():
    return alive(small(coding="poisson", coding_options={"seed": 3}, width=0.05))


def test_the_options_of_a_coding_reach_its_encoder(poisson):
    assert poisson.get_layer("encoder").seed == 3
    smoothing = small(coding="smoothing", coding_options={"std": 0.5, "seed": 1})
    assert smoothing.get_layer("encoder").std == 0.5


def test_a_random_coding_draws_by_an_attacks_seed(poisson):
    target, x = Target(poisson), tf.constant(images())
    coded = keras.Model(poisson.input, poisson.get_layer("encoder").output)
    draws = []
    for seed in (0, 0, 1):
        with target.seeded(seed, 0):
            draws.append(coded(x).numpy())
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    assert (coded(x).numpy() != coded(x).numpy()).any()


def test_an_attack_averages_the_gradient_over_draws_that_differ():
    # The image enters alike at each draw, so the mean's spread falls as 1/sqrt(draws).
    image = keras.Input((6,))
    coded = layers.PoissonEncoder(1, seed=0)(image)[:, 0]
    model = keras.Model(image, keras.layers.Dense(2)(coded**2))
    x, y = tf.fill((2000, 6), 0.5), tf.zeros(2000, "int32")

    def spread(eot):
        target = Target(model, eot=eot)
        gradient = target.input_gradient(x, y, lambda logits, labels: logits[:, 0])[0]
        return np.std(gradient, axis=0).mean()

    assert spread(8) == pytest.approx(spread(1) / np.sqrt(8), rel=0.1)


@pytest.mark.parametrize("encoder, eot", [("PoissonEncoder", 10), ("DirectEncoder", 1)])
def test_evaluation_notices_that_a_coding_is_random(encoder, eot):
    image = keras.Input((8, 8, 1))
    coded = layers.FoldTime(keras.layers.Flatten())(getattr(layers, encoder)(3)(image))
    spikes = LIFLayer()(layers.FoldTime(keras.layers.Dense(16))(coded))
    logits = layers.TemporalMean()(layers.FoldTime(keras.layers.Dense(4))(spikes))
    model = keras.Model(image, logits)
    report = evaluation.evaluate(model, images(), np.arange(4), attacks=["fgsm"], eps=1 / 255)
    assert report.config["eot"] == eot


@pytest.mark.parametrize("coding", ["poisson", "smoothing", "frequency"])
def test_a_coded_model_has_gradients_and_loads_as_itself(coding, tmp_path):
    model, x = alive(small(coding=coding, eta=0.1, width=0.05)), tf.constant(images())
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(model(x, training=True) ** 2)
    gradient = tape.gradient(loss, x).numpy()
    assert np.isfinite(gradient).all() and np.any(gradient != 0)
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras")
    one, other = Target(model), Target(loaded)
    with one.seeded(0, 0), other.seeded(0, 0):
        np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"coding": "morse"}, "`coding` must be one of.*'frequency'.*'morse'"),
        ({"coding_options": {"std": 1}}, "`coding_options`.*DirectEncoder.*Received: std"),
        ({"coding": "poisson", "coding_options": {"std": 1}}, "PoissonEncoder: seed.*std"),
        ({"coding": "smoothing", "coding_options": {"timesteps": 2}}, "std.*Received: timesteps"),
        ({"coding": "smoothing", "coding_options": {"std": -1}}, "`std`.*-1"),
        ({"coding": "frequency", "coding_options": {"half_widths": (1,)}}, "`half_widths`.*2"),
    ],
    ids=str,
)
def test_a_coding_that_cannot_be_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        small(**arguments)


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, True),
        ({"coding": "poisson"}, False),
        ({"before_neurons": lambda name: layers.TemporalGain(name=f"{name}_gain")}, False),
    ],
    ids=["direct", "poisson", "gains"],
)
def test_only_the_first_neurons_behind_direct_coding_have_a_constant_current(options, expected):
    model = models.vgg11((8, 8, 1), 3, timesteps=2, width=0.02, **options)
    found = neurons(model)
    assert [layer.constant_input for layer in found] == [expected] + [False] * 9
    # What the flag says is so: the potentials of equal steps tell.
    with dynamics.capture_potentials() as captured:
        model(np.random.default_rng(0).random((2, 8, 8, 1), "float32"))
    for layer, seen in zip(found, captured, strict=True):
        if layer.constant_input:
            np.testing.assert_array_equal(seen.currents[:, 0], seen.currents[:, 1])
