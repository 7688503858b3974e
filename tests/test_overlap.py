"""Omega against quadrature, its gradients against differences, Theorem 1 against simulation."""

import itertools

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_mpdsgr.overlap import (
    membrane_moments,
    overlap,
    overlap_gradients,
    scale_free_overlap,
)

POINTS = [
    (0.0, 1.0, 1.0),
    (-2.5, 0.3, 0.5),
    (-1.0, 8.0, 1.0),
    (0.7, 0.2, 1.0),
    (1.0, 0.5, 1.0),
    (3.0, 20.0, 0.01),
    (-0.4, 5.0, 0.6),
]
DTYPES = [tf.float32, tf.float64]


def gradients_of(function, *values, dtype=tf.float64):
    tensors = [tf.constant(value, dtype) for value in values]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = function(*tensors)
    return [result, *tape.gradient(result, tensors)]


def difference(function, values, position, step=1e-5):
    """Fourth-order central difference of a function of floats."""

    def at(shift):
        moved = list(values)
        moved[position] = moved[position] + shift * step
        return np.asarray(function(*moved))

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)


# Omega


@pytest.mark.parametrize("mean, std, gamma", [*POINTS, (40.0, 0.01, 1.0), (0.3, 0.01, 1.0)])
def test_overlap_is_the_integral_of_the_density(mean, std, gamma):
    expected, _ = scipy.integrate.quad(
        scipy.stats.norm(mean, std).pdf, -gamma, gamma, points=[np.clip(mean, -gamma, gamma)]
    )
    assert float(overlap(mean, std, gamma)) == pytest.approx(expected, abs=1e-12)


def test_overlap_has_the_closed_values_at_threshold_and_width_one():
    # beta = 0, v_th = 1: the mean of v is -1 and Omega = Phi(2 / lambda) - 1/2
    scale = np.array([1.0, 2.0, 8.0])
    mean, std = membrane_moments(np.zeros(3), scale, tau=1.0, timesteps=1)
    omega = overlap(mean - 1.0, std, 1.0)[0]
    np.testing.assert_allclose(omega, scipy.stats.norm.cdf(2 / scale) - 0.5, atol=1e-15)
    np.testing.assert_allclose(omega, [0.477, 0.341, 0.099], atol=5e-4)


@pytest.mark.parametrize("mean", [10.0, -30.0])
def test_overlap_keeps_relative_precision_in_the_tail(mean):
    log_expected = scipy.stats.norm.logsf(abs(mean) - 1.0)
    assert np.log(float(overlap(mean, 1.0, 1.0))) == pytest.approx(log_expected, rel=1e-9)


@pytest.mark.parametrize("dtype, tolerance", [(tf.float64, 1e-13), (tf.float32, 2e-6)])
@pytest.mark.parametrize("mean, std, gamma", [(1.0, 1e6, 1.0), (-3.0, 2.0, 1e-4), (2.0, 1.0, 0.1)])
def test_overlap_keeps_relative_precision_in_a_narrow_window(mean, std, gamma, dtype, tolerance):
    mean, std, gamma = (float(tf.constant(value, dtype)) for value in (mean, std, gamma))
    # the density, expanded about the middle of the window
    m, h = mean / std, gamma / std
    series = 1 + h**2 * (m**2 - 1) / 6 + h**4 * (m**4 - 6 * m**2 + 3) / 120
    sixth = h**6 * (m**6 - 15 * m**4 + 45 * m**2 - 15) / 5040
    expected = 2 * h * scipy.stats.norm.pdf(m) * (series + sixth)
    computed = overlap(tf.constant(mean, dtype), std, gamma)
    assert float(computed) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_deviation_overlap_is_its_limit_with_no_gradient(dtype):
    mean = tf.constant([0.0, 0.99, -1.01, 5.0, 1.0, -1.0], dtype)
    results = gradients_of(overlap, mean, tf.zeros_like(mean), tf.ones_like(mean), dtype=dtype)
    np.testing.assert_array_equal(results[0], [1, 1, 0, 0, 0.5, 0.5])
    for gradient in results[1:]:
        np.testing.assert_array_equal(gradient, np.zeros(6))


