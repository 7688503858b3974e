"""StochasticGate: Bernoulli gates on spikes and their learnable probabilities."""

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import tensorflow as tf

from keras_mpdsgr import keras_internals, layers, models

NEURONS = (4, 2)
P = np.linspace(0.15, 0.95, 8).reshape(NEURONS).astype("float32")


def built(p=P, **options):
    gate = layers.StochasticGate(**{"seed": 3, **options})
    gate.build((None, 5, *NEURONS))
    gate.probability.assign(p)
    return gate


def ones(batch=6, timesteps=5):
    return np.ones((batch, timesteps, *NEURONS), "float32")


def relaxed(p, u, temperature):
    """The binary Concrete variable at the uniform draw u (Maddison et al., 2017), in float64."""
    logit = scipy.special.logit
    return scipy.special.expit((logit(p) - logit(u)) / temperature)


# Gates --------------------------------------------------------------------------------------------


def test_at_the_start_all_gates_are_open():
    gate = layers.StochasticGate(seed=0)
    np.testing.assert_array_equal(gate(ones(50), training=True), ones(50))
    np.testing.assert_array_equal(gate.probability, np.ones(NEURONS))


def test_in_inference_spikes_pass_unchanged():
    spikes = (np.random.default_rng(0).random((6, 5, *NEURONS)) < 0.5).astype("float32")
    np.testing.assert_array_equal(built()(spikes), spikes)
    np.testing.assert_array_equal(built()(spikes, training=False), spikes)


def test_in_training_a_neurons_spikes_pass_with_its_probability():
    gates = built()(ones(400, 20), training=True).numpy()
    assert set(np.unique(gates)) == {0.0, 1.0}
    # 8000 draws a neuron: 5 standard deviations.
    np.testing.assert_allclose(gates.mean((0, 1)), P, atol=5 * 0.5 / np.sqrt(8000))


def test_gates_are_drawn_for_each_sample_and_each_time_step():
    gates = built(np.full(NEURONS, 0.5))(ones(200, 5), training=True).numpy()
    for axis in (0, 1):
        neighbours = gates.take(range(1, gates.shape[axis]), axis) == gates.take(
            range(gates.shape[axis] - 1), axis
        )
        assert neighbours.mean() == pytest.approx(0.5, abs=0.05)


def test_where_there_was_no_spike_there_is_none_behind_the_gate():
    spikes = (np.random.default_rng(0).random((6, 5, *NEURONS)) < 0.5).astype("float32")
    assert np.all(built()(spikes, training=True).numpy() <= spikes)


def test_a_seed_gives_the_same_gates_and_each_call_others():
    one, other = built(seed=7), built(seed=7)
    first, second = (one(ones(), training=True).numpy() for _ in range(2))
    np.testing.assert_array_equal(other(ones(), training=True), first)
    assert np.any(first != second)
    assert keras_internals.seed_generators(one) == [one.seed_generator]


# The gradient -------------------------------------------------------------------------------------


def gradients(gate, upstream):
    spikes = tf.ones(upstream.shape)
    with tf.GradientTape() as tape:
        tape.watch(spikes)
        loss = tf.reduce_sum(gate(spikes, training=True) * upstream)
    return tape.gradient(loss, [gate.probability.value, spikes])


@pytest.mark.parametrize("temperature", [0.5, 1.5])
def test_the_gradient_is_the_slope_of_the_relaxed_gates_at_the_same_draws(temperature):
    gate = built(temperature=temperature)
    upstream = np.random.default_rng(1).normal(size=(6, 5, *NEURONS)).astype("float32")
    seed = gate.seed_generator.state.numpy()
    u = keras.random.uniform(upstream.shape, seed=_generator_in_state(seed)).numpy().astype(float)
    p, step = P.astype(float), 1e-6
    slope = relaxed(p + step, u, temperature) - relaxed(p - step, u, temperature)
    expected = (upstream * slope / (2 * step)).sum((0, 1))
    probability, spikes = gradients(gate, upstream)
    np.testing.assert_allclose(probability, expected, rtol=1e-3)
    np.testing.assert_array_equal(spikes, np.where(u < P, upstream, 0.0))


def _generator_in_state(state):
    generator = keras.random.SeedGenerator(0)
    generator.state.assign(state)
    return generator


