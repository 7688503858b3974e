"""Neurons compiled by XLA on their own give what the plain operations give."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, attacks, dynamics, surrogates
from keras_mpdsgr.dynamics import fusion
from keras_mpdsgr.layers import DirectEncoder

SHAPE = (3, 4, 4, 2, 3)
# Leaks whose products are exact, so that no potential can round across the threshold.
LEAK = 0.5


@pytest.fixture(autouse=True)
def every_layer_is_worth_it(monkeypatch):
    monkeypatch.setattr(fusion, "_WORTH_COMPILING", 0)


def currents(dtype="float32", shape=SHAPE):
    # Eighths: sums and halves of them are exact.
    values = np.random.default_rng(0).integers(-8, 16, size=shape) / 8
    return tf.constant(values, dtype)


def compiled_parts(function, *arguments):
    """Names of the functions in a graph that XLA compiles."""
    library = function.get_concrete_function(*arguments).graph.as_graph_def().library
    return [f.signature.name for f in library.function if f.attr["_XlaMustCompile"].b]


def outputs_and_gradients(x, fuse, mode="bptt", learned=False, **options):
    leak = tf.constant([0.5, 0.25, 0.5, 1.0], x.dtype) if learned else tf.constant(LEAK, x.dtype)
    gamma = tf.constant(0.75, x.dtype)
    weight = tf.reshape(tf.linspace(-1.0, 1.0, tf.size(x)), x.shape)

    @tf.function(autograph=False)
    def run(x):
        with dynamics.gradient_mode(mode), dynamics.fused_neurons(fuse), tf.GradientTape() as tape:
            tape.watch([x, leak, gamma])
            window = dynamics.lif(
                x,
                surrogates.get("triangle"),
                tau=leak if learned else LEAK,
                gamma=gamma if learned else None,
                **options,
            )
            loss = tf.reduce_sum(tf.cast(window.spikes, tf.float32) * weight)
            if window.mean is not None:
                loss += tf.reduce_sum(window.mean**2) + tf.reduce_sum(window.variance)
        gradients = tape.gradient(loss, [x, leak, gamma], unconnected_gradients="zero")
        moments = () if window.mean is None else (window.mean, window.variance)
        return (window.spikes, window.residual, *moments, *gradients)

    assert bool(compiled_parts(run, x)) == fuse
    return [tf.cast(result, tf.float64).numpy() for result in run(x)]


@pytest.mark.parametrize(
    "options",
    [
        {"moments": "membrane"},
        {"moments": "current", "neuron": dynamics.Neuron(reset="soft")},
        {"learned": True, "neuron": dynamics.Neuron(detach_reset=True)},
        {"moments": "membrane", "learned": True},
        {"mode": "bptr"},
        {"mode": "assg"},
        {"mode": "pdsg"},
        {"initial": True},
    ],
    ids=str,
)
def test_spikes_moments_and_gradients_are_those_of_the_plain_operations(options):
    x = currents()
    if options.get("initial"):
        options = {"initial": x[:, 0] / 2}
    plain, fused = (outputs_and_gradients(x, fuse, **options) for fuse in (False, True))
    np.testing.assert_array_equal(fused[0], plain[0])
    assert 0 < fused[0].mean() < 1
    for ours, theirs in zip(fused[1:], plain[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions_are_compiled_too(dtype):
    x = currents(dtype)
    plain, fused = (outputs_and_gradients(x, fuse) for fuse in (False, True))
    np.testing.assert_array_equal(fused[0], plain[0])
    np.testing.assert_allclose(fused[2], plain[2], rtol=1e-3)


def network(**options):
    image = keras.Input(SHAPE[1:])
    x = LIFLayer(LEAK, name="first", **options)(image)
    return keras.Model(image, LIFLayer(LEAK, name="second", **options)(x))


def test_layers_of_equal_settings_share_what_is_compiled():
    model = network()

    @tf.function(autograph=False)
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(model(x, training=True))
        return tape.gradient(loss, x)

    parts = compiled_parts(gradient, currents())
    assert len([name for name in parts if "forward" in name]) == 1
    assert len([name for name in parts if "backward" in name]) == 1


def test_attacks_on_one_model_share_what_is_compiled():
    model = keras.Sequential([network(), keras.layers.Flatten(), keras.layers.Dense(4)])
    x, y = np.abs(currents().numpy()) / 2, np.zeros(SHAPE[0], int)
    attacks.HillClimbing(attacks.SAPGD(eps=0.1, steps=2), queries=2)(model, x, y)
    kept = neurons_of(model)
    assert kept == ["backward", "forward", "forward_spikes", "sharpness"]
    attacks.APGD(eps=0.1, steps=2, gradient="assg")(model, x, y)
    # Other backward passes are not shared: they may hold tensors of one trace, as a surrogate does.
    attacks.FGSM(eps=0.1, surrogate=surrogates.Sigmoid(2.0))(model, x, y)
    assert neurons_of(model) == kept


def neurons_of(model):
    """Names of what is kept for all attacks on a model."""
    return sorted(method.__name__ for (_, method), _ in model._keras_mpdsgr_compiled.neurons)


@pytest.mark.parametrize("tau", [0.7, 1.0])
def test_where_no_gradient_is_taken_the_spikes_have_the_same_bits(tau):
    x = tf.constant(np.random.default_rng(2).normal(0.4, 0.8, (50, 5, 6, 6, 3)), tf.float32)

    neurons = LIFLayer(tau)

    def spikes(x):
        with dynamics.fused_neurons():
            return neurons(x)

    def with_gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            found = spikes(x)
        return found, tape.gradient(found, x)

    alone = tf.function(spikes, autograph=False)
    assert any("forward_spikes" in name for name in compiled_parts(alone, x))
    expected, gradient = tf.function(with_gradient, autograph=False)(x)
    np.testing.assert_array_equal(alone(x), expected)
    assert 0.1 < np.mean(expected) < 0.9
    # A tape outside of the function has its gradient all the same.
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = alone(x)
    np.testing.assert_allclose(tape.gradient(found, x), gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["bptt", "assg"])
def test_neurons_that_read_one_current_for_its_copies_have_the_same_bits(mode):
    x = tf.constant(np.random.default_rng(2).normal(0.4, 0.8, (50, 6, 6, 3)), tf.float32)
    neurons, encoder = LIFLayer(0.7), DirectEncoder(5)

    def run(coded):
        @tf.function(autograph=False)
        def found(x):
            with dynamics.fused_neurons(), dynamics.gradient_mode(mode):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    spikes = neurons(coded(x))
                return spikes, tape.gradient(spikes, x), neurons(coded(x))

        functions = found.get_concrete_function(x).graph.as_graph_def().library.function
        taken = {first_shape(f) for f in functions if "forward" in f.signature.name}
        return taken, [result.numpy() for result in found(x)]

    one, ours = run(encoder)
    # Another tensor of the same values: no longer known to be copies.
    copies, theirs = run(lambda x: tf.identity(encoder(x)))
    assert one == {(6, 6, 3)} and copies == {(5, 6, 6, 3)}
    for alone, among_copies in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(alone, among_copies)
    assert 0.1 < ours[0].mean() < 0.9 and np.std(ours[1]) > 0


def first_shape(function):
    """The shape of a sample of a function's first argument."""
    shape = function.arg_attr[0].attr["_output_shapes"].list.shape[0]
    return tuple(tf.TensorShape(shape))[1:]


