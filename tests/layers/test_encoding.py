"""Spike codings: their draws by statistics, their gradients, the filter against numpy's FFT."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_mpdsgr import keras_internals, layers

ENCODERS = {
    "direct": lambda **options: layers.DirectEncoder(3, **options),
    "poisson": lambda **options: layers.PoissonEncoder(3, seed=1, **options),
    "smoothing": lambda **options: layers.SmoothingEncoder(3, seed=1, **options),
    "frequency": lambda **options: layers.FrequencyEncoder(3, half_widths=(4, 2, 1), **options),
}
RANDOM = ["poisson", "smoothing"]
every_encoder = pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS)
random_encoders = pytest.mark.parametrize("make", [ENCODERS[name] for name in RANDOM], ids=RANDOM)


def pixels(shape=(2, 8, 8, 3), dtype="float32"):
    return np.random.default_rng(0).uniform(0, 1, shape).astype(dtype)


def gradient(encoder, x, upstream):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(upstream * encoder(x))
    return tape.gradient(loss, x)


# Poisson ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probability", [0.05, 0.3, 0.8])
def test_spike_counts_follow_the_binomial_distribution(probability):
    # A window's count is binomial only if the draws of its time steps are independent.
    spikes = layers.PoissonEncoder(6, seed=0)(np.full((20_000, 1), probability, "float32")).numpy()
    assert set(np.unique(spikes)) == {0.0, 1.0}
    observed = np.bincount(spikes.sum(axis=(1, 2)).astype(int), minlength=7)
    expected = 20_000 * scipy.stats.binom(6, probability).pmf(range(7))
    observed, expected = observed[expected > 5], expected[expected > 5]
    expected *= observed.sum() / expected.sum()
    assert scipy.stats.chisquare(observed, expected).pvalue > 1e-3


def test_mean_and_variance_of_spikes_are_those_of_bernoulli_draws_at_each_pixel():
    x = np.linspace(0.05, 0.95, 19, dtype="float32").reshape(1, 19)
    spikes = layers.PoissonEncoder(20_000, seed=0)(x).numpy()[0]
    np.testing.assert_allclose(spikes.mean(0), x[0], atol=4 * 0.5 / np.sqrt(20_000))
    np.testing.assert_allclose(spikes.var(0), x[0] * (1 - x[0]), atol=0.01)
    between = np.corrcoef(spikes.T)[np.triu_indices(19, 1)]
    assert np.abs(between).max() < 5 / np.sqrt(20_000)


def test_a_black_pixel_never_fires_and_a_white_one_always():
    spikes = layers.PoissonEncoder(5000)(np.array([[0.0, 1.0]], "float32")).numpy()
    np.testing.assert_array_equal(spikes[0, :, 0], 0.0)
    np.testing.assert_array_equal(spikes[0, :, 1], 1.0)


def test_mixed_precision_does_not_change_how_often_a_dark_pixel_fires():
    # Half precision draws multiples of 1/1024 and would fire four times as often.
    encoder = layers.PoissonEncoder(400, seed=0, dtype="mixed_float16")
    count = encoder(np.full((1000, 1), 2.0**-12, "float32")).numpy().astype(int).sum()
    assert scipy.stats.binomtest(count, 400_000, 2.0**-12).pvalue > 1e-3


# Smoothing ----------------------------------------------------------------------------------------


def test_smoothing_noise_is_normal_with_the_given_deviation_and_independent_over_time():
    x = pixels((1, 40, 40, 1))
    noise = (layers.SmoothingEncoder(8, std=0.2, seed=0)(x) - x[:, None]).numpy().reshape(8, -1)
    assert scipy.stats.kstest(noise.ravel() / 0.2, "norm").pvalue > 1e-3
    assert abs(noise.mean()) < 4 * 0.2 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.2, rel=4 / np.sqrt(2 * noise.size))
    between = np.corrcoef(noise)[np.triu_indices(8, 1)]
    assert np.abs(between).max() < 4 / np.sqrt(noise.shape[1])


def test_smoothing_without_noise_is_direct_coding():
    x = pixels()
    coded = layers.SmoothingEncoder(4, std=0.0)(x)
    np.testing.assert_array_equal(coded, layers.DirectEncoder(4)(x))


def test_smoothing_takes_a_quarter_of_the_pixel_range_by_default():
    assert layers.SmoothingEncoder(2).std == 0.25


# Frequency ----------------------------------------------------------------------------------------


def filtered_by_numpy(x, half_width):
    """The centred square of the shifted spectrum, as FEEL's public code cuts it; real part."""
    spectrum = np.fft.fftshift(np.fft.fft2(x, axes=(1, 2)), axes=(1, 2))
    rows, columns = (np.arange(n) - n // 2 for n in x.shape[1:3])
    inside = [(-half_width <= k) & (k < half_width) for k in (rows, columns)]
    spectrum *= np.outer(*inside)[:, :, None]
    return np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(1, 2)), axes=(1, 2)).real


