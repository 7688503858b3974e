"""The LIF recurrence against a loop in NumPy, its gradient against autodiff step by step."""

import math

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import dynamics, surrogates

# h(v) at width 1 and the library's default shapes, written from the papers' formulas.
SLOPES = {
    "triangle": lambda v: tf.maximum(1.0 - tf.abs(v), 0.0),
    "rectangular": lambda v: tf.where(tf.abs(v) < 1.0, 0.5 * tf.ones_like(v), tf.zeros_like(v)),
    "sigmoid": lambda v: 4.0 * tf.exp(-4.0 * v) / (1.0 + tf.exp(-4.0 * v)) ** 2,
    "superspike": lambda v: (1.0 + 10.0 * tf.abs(v)) ** -2,
    "arctan": lambda v: 1.0 / (1.0 + (math.pi * v) ** 2),
    "dspike": lambda v: tf.where(
        tf.abs(v) < 1.0, 0.75 / math.tanh(1.5) / tf.cosh(1.5 * v) ** 2, tf.zeros_like(v)
    ),
}
RESETS = ["hard", "soft"]
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def numpy_lif(currents, tau, reset, v_threshold=1.0, initial=None):
    """Membranes before the decision, spikes, and what the last reset left (paper, Eq. 1-4)."""
    currents = np.asarray(currents)
    taus = np.broadcast_to(np.asarray(tau, currents.dtype), (currents.shape[1],))
    membranes, spikes = np.zeros_like(currents), np.zeros_like(currents)
    carried = np.zeros_like(currents[:, 0]) if initial is None else np.array(initial)
    for t in range(currents.shape[1]):
        membranes[:, t] = taus[t] * carried + currents[:, t]
        spikes[:, t] = np.where(membranes[:, t] >= v_threshold, 1, 0)
        subtracted = membranes[:, t] if reset == "hard" else v_threshold
        carried = membranes[:, t] - spikes[:, t] * subtracted
    return membranes, spikes, carried


def stepwise_lif(currents, slope, tau, reset, detach_reset, v_threshold=1.0, initial=None):
    """Membranes and spikes as TensorFlow operations whose gradient TensorFlow derives itself."""

    @tf.custom_gradient
    def heaviside(v):
        return tf.cast(v >= 0, v.dtype), lambda upstream: upstream * slope(v)

    steps = currents.shape[1]
    taus = tf.broadcast_to(tf.convert_to_tensor(tau, currents.dtype), (steps,))
    membranes, spikes = [], []
    carried = tf.zeros_like(currents[:, 0]) if initial is None else initial
    for t in range(steps):
        membrane = taus[t] * carried + currents[:, t]
        spike = heaviside(membrane - v_threshold)
        resetting = tf.stop_gradient(spike) if detach_reset else spike
        subtracted = membrane if reset == "hard" else v_threshold
        carried = membrane - resetting * subtracted
        membranes.append(membrane)
        spikes.append(spike)
    return tf.stack(membranes, axis=1), tf.stack(spikes, axis=1)