def assg_in_numpy(potentials, steps):
    """ASSG's means and sharpness, operation by operation in float32."""
    single = np.float32
    constant = single(2 * np.tan(0.425 * np.pi) / np.pi)
    mean, deviation = np.ones_like(potentials[0]), np.zeros_like(potentials[0])
    for membranes in potentials[:steps]:
        distance = np.abs(membranes - single(1))
        mean = single(0.9) * mean + single(1 - 0.9) * distance
        deviation = single(0.9) * deviation + single(1 - 0.9) * np.abs(distance - mean)
    spread = mean + (single(1.5) * deviation + single(1e-4))
    return mean, deviation, constant / spread


def test_the_means_of_assg_have_the_bits_of_single_operations():
    # A product and a sum that are rounded once would send an attack another way.
    potentials = np.random.default_rng(3).normal(size=(3, 20, 4, 8, 8, 2)).astype(np.float32)

    @tf.function(autograph=False)
    def adapted(membranes, state):
        mode = dynamics.ASSG()
        mode.begin(state)
        with dynamics.fused_neurons():
            window = dynamics.Window(
                dynamics.Neuron(), None, [1.0] * 4, tf.unstack(membranes, axis=1)
            )
            return tf.stack(mode.prepare(window, "lif"), axis=1), mode.state()

    assert compiled_parts(adapted, potentials[0], ())
    state = ()
    for step in range(3):
        sharpness, state = adapted(potentials[step], state)
        found = *state[0], sharpness
        for ours, theirs in zip(found, assg_in_numpy(potentials, step + 1), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_in_training_neurons_are_compiled_and_in_inference_only_where_a_scope_asks():
    model = network()

    def parts(training, **scope):
        @tf.function(autograph=False)
        def run(x):
            if not scope:
                return model(x, training=training)
            with dynamics.fused_neurons(**scope):
                return model(x, training=training)

        return bool(compiled_parts(run, currents()))

    assert parts(True)
    assert not parts(False)
    assert parts(False, fuse=True)
    assert not parts(True, fuse=False)


def test_what_is_exported_holds_no_compiled_part(tmp_path):
    network().export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    assert not compiled_parts(loaded.serve, currents())


def test_a_window_that_is_not_worth_it_and_an_eager_call_stay_plain(monkeypatch):
    neurons, x = LIFLayer(LEAK), currents()
    assert compiled_parts(tf.function(lambda x: neurons(x, training=True)), x)
    monkeypatch.setattr(fusion, "_WORTH_COMPILING", x[0].shape.num_elements() + 1)
    assert not compiled_parts(tf.function(lambda x: neurons(x, training=True)), x)
    monkeypatch.setattr(fusion, "_WORTH_COMPILING", 0)
    monkeypatch.setattr(tf, "function", None)
    assert neurons(x, training=True).shape == x.shape


def test_under_a_strategy_neurons_stay_plain():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        neurons = LIFLayer(LEAK)
        assert not compiled_parts(tf.function(lambda x: neurons(x, training=True)), currents())


@pytest.mark.parametrize("jit, compiled", [("auto", True), ("off", False)])
def test_an_attack_compiles_the_neurons_unless_told_not_to(jit, compiled, monkeypatch):
    made = []
    function = tf.function

    def noting(*arguments, **options):
        made.append(options.get("jit_compile"))
        return function(*arguments, **options)

    model = keras.Sequential(
        [network(), keras.layers.Flatten(), keras.layers.Dense(4, kernel_initializer="ones")]
    )
    x = np.abs(currents().numpy()) / 2
    model(x)
    monkeypatch.setattr(tf, "function", noting)
    attack = attacks.FGSM(eps=0.1, jit=jit)
    result = attack(model, x, np.zeros(len(x), "int64"))
    assert (True in made) == compiled
    assert np.abs(result - x).max() <= 0.1 + 1e-6


def test_a_choice_that_is_no_flag_is_refused():
    with pytest.raises(ValueError, match="`fuse` must be True or False.*Received: .*'yes'"):
        with dynamics.fused_neurons("yes"):
            pass