@pytest.mark.parametrize(
    "shape, half_widths, expected",
    [
        ((2, 32, 32, 3), None, (16, 14, 12, 10, 8, 6, 4, 2)),
        ((1, 64, 64, 1), None, (32, 30, 28, 26)),
        ((1, 8, 8, 1), None, (4, 2, 2)),
        ((1, 9, 7, 2), None, (5, 3)),
        ((2, 9, 6, 1), (1, 2, 3, 4, 5, 99), (1, 2, 3, 4, 5, 99)),
        ((2, 6, 13, 2), (3, 5, 6, 7), (3, 5, 6, 7)),
    ],
)
def test_frequency_coding_is_numpys_low_pass_filter(shape, half_widths, expected):
    x = pixels(shape)
    coded = layers.FrequencyEncoder(len(expected), half_widths=half_widths)(x).numpy()
    assert coded.shape == (shape[0], len(expected), *shape[1:])
    for t, half_width in enumerate(expected):
        np.testing.assert_allclose(coded[:, t], filtered_by_numpy(x, half_width), atol=2e-6)


@pytest.mark.parametrize("shape", [(1, 8, 6, 2), (1, 7, 9, 1)])
def test_the_filters_gradient_is_its_adjoint(shape):
    # <A x, w> = <x, A* w> for numpy's A, in float64.
    x, upstream = pixels(shape, "float64"), pixels((1, 3, *shape[1:]), "float64") - 0.5
    encoder = layers.FrequencyEncoder(3, half_widths=(1, 2, 3), dtype="float64")
    forward = np.stack([filtered_by_numpy(x, half_width) for half_width in (1, 2, 3)], axis=1)
    adjoint = gradient(encoder, pixels(shape, "float64"), upstream).numpy()
    assert (x * adjoint).sum() == pytest.approx((forward * upstream).sum(), rel=1e-10)
    other = np.random.default_rng(1).normal(size=shape)
    wanted = sum((filtered_by_numpy(other, h) * upstream[:, h - 1]).sum() for h in (1, 2, 3))
    assert (other * adjoint).sum() == pytest.approx(wanted, rel=1e-10)


def test_an_image_without_detail_passes_every_filter():
    x = np.full((1, 8, 8, 3), 0.7, "float32")
    coded = layers.FrequencyEncoder(6)(x)
    np.testing.assert_allclose(coded, np.full((1, 6, 8, 8, 3), 0.7), rtol=1e-5)


# All codings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["direct", *RANDOM])
def test_the_gradient_is_the_sum_over_time_of_the_upstream_gradient(name):
    x, upstream = pixels(), pixels((2, 3, 8, 8, 3)) - 0.5
    actual = gradient(ENCODERS[name](), x, upstream)
    np.testing.assert_allclose(actual, upstream.sum(axis=1), rtol=1e-5, atol=1e-6)