@pytest.mark.parametrize("mean, std, gamma", POINTS)
def test_overlap_gradients_are_the_printed_equations(mean, std, gamma):
    p = scipy.stats.norm.pdf
    upper, lower = mean + gamma, mean - gamma
    expected = [
        (p(upper / std) - p(lower / std)) / std,
        (-upper * p(upper / std) + lower * p(lower / std)) / std**2,
        (p(upper / std) + p(lower / std)) / std,
    ]
    _, *through_tape = gradients_of(overlap, mean, std, gamma)
    np.testing.assert_allclose(through_tape, expected, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(overlap_gradients(mean, std, gamma), expected[:2], 1e-9, 1e-14)


@pytest.mark.parametrize("mean, std, gamma", POINTS)
def test_overlap_gradients_are_finite_differences(mean, std, gamma):
    _, *computed = gradients_of(overlap, mean, std, gamma)
    step = 2e-3 * min(std, gamma)
    expected = [difference(overlap, (mean, std, gamma), i, step) for i in range(3)]
    np.testing.assert_allclose(computed, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("mean, std, gamma", POINTS)
def test_overlap_gradients_agree_with_autodiff_of_the_erf_form(mean, std, gamma):
    def plain(mean, std, gamma):
        root = np.sqrt(2.0)
        upper, lower = (mean + gamma) / std, (mean - gamma) / std
        return (tf.math.erf(upper / root) - tf.math.erf(lower / root)) / 2.0

    ours = gradients_of(overlap, mean, std, gamma)
    np.testing.assert_allclose(ours, gradients_of(plain, mean, std, gamma), rtol=1e-9, atol=1e-14)


def test_upstream_gradient_scales_and_broadcasting_sums():
    mean, std = np.linspace(-2, 1, 12).reshape(4, 3), np.array([0.5, 1.0, 2.0])
    tensors = [tf.constant(mean), tf.constant(std), tf.constant(0.8, tf.float64)]
    weight = np.arange(12.0).reshape(4, 3)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        total = tf.reduce_sum(weight * overlap(*tensors))
    computed = tape.gradient(total, tensors)
    by_mean, by_std = overlap_gradients(*tensors)
    by_gamma = gradients_of(overlap, mean, np.tile(std, (4, 1)), np.full((4, 3), 0.8))[3]
    np.testing.assert_allclose(computed[0], weight * by_mean)
    np.testing.assert_allclose(computed[1], np.sum(weight * by_std, axis=0))
    np.testing.assert_allclose(computed[2], np.sum(weight * by_gamma))


def test_python_numbers_compute_in_float64_and_tensors_keep_their_dtype():
    assert overlap(0, 1, 1).dtype == tf.float64
    assert overlap(np.float64(0.1), 0.2, 1.0) == overlap(0.1, 0.2, 1.0)
    assert overlap(np.zeros(2), 1.0, 1.0).dtype == tf.float64
    for value in (np.zeros(2, np.float32), tf.zeros(2), tf.Variable(0.0), keras.Variable(0.0)):
        assert overlap(value, 1.0, 1.0).dtype == tf.float32
        assert membrane_moments(value, 1.0, 1.0, 2)[0].dtype == tf.float32
    for dtype in (tf.float16, tf.bfloat16):
        assert overlap(tf.zeros(2, dtype), tf.ones(2, dtype), 1.0).dtype == tf.float32


wide = st.floats(-1e6, 1e6, width=32)
positive = st.floats(0.0, 1e6, width=32) | st.sampled_from([0.0, 1e-30, 1e-12, 1e-6])
gammas = st.floats(2**-20, 2**20, width=32)
both = pytest.mark.parametrize("dtype", DTYPES)


@both
@pytest.mark.parametrize("function", [overlap, scale_free_overlap])
@settings(max_examples=40, deadline=None)
@given(points=st.lists(st.tuples(wide, positive, gammas), min_size=1, max_size=16))
def test_overlap_is_a_share_and_its_gradients_are_finite_anywhere(function, dtype, points):
    value, *gradients = gradients_of(function, *zip(*points, strict=True), dtype=dtype)
    assert np.all((value >= 0.0) & (value <= 1.0 + 1e-6))
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


@settings(max_examples=40, deadline=None)
@given(mean=st.floats(-20, 20), std=st.floats(2**-6, 50), gamma=st.floats(2**-6, 10))
def test_overlap_agrees_with_the_normal_distribution_function(mean, std, gamma):
    cdf = scipy.stats.norm(mean, std).cdf
    assert float(overlap(mean, std, gamma)) == pytest.approx(cdf(gamma) - cdf(-gamma), abs=1e-12)


@pytest.mark.parametrize("gamma", [0.0, -1, float("nan"), float("inf"), True, "1", None])
def test_a_width_that_is_not_positive_is_refused(gamma):
    for function in (overlap, overlap_gradients):
        with pytest.raises(ValueError, match=r"`gamma` must be a positive number \(half-width of"):
            function(0.0, 1.0, gamma)
    with pytest.raises(ValueError, match=r"`kappa` must be a positive number \(.*deviations"):
        scale_free_overlap(0.0, 1.0, gamma)


# The scale-free form


@pytest.mark.parametrize("mean, std, kappa", POINTS)
def test_scale_free_overlap_is_a_difference_of_two_phi(mean, std, kappa):
    def plain(mean, std, kappa):
        phi, m = scipy.stats.norm.cdf, mean / std
        return phi(m + kappa) - phi(m - kappa)

    value, *computed = gradients_of(scale_free_overlap, mean, std, kappa)
    assert float(value) == pytest.approx(plain(mean, std, kappa), abs=1e-14)
    step = 2e-3 * min(std, 1.0)
    expected = [difference(plain, (mean, std, kappa), i, step) for i in range(3)]
    np.testing.assert_allclose(computed, expected, rtol=1e-7, atol=1e-10)


def test_scale_free_overlap_is_blind_to_a_common_scale_and_overlap_is_not():
    scales = np.array([1.0, 2.0, 8.0])
    np.testing.assert_allclose(np.ptp(scale_free_overlap(-scales, scales, 1.0)), 0.0, atol=1e-15)
    assert np.all(np.diff(overlap(-scales, scales, 1.0)) < -0.1)


def test_scale_free_overlap_without_deviation_is_its_limit_with_no_gradient():
    value, *gradients = gradients_of(scale_free_overlap, [0.5, -2.0], [0.0, 0.0], [1.0, 1.0])
    np.testing.assert_array_equal([value, *gradients[:2]], np.zeros((3, 2)))


# Moments of the membrane potential


def simulate(beta, scale, tau, reset, constant_input, timesteps=8, samples=400_000):
    """Mean and deviation of u before the spike, with numpy alone; v_th = 1."""
    random = np.random.default_rng(0)
    u, moments = np.zeros(samples), []
    for t in range(timesteps):
        if t == 0 or not constant_input:
            current = beta + scale * random.standard_normal(samples)
        u = tau * u + current
        moments.append((u.mean(), u.std()))
        spikes = u >= 1.0
        u = {None: u, "hard": np.where(spikes, 0.0, u), "soft": u - spikes}[reset]
    return np.transpose(moments)


def deviations(beta, scale, tau, reset, constant_input):
    """Error of the mean in deviations, and relative error of the deviation, per time step."""
    mean, std = simulate(beta, scale, tau, reset, constant_input)
    computed = membrane_moments(beta, scale, tau, 8, reset, constant_input=constant_input)
    our_mean, our_std = (moment.numpy()[:, 0] for moment in computed)
    return np.abs(our_mean - mean) / std, np.abs(our_std / std - 1.0)


taus = pytest.mark.parametrize("tau", [0.5, 0.9, 1.0])
inputs = pytest.mark.parametrize("constant_input", [False, True], ids=["independent", "constant"])
resets = pytest.mark.parametrize("reset", ["hard", "soft"])


@taus
@inputs
def test_without_reset_theorem_one_is_what_a_simulation_gives(tau, constant_input):
    for error in deviations(0.3, 0.7, tau, None, constant_input):
        assert error.max() < 0.01  # 400,000 samples: the noise alone is 0.003


def test_theorem_one_has_the_closed_values():
    mean, std = membrane_moments(0.5, 1.0, 0.99, 8)
    np.testing.assert_allclose(mean[7, 0], 0.5 * (1 - 0.99**8) / 0.01)
    np.testing.assert_allclose(std[7, 0], np.sqrt((1 - 0.99**16) / (1 - 0.99**2)))
    _, constant = membrane_moments(0.5, 1.0, 0.99, 8, constant_input=True)
    assert [round(float(s[7, 0]), 1) for s in (std, constant)] == [2.7, 7.7]


@resets
@inputs
@pytest.mark.parametrize(
    "beta, scale, threshold", [(0.0, 1.0, 1.0), (0.6, 0.3, 1.0), (-0.4, 2.0, 0.5), (3.0, 0.4, 2.0)]
)
def test_moments_are_exact_after_the_first_reset(beta, scale, threshold, constant_input, reset):
    density, tau = scipy.stats.norm(beta, scale).pdf, 0.8

    def expectation(function):
        ends = (beta - 12 * scale, threshold, beta + 12 * scale)
        pieces = itertools.pairwise(ends)
        return sum(
            scipy.integrate.quad(lambda u: function(u) * density(u), *piece, limit=200)[0]
            for piece in pieces
            if piece[0] < piece[1]
        )

    def left(u):
        return u if u < threshold else {"hard": 0.0, "soft": u - threshold}[reset]

    first, second = expectation(left), expectation(lambda u: left(u) ** 2)
    covariance = expectation(lambda u: left(u) * (u - beta)) if constant_input else 0.0
    variance = tau**2 * (second - first**2) + scale**2 + 2 * tau * covariance
    mean, std = membrane_moments(beta, scale, tau, 2, reset, threshold, constant_input)
    np.testing.assert_allclose(mean[:, 0], [beta, tau * first + beta], atol=1e-9)
    np.testing.assert_allclose(std[:, 0], [scale, np.sqrt(variance)], atol=1e-9)


# Eight steps, v_th = 1. After the second step u is not normal any more, and the recursion off by:
@resets
@pytest.mark.parametrize(
    "tau, of_mean, of_std", [(0.5, 0.01, 0.01), (0.9, 0.03, 0.05), (1.0, 0.05, 0.1)]
)
def test_recursion_is_near_a_simulation_where_the_input_varies(reset, tau, of_mean, of_std):
    for beta, scale in [(0.0, 1.0), (0.0, 0.3), (0.3, 0.5), (-0.5, 1.0), (0.5, 2.0), (1.0, 1.0)]:
        mean_error, std_error = deviations(beta, scale, tau, reset, constant_input=False)
        assert mean_error.max() < of_mean and std_error.max() < of_std
        assert max(mean_error[:2].max(), std_error[:2].max()) < 0.01


@pytest.mark.parametrize(
    "reset, tau, of_mean, of_std",
    [
        ("hard", 0.5, 0.08, 0.15),
        ("hard", 0.9, 0.2, 0.4),
        ("hard", 1.0, 0.2, 0.5),
        ("soft", 0.5, 0.05, 0.08),
        ("soft", 0.9, 0.1, 0.17),
        ("soft", 1.0, 0.1, 0.18),
    ],
)
def test_recursion_is_a_rougher_guide_under_a_constant_input(reset, tau, of_mean, of_std):
    for beta, scale in [(0.0, 1.0), (0.0, 0.3), (0.3, 0.5), (-0.5, 1.0), (0.5, 2.0), (1.0, 1.0)]:
        mean_error, std_error = deviations(beta, scale, tau, reset, constant_input=True)
        assert mean_error.max() < of_mean and std_error.max() < of_std
        assert max(mean_error[:2].max(), std_error[:2].max()) < 0.01


@resets
@inputs
def test_recursion_is_roughest_for_a_regular_drive(reset, constant_input):
    # beta = 0.2, deviation 0.1, no leak: nearly every neuron first fires at the same steps
    mean_error, std_error = deviations(0.2, 0.1, 1.0, reset, constant_input)
    assert 0.1 < mean_error.max() < 0.5 and std_error.max() < 0.25


@inputs
@pytest.mark.parametrize("reset", [None, "hard", "soft"])
def test_gradients_of_the_recursion_are_finite_differences(reset, constant_input):
    values = (np.array([0.3, -0.5]), np.array([0.6, 1.4]), np.array(0.9), np.array(1.1))
    weights = np.random.default_rng(0).standard_normal((2, 5, 2))

    def function(beta, scale, tau, threshold):
        moments = membrane_moments(beta, scale, tau, 5, reset, threshold, constant_input)
        return tf.reduce_sum(weights * tf.stack(moments))

    _, *computed = gradients_of(function, *values)
    for position in range(4 if reset else 3):
        expected = difference(function, values, position, 1e-3)
        assert np.sum(computed[position]) == pytest.approx(expected, rel=1e-7)


def test_a_leak_of_each_step_is_that_steps_factor():
    tau = tf.constant([0.3, 0.9, 0.5, 0.2], tf.float64)
    mean, std = membrane_moments(0.4, 0.6, tau, 4)
    # u(t) = tau(t) u(t-1) + I(t) for independent I of mean 0.4 and deviation 0.6.
    expected_mean, expected_variance = [0.4], [0.36]
    for factor in (0.9, 0.5, 0.2):
        expected_mean.append(factor * expected_mean[-1] + 0.4)
        expected_variance.append(factor**2 * expected_variance[-1] + 0.36)
    np.testing.assert_allclose(mean[:, 0], expected_mean, rtol=1e-12)
    np.testing.assert_allclose(std[:, 0], np.sqrt(expected_variance), rtol=1e-12)
    for reset in ("hard", "soft"):
        same = membrane_moments(0.4, 0.6, tf.fill((4,), tf.constant(0.7, tf.float64)), 4, reset)
        np.testing.assert_array_equal(same, membrane_moments(0.4, 0.6, 0.7, 4, reset))


def test_a_leak_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"`tau` must be a scalar or hold one .* \(4,\)"):
        membrane_moments(0.4, 0.6, tf.ones(3, tf.float64), 4)


def test_each_channel_is_its_own():
    beta, scale = np.array([0.3, -0.5, 2.0]), np.array([0.6, 1.4, 0.0])
    together = membrane_moments(beta, scale, 0.9, 4, "hard")
    assert [moment.shape for moment in together] == [(4, 3), (4, 3)]
    for c in range(3):
        alone = membrane_moments(beta[c], scale[c], 0.9, 4, "hard")
        for moment, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(moment[:, c], single[:, 0], rtol=1e-12)


def test_the_sign_of_the_scale_does_not_matter():
    for reset in (None, "hard", "soft"):
        ours, mirrored = (membrane_moments(0.3, s, 0.9, 3, reset) for s in (0.7, -0.7))
        np.testing.assert_array_equal(ours, mirrored)


@pytest.mark.parametrize("reset, expected", [("hard", [0.6, 1.2, 0.6]), ("soft", [0.6, 1.2, 0.8])])
def test_a_channel_without_deviation_is_one_deterministic_neuron(reset, expected):
    mean, std = membrane_moments(0.6, 0.0, 1.0, 3, reset)
    np.testing.assert_allclose(mean[:, 0], expected)
    np.testing.assert_array_equal(std[:, 0], np.zeros(3))


def test_a_potential_at_the_threshold_fires():
    mean, _ = membrane_moments(1.0, 0.0, 1.0, 2, "hard")
    np.testing.assert_array_equal(mean[:, 0], [1.0, 1.0])


channels = st.lists(st.tuples(wide, positive | wide), min_size=1, max_size=16)
drives = st.lists(st.tuples(st.floats(-4, 4), st.floats(0, 4)), min_size=1, max_size=16)


@both
@settings(max_examples=40, deadline=None)
@given(
    points=channels | drives,
    tau=st.floats(0, 1) | st.sampled_from([0.0, 1.0]),
    reset=st.sampled_from([None, "hard", "soft"]),
    constant_input=st.booleans(),
)
def test_moments_and_their_gradients_are_finite_anywhere(dtype, points, tau, reset, constant_input):
    beta, scale = (tf.constant(values, dtype) for values in zip(*points, strict=True))
    tau = tf.constant(tau, dtype)
    with tf.GradientTape() as tape:
        tape.watch([beta, scale, tau])
        moments = membrane_moments(beta, scale, tau, 5, reset, 1.0, constant_input)
        total = tf.reduce_sum(tf.stack(moments))
    assert np.all(np.isfinite(moments)) and np.all(moments[1] >= 0)
    for gradient in tape.gradient(total, [beta, scale, tau]):
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("reset, dtype", [("hard", tf.float32), ("soft", tf.float64)])
def test_graph_and_xla_agree_with_eager(reset, dtype):
    beta = tf.constant([0.3, -0.5, 0.0, 1e6], dtype)
    scale = tf.constant([0.6, 1.4, 0.0, 2.0], dtype)

    def step(beta, scale, tau, gamma):
        with tf.GradientTape() as tape:
            tape.watch([beta, scale])
            mean, std = membrane_moments(beta, scale, tau, 4, reset, constant_input=True)
            omega = overlap(mean - 1.0, std, gamma) + scale_free_overlap(mean - 1.0, std, 0.5)
            total = tf.reduce_mean(omega)
        return [total, *tape.gradient(total, [beta, scale])]

    arguments = (beta, scale, tf.constant(0.9, dtype), tf.constant(0.7, dtype))
    expected = step(*arguments)
    for jit in (False, True):
        computed = tf.function(step, jit_compile=jit)(*arguments)
        for ours, eager in zip(computed, expected, strict=True):
            np.testing.assert_allclose(ours, eager, rtol=1e-4 if dtype == tf.float32 else 1e-10)


def test_a_channel_count_unknown_at_trace_time_works():
    unknown = tf.TensorSpec([None], tf.float32)

    @tf.function(input_signature=[unknown, unknown])
    def traced(beta, scale):
        mean, std = membrane_moments(beta, scale, 0.9, 3, "soft")
        return overlap(mean - 1.0, std, 1.0)

    assert traced(tf.zeros(5), tf.ones(5)).shape == (3, 5)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"timesteps": 0}, "`timesteps` must be a whole number >= 1.*Received: 0"),
        ({"timesteps": 2.0}, "`timesteps` must be a whole number"),
        ({"timesteps": True}, "`timesteps` must be a whole number"),
        ({"reset": "zero"}, "`reset` must be one of None, 'hard', 'soft'. Received: 'zero'"),
        ({"tau": 1.1}, r"`tau` must be a number in \[0, 1\].*Received: 1.1"),
        ({"tau": -0.1}, "`tau` must be"),
        ({"tau": None}, "`tau` must be"),
        ({"tau": float("nan")}, "`tau` must be"),
        ({"v_threshold": 0.0}, "`v_threshold` must be a positive number"),
        ({"beta": np.zeros((2, 3))}, r"`beta` must be a scalar or.*shape \(2, 3\)"),
        ({"scale": np.zeros((2, 3))}, "`scale` must be a scalar or"),
    ],
)
def test_an_argument_out_of_range_is_refused(changed, message):
    arguments = {"beta": 0.0, "scale": 1.0, "tau": 1.0, "timesteps": 4, **changed}
    with pytest.raises(ValueError, match=message):
        membrane_moments(**arguments)