def normal(shape, seed=0, mean=0.4, std=0.8):
    return tf.constant(np.random.default_rng(seed).normal(mean, std, shape))


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
@pytest.mark.parametrize("tau", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("reset", RESETS)
def test_spikes_and_residual_are_those_of_a_loop_over_time(reset, tau, steps):
    currents = normal((3, steps, 4, 2), seed=steps)
    output = dynamics.lif(
        currents, surrogates.get("triangle"), tau, dynamics.Neuron(0.8, reset=reset)
    )
    _, spikes, residual = numpy_lif(currents, tau, reset, v_threshold=0.8)
    assert 0 < spikes.mean() < 1
    np.testing.assert_array_equal(output.spikes, spikes)
    np.testing.assert_allclose(output.residual, residual, **TOLERANCE)


@pytest.mark.parametrize("reset", RESETS)
def test_a_potential_exactly_at_the_threshold_fires(reset):
    currents = tf.constant([[[0.5], [0.5], [0.5]]], tf.float64)
    output = dynamics.lif(currents, surrogates.get("triangle"), neuron=dynamics.Neuron(reset=reset))
    assert output.spikes[0, :, 0].numpy().tolist() == [0, 1, 0]
    assert float(output.residual[0, 0]) == 0.5


@pytest.mark.parametrize("surrogate", SLOPES)
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("reset", RESETS)
def test_the_gradient_is_that_of_autodiff_step_by_step(reset, detach_reset, surrogate):
    neuron = dynamics.Neuron(0.9, reset=reset, detach_reset=detach_reset)
    for steps in (1, 3, 4, 9):
        currents, weights = normal((3, steps, 5), seed=steps), normal((3, steps, 5), seed=90)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(currents)
            fused = dynamics.lif(currents, surrogates.get(surrogate, gamma=1.5), 0.7, neuron).spikes
            _, spikes = stepwise_lif(
                currents, lambda v: SLOPES[surrogate](v / 1.5) / 1.5, 0.7, reset, detach_reset, 0.9
            )
        expected = tape.gradient(spikes, currents, weights)
        actual = tape.gradient(fused, currents, weights)
        assert np.any(expected != 0)
        np.testing.assert_allclose(actual, expected, **TOLERANCE)


def test_a_width_that_float32_cannot_hold_is_exact_in_float64():
    currents = tf.constant([[[0.9]]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(currents)
        spikes = dynamics.lif(currents, surrogates.get("triangle", gamma=0.7)).spikes
    expected = (0.7 - 0.1) / 0.7**2
    assert float(tape.gradient(spikes, currents)[0, 0, 0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(), (6,)], ids=["scalar", "per time step"])
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("reset", RESETS)
def test_the_gradient_of_a_learned_leak_is_that_of_autodiff(reset, detach_reset, shape):
    currents, weights = normal((3, 6, 2, 2), seed=1), normal((3, 6, 2, 2), seed=2)
    tau = tf.constant(np.random.default_rng(3).uniform(0.3, 1.0, shape))
    neuron = dynamics.Neuron(reset=reset, detach_reset=detach_reset)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([currents, tau])
        fused = dynamics.lif(currents, surrogates.get("arctan"), tau, neuron).spikes
        _, spikes = stepwise_lif(currents, SLOPES["arctan"], tau, reset, detach_reset)
    np.testing.assert_array_equal(fused, spikes)
    actual = tape.gradient(fused, [currents, tau], weights)
    expected = tape.gradient(spikes, [currents, tau], weights)
    assert actual[1].shape == shape
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, **TOLERANCE)


def lif_of_width(currents, gamma, slope, tau, reset, detach_reset):
    """As `stepwise_lif`, the spike being F(v / gamma) in the backward pass, F' = slope."""

    @tf.custom_gradient
    def heaviside(v, gamma):
        def backward(upstream):
            height = slope(v / gamma) / gamma
            return upstream * height, tf.reduce_sum(upstream * height * (-v / gamma))

        return tf.cast(v >= 0, v.dtype), backward

    spikes, carried = [], tf.zeros_like(currents[:, 0])
    for t in range(currents.shape[1]):
        membrane = tau * carried + currents[:, t]
        spike = heaviside(membrane - 1.0, gamma)
        resetting = tf.stop_gradient(spike) if detach_reset else spike
        carried = membrane - resetting * (membrane if reset == "hard" else 1.0)
        spikes.append(spike)
    return tf.stack(spikes, axis=1)


@pytest.mark.parametrize("surrogate", ["triangle", "arctan", "dspike"])
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("reset", RESETS)
def test_the_gradient_of_a_learned_width_is_that_of_autodiff(reset, detach_reset, surrogate):
    currents, weights = normal((3, 6, 2, 2), seed=1), normal((3, 6, 2, 2), seed=2)
    gamma, tau = tf.constant(0.8, tf.float64), tf.constant(0.7, tf.float64)
    neuron = dynamics.Neuron(reset=reset, detach_reset=detach_reset)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([currents, tau, gamma])
        fused = dynamics.lif(currents, surrogates.get(surrogate), tau, neuron, gamma=gamma).spikes
        spikes = lif_of_width(currents, gamma, SLOPES[surrogate], tau, reset, detach_reset)
    np.testing.assert_array_equal(fused, spikes)
    actual = tape.gradient(fused, [currents, tau, gamma], weights)
    expected = tape.gradient(spikes, [currents, tau, gamma], weights)
    assert float(expected[2]) != 0
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, **TOLERANCE)


def test_a_width_learned_alone_leaves_the_leak_a_number():
    currents, gamma = normal((3, 4, 2), seed=1), tf.constant(0.8, tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([currents, gamma])
        fused = dynamics.lif(currents, surrogates.get("triangle"), 0.7, gamma=gamma).spikes
        spikes = lif_of_width(currents, gamma, SLOPES["triangle"], 0.7, "hard", False)
    actual, expected = (tape.gradient(s, gamma) for s in (fused, spikes))
    assert float(actual) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("shape", [(7, 5, 3), (2, 4, 3, 2, 3)], ids=["dense", "images"])
def test_membrane_moments_are_mean_and_variance_over_batch_and_space(shape):
    currents = normal(shape)
    output = dynamics.lif(currents, surrogates.get("triangle"), 0.8, moments="membrane")
    membranes, _, _ = numpy_lif(currents, 0.8, "hard")
    axes = (0, *range(2, len(shape) - 1))
    np.testing.assert_allclose(output.mean, membranes.mean(axis=axes), **TOLERANCE)
    np.testing.assert_allclose(output.variance, membranes.var(axis=axes), **TOLERANCE)


@pytest.mark.parametrize("shape", [(7, 5, 3), (2, 4, 3, 2, 3)], ids=["dense", "images"])
def test_current_moments_are_mean_and_variance_over_batch_time_and_space(shape):
    currents = normal(shape)
    output = dynamics.lif(currents, surrogates.get("triangle"), 0.8, moments="current")
    axes = tuple(range(len(shape) - 1))
    np.testing.assert_allclose(output.mean, currents.numpy().mean(axis=axes), **TOLERANCE)
    np.testing.assert_allclose(output.variance, currents.numpy().var(axis=axes), **TOLERANCE)


def test_no_moments_come_without_being_asked_for():
    output = dynamics.lif(normal((2, 3, 4)), surrogates.get("triangle"))
    assert output.mean is None and output.variance is None


@pytest.mark.parametrize("moments", ["membrane", "current"])
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("reset", RESETS)
def test_gradients_of_moments_and_spikes_together_are_those_of_autodiff(
    reset, detach_reset, moments
):
    shape, tau = (3, 5, 2, 2, 4), tf.constant(0.7, tf.float64)
    currents, weights = normal(shape), normal(shape, seed=4)
    moment_shape = (5, 4) if moments == "membrane" else (4,)
    mean_weight, variance_weight = normal(moment_shape, seed=5), normal(moment_shape, seed=6)
    axes = (0, 2, 3) if moments == "membrane" else (0, 1, 2, 3)
    neuron = dynamics.Neuron(reset=reset, detach_reset=detach_reset)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([currents, tau])
        output = dynamics.lif(currents, surrogates.get("triangle"), tau, neuron, moments)
        fused = tf.reduce_sum(weights * output.spikes)
        fused += tf.reduce_sum(mean_weight * output.mean)
        fused += tf.reduce_sum(variance_weight * output.variance)
        membranes, spikes = stepwise_lif(currents, SLOPES["triangle"], tau, reset, detach_reset)
        observed = membranes if moments == "membrane" else currents
        loss = tf.reduce_sum(weights * spikes)
        loss += tf.reduce_sum(mean_weight * tf.reduce_mean(observed, axes))
        loss += tf.reduce_sum(variance_weight * tf.math.reduce_variance(observed, axes))
    np.testing.assert_allclose(fused, loss, rtol=1e-9)
    actual = tape.gradient(fused, [currents, tau])
    expected = tape.gradient(loss, [currents, tau])
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_an_unknown_kind_of_moments_is_refused():
    with pytest.raises(ValueError, match="`moments` must be one of.*Received: moments='spikes'"):
        dynamics.lif(normal((2, 3, 4)), surrogates.get("triangle"), moments="spikes")


@pytest.mark.parametrize("reset", RESETS)
def test_a_window_goes_on_from_the_initial_membrane(reset):
    currents, initial = normal((3, 4, 5)), normal((3, 5), seed=7, mean=0.0)
    neuron = dynamics.Neuron(reset=reset)
    tau = tf.constant(0.9, tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([currents, initial, tau])
        output = dynamics.lif(currents, surrogates.get("sigmoid"), tau, neuron, initial=initial)
        _, spikes = stepwise_lif(
            currents, SLOPES["sigmoid"], tau, reset, False, initial=tf.stop_gradient(initial)
        )
    _, expected, residual = numpy_lif(currents, 0.9, reset, initial=initial)
    assert np.any(expected != numpy_lif(currents, 0.9, reset)[1])
    np.testing.assert_array_equal(output.spikes, expected)
    np.testing.assert_allclose(output.residual, residual, **TOLERANCE)
    sources = [currents, tau]
    actual, wanted = tape.gradient(output.spikes, sources), tape.gradient(spikes, sources)
    for one, other in zip(actual, wanted, strict=True):
        np.testing.assert_allclose(one, other, **TOLERANCE)
    assert tape.gradient(output.spikes, initial) is None


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_half_precision_currents_are_integrated_in_float32(dtype):
    # 2^-12 is lost when added to 1/2 in half precision, not in float32.
    currents = tf.constant([0.5] + 8 * [2.0**-12], dtype)[None, :, None]
    with tf.GradientTape() as tape:
        tape.watch(currents)
        output = dynamics.lif(
            currents,
            surrogates.get("triangle"),
            neuron=dynamics.Neuron(v_threshold=0.501),
            moments="membrane",
        )
    assert output.spikes.dtype == dtype
    assert tape.gradient(output.spikes, currents).dtype == dtype
    # 0.001 / 2^-12 = 4.1: the fifth small current reaches the threshold.
    assert tf.cast(output.spikes[0, :, 0], tf.int32).numpy().tolist() == [0] * 5 + [1] + [0] * 3
    assert output.residual.dtype == output.mean.dtype == tf.float32
    assert float(output.mean[4, 0]) == 0.5 + 4 * 2.0**-12


@pytest.mark.parametrize(
    "reset, moments, initial", [("hard", "membrane", True), ("soft", "current", False)]
)
def test_compiled_by_xla_spikes_moments_and_gradients_are_the_same(reset, moments, initial):
    currents = normal((3, 4, 2, 5))
    start = normal((3, 2, 5), seed=8, mean=0.0) if initial else None
    tau = tf.constant([0.9, 0.8, 0.7, 0.6], tf.float64)

    def run(currents, tau):
        with tf.GradientTape() as tape:
            tape.watch([currents, tau])
            output = dynamics.lif(
                currents,
                surrogates.get("triangle"),
                tau,
                dynamics.Neuron(reset=reset),
                moments,
                start,
            )
            loss = tf.reduce_sum(output.spikes * tf.cos(currents))
            loss += tf.reduce_sum(output.mean**2 + output.variance)
        return [*output[:4], *tape.gradient(loss, [currents, tau])]

    compiled = tf.function(run, jit_compile=True)(currents, tau)
    for one, other in zip(compiled, run(currents, tau), strict=True):
        np.testing.assert_allclose(one, other, **TOLERANCE)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
    currents=st.sampled_from(["float16", "float32", "float64"]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=3, max_dims=5, min_side=1, max_side=4),
            elements=st.floats(-100, 100, width=16),
        )
    ),
    reset=st.sampled_from(RESETS),
    tau=st.floats(0, 1),
)
def test_spikes_are_zeros_and_ones_in_the_currents_shape_and_dtype(currents, reset, tau):
    output = dynamics.lif(
        tf.constant(currents), surrogates.get("triangle"), tau, dynamics.Neuron(reset=reset)
    )
    assert output.spikes.shape == currents.shape
    assert output.spikes.dtype == currents.dtype
    assert np.isin(output.spikes, (0, 1)).all()
    assert np.isfinite(output.residual).all()