@random_encoders
def test_each_call_draws_anew_in_inference_too(make):
    encoder, x = make(), pixels()
    draws = [encoder(x, training=False).numpy() for _ in range(2)]
    twice = tf.function(lambda x: (encoder(x), encoder(x)), autograph=False)
    for _ in range(2):
        draws += [draw.numpy() for draw in twice(tf.constant(x))]
    assert len({draw.tobytes() for draw in draws}) == 6


@random_encoders
def test_equal_seeds_draw_equally_and_others_do_not(make):
    one, two, other = make(), make(), type(make())(3, seed=2)
    x = pixels()
    first = one(x).numpy()
    np.testing.assert_array_equal(first, two(x))
    assert (first != other(x).numpy()).any()
    assert keras_internals.seed_generators(one) == [one.seed_generator]


@pytest.mark.parametrize("name", ENCODERS)
def test_xla_compiles_a_coding_and_its_gradient(name):
    encoder, compiled, x = ENCODERS[name](), ENCODERS[name](), pixels()
    upstream = pixels((2, 3, 8, 8, 3)) - 0.5

    @tf.function(jit_compile=True, autograph=False)
    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            coded = compiled(x)
            loss = tf.reduce_sum(upstream * coded)
        return coded, tape.gradient(loss, x)

    coded, slope = both(tf.constant(x))
    again, _ = both(tf.constant(x))
    if name in RANDOM:  # TensorFlow's generators differ between XLA and its own kernels
        assert (coded.numpy() != again.numpy()).any()
        assert np.mean(coded - x[:, None]) == pytest.approx(0.0, abs=0.05)
    else:
        np.testing.assert_allclose(coded, encoder(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(slope, gradient(encoder, x, upstream), rtol=1e-4, atol=1e-5)


@every_encoder
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_a_coding_has_the_dtype_of_its_policy(make, policy):
    encoder = make(dtype=policy)
    coded = encoder(pixels())
    assert coded.dtype == encoder.compute_dtype
    assert np.isfinite(coded.numpy().astype("float64")).all()
    assert encoder(keras.Input((8, 8, 3))).dtype == encoder.compute_dtype


@every_encoder
def test_a_coding_knows_its_shape(make):
    assert make()(keras.Input((8, 8, 3))).shape == (None, 3, 8, 8, 3)
    assert make().compute_output_shape((2, 8, 8, 3)) == make()(pixels()).shape


@every_encoder
def test_a_loaded_coding_starts_from_its_seed(make, tmp_path):
    inputs, x = keras.Input((8, 8, 3)), pixels()
    model = keras.Model(inputs, make()(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.layers[1].get_config() == model.layers[1].get_config()


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: layers.PoissonEncoder(0), "`timesteps`.*0"),
        (lambda: layers.SmoothingEncoder(2.5), "`timesteps`.*2.5"),
        (lambda: layers.FrequencyEncoder("4"), "`timesteps`.*'4'"),
        (lambda: layers.PoissonEncoder(2, seed=-1), "`seed`.*-1"),
        (lambda: layers.SmoothingEncoder(2, std=-0.1), "`std`.*-0.1"),
        (lambda: layers.FrequencyEncoder(2, half_widths=(4,)), "`half_widths` must hold 2.*(4,)"),
        (lambda: layers.FrequencyEncoder(2, half_widths=(4, 0)), "`half_widths`.*>= 1.*0"),
        (lambda: layers.FrequencyEncoder(2, half_widths=(4, 2.0)), "`half_widths`.*2.0"),
        (lambda: layers.FrequencyEncoder(1, half_widths=4), "`half_widths`.*4"),
        (lambda: layers.FrequencyEncoder(2)(np.ones((2, 5))), "takes images.*(2, 5)"),
        (lambda: layers.FrequencyEncoder(2)(keras.Input((None, 8, 3))), "static.*None"),
    ],
)
def test_an_argument_out_of_its_range_is_refused_by_name_and_value(make, words):
    with pytest.raises(ValueError, match=words):
        make()