def test_over_many_draws_it_is_the_slope_of_the_relaxed_gates_expectation():
    def expectation(p):
        return scipy.integrate.quad(lambda u: relaxed(p, u, 0.5), 0, 1)[0]

    expected = (expectation(0.4 + 1e-4) - expectation(0.4 - 1e-4)) / 2e-4
    gate = built(np.full(NEURONS, 0.4), reduction="mean")
    probability, _ = gradients(gate, np.ones((2000, 20, *NEURONS), "float32"))
    np.testing.assert_allclose(probability, expected, rtol=0.03)


def test_the_mean_over_batch_and_time_is_that_part_of_the_sum():
    upstream = np.random.default_rng(1).normal(size=(6, 5, *NEURONS)).astype("float32")
    total, _ = gradients(built(reduction="sum"), upstream)
    mean, _ = gradients(built(reduction="mean"), upstream)
    np.testing.assert_allclose(mean, total / 30, rtol=1e-5)


def test_the_gradient_is_finite_where_gates_are_always_open():
    probability, _ = gradients(built(np.ones(NEURONS)), np.ones((100, 5, *NEURONS), "float32"))
    assert np.all(np.isfinite(probability))


# The weight ---------------------------------------------------------------------------------------


def one_step(gate, gradient, rate=1.0):
    keras.optimizers.SGD(rate).apply([tf.constant(gradient, tf.float32)], [gate.probability])
    return gate.probability.numpy()


def test_after_each_optimizer_step_probabilities_lie_between_the_minimum_and_one():
    moved = one_step(built(), np.linspace(-2, 2, 8).reshape(NEURONS))
    np.testing.assert_allclose(moved, np.clip(P - np.linspace(-2, 2, 8).reshape(NEURONS), 0.1, 1))
    assert one_step(built(minimum=0.3), np.full(NEURONS, 9.0)) == pytest.approx(
        np.full(NEURONS, 0.3)
    )


def test_the_prior_is_half_its_weight_times_the_sum_of_squares():
    gate = built(prior=0.02)
    with tf.GradientTape() as tape:
        loss = tf.add_n(gate.losses)
    assert float(loss) == pytest.approx(0.01 * float((P**2).sum()), rel=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, gate.probability.value), 0.02 * P, rtol=1e-5)


def test_its_weight_is_named_for_no_weight_decay():
    gate = layers.StochasticGate()
    assert gate.undecayed == []
    gate.build((None, 5, *NEURONS))
    assert gate.undecayed == [gate.probability] == gate.trainable_weights


# As a Keras layer ---------------------------------------------------------------------------------


def test_a_saved_model_has_its_options_and_probabilities_again(tmp_path):
    inputs = keras.Input((5, *NEURONS))
    options = {
        "minimum": 0.2,
        "temperature": 0.7,
        "prior": 0.01,
        "reduction": "mean",
        "seed": 4,
    }
    model = keras.Model(inputs, layers.StochasticGate(**options, name="gate")(inputs))
    model.get_layer("gate").probability.assign(P)
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras").get_layer("gate")
    assert {name: getattr(loaded, name) for name in options} == options
    np.testing.assert_array_equal(loaded.probability, P)
    assert float(loaded.probability.constraint(tf.constant([0.0]))[0]) == pytest.approx(0.2)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_under_mixed_precision_probabilities_stay_in_float32(policy):
    gate = built(dtype=policy)
    assert gate.probability.dtype == "float32"
    gates = gate(ones(400), training=True)
    assert gates.dtype == policy.removeprefix("mixed_")
    share = np.mean(np.asarray(gates, float), (0, 1))
    np.testing.assert_allclose(share, P, atol=5 * 0.5 / np.sqrt(2000))


def test_under_xla_gates_open_with_their_probability_too():
    gate = built(reduction="mean")
    upstream = np.ones((400, 20, *NEURONS), "float32")
    function = tf.function(lambda: gradients(gate, upstream), jit_compile=True)
    probability, gates = function()
    np.testing.assert_allclose(np.mean(gates, (0, 1)), P, atol=5 * 0.5 / np.sqrt(8000))
    assert np.all(np.isfinite(probability))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"minimum": 0.0}, "`minimum`.*0.0"),
        ({"minimum": 1.5}, "`minimum`.*1.5"),
        ({"temperature": 0.0}, "`temperature`.*0.0"),
        ({"prior": -1.0}, "`prior`.*-1.0"),
        ({"reduction": "median"}, "`reduction`.*'median'"),
    ],
    ids=str,
)
def test_a_bad_argument_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        layers.StochasticGate(**options)


def test_a_feature_map_of_unknown_size_is_refused():
    with pytest.raises(ValueError, match="a probability for each neuron"):
        layers.StochasticGate().build((None, 5, None, 2))