@pytest.mark.parametrize("reset", RESETS)
def test_captured_potentials_are_those_of_a_loop_over_time(reset):
    currents, neuron = normal((3, 5, 4)), dynamics.Neuron(0.7, reset=reset)
    surrogate = surrogates.get("arctan")
    with dynamics.capture_potentials() as captured:
        dynamics.lif(currents, surrogate, 0.8, neuron, name="first")
        dynamics.lif(currents + 0.1, surrogate, 0.8, neuron, name="second")
    dynamics.lif(currents, surrogate, 0.8, neuron, name="outside")
    assert [layer.name for layer in captured] == ["first", "second"]
    for layer, offset in zip(captured, (0.0, 0.1), strict=True):
        membranes, spikes, _ = numpy_lif(currents + offset, 0.8, reset, v_threshold=0.7)
        np.testing.assert_allclose(layer.currents, currents + offset, **TOLERANCE)
        np.testing.assert_allclose(layer.membranes, membranes, **TOLERANCE)
        np.testing.assert_array_equal(layer.spikes, spikes)
        assert layer.surrogate is surrogate and layer.neuron == neuron and layer.tau == 0.8


def test_potentials_go_to_the_innermost_scope():
    currents, surrogate = normal((2, 3, 4)), surrogates.get("triangle")
    with dynamics.capture_potentials() as outer:
        dynamics.lif(currents, surrogate, name="before")
        with dynamics.capture_potentials() as inner:
            dynamics.lif(currents, surrogate, name="inside")
        dynamics.lif(currents, surrogate, name="after")
    assert [layer.name for layer in outer] == ["before", "after"]
    assert [layer.name for layer in inner] == ["inside"]


def test_a_scope_that_an_error_leaves_is_closed():
    with pytest.raises(KeyError), dynamics.capture_potentials() as captured:
        raise KeyError
    dynamics.lif(normal((2, 3, 4)), surrogates.get("triangle"))
    assert captured == []


def test_potentials_captured_while_a_function_is_traced_come_with_its_results():
    @tf.function
    def potentials(currents):
        with dynamics.capture_potentials() as captured:
            dynamics.lif(currents, surrogates.get("triangle"), 0.8)
        return captured[0].membranes

    for seed in (0, 1):
        currents = normal((2, 3, 4), seed=seed)
        expected, _, _ = numpy_lif(currents, 0.8, "hard")
        np.testing.assert_allclose(potentials(currents), expected, **TOLERANCE)


def test_capturing_changes_neither_spikes_nor_gradients():
    currents = normal((2, 4, 3))

    def run():
        with tf.GradientTape() as tape:
            tape.watch(currents)
            spikes = dynamics.lif(currents, surrogates.get("triangle"), 0.8).spikes
        return spikes, tape.gradient(spikes, currents)

    plain = run()
    with dynamics.capture_potentials():
        observed = run()
    for one, other in zip(observed, plain, strict=True):
        np.testing.assert_array_equal(one, other)
