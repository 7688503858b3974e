"""Spike codings: how an image becomes a sequence."""

import keras
import numpy as np
import tensorflow as tf

from keras_mpdsgr import dynamics
from keras_mpdsgr.arguments import check_integer, check_number
from keras_mpdsgr.layers.traces import TracedSettings

# Of pixels in [0, 1]; Cohen et al. (2019) use it most often for randomized smoothing.
_SMOOTHING_STD = 0.25


class _Encoder(TracedSettings, keras.layers.Layer):
    """What all codings share: a length, and a new axis behind the batch."""

    def __init__(self, timesteps, **kwargs):
        super().__init__(**kwargs)
        self.timesteps = check_integer("timesteps", timesteps, "length of the sequence", least=1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.timesteps, *input_shape[1:])

    def get_config(self):
        return {**super().get_config(), "timesteps": self.timesteps}


@keras.saving.register_keras_serializable("keras_mpdsgr")
class DirectEncoder(_Encoder):
    """Direct coding (DIR): the same input at every time step.

    May stand behind layers without a state (a convolution, tdBN), which then run once instead of
    once a time step, to the same result.

    Args:
        timesteps: Number of time steps T, at least 1.
        **kwargs: Those of `keras.layers.Layer`.

    Input shape: `(batch, ...)`.
    Output shape: `(batch, timesteps, ...)`.

    Raises:
        ValueError: If `timesteps` is not a whole number of at least 1.

    Example:

    >>> import keras
    >>> DirectEncoder(4)(keras.ops.ones((2, 8, 8, 3))).shape
    TensorShape([2, 4, 8, 8, 3])
    """

    def __init__(self, timesteps, **kwargs):
        super().__init__(timesteps, **kwargs)
        self.built = True

    def call(self, inputs):
        self.note_trace()
        # Not a stack of equal tensors: there Grappler (TF 2.21) takes the wrong output of an op.
        repeated = tf.tile(inputs[:, None], (1, self.timesteps, *[1] * (len(inputs.shape) - 1)))
        dynamics.note_passed(inputs, repeated)
        dynamics.note_repeated(inputs, repeated)
        return repeated


class _RandomEncoder(_Encoder):
    """A coding with new draws at each call, time step and pixel, in training and in inference."""

    def __init__(self, timesteps, seed=None, **kwargs):
        # autocast: draws and comparisons need more digits than half precision has.
        super().__init__(timesteps, autocast=False, **kwargs)
        self.seed = None if seed is None else check_integer("seed", seed, least=0)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.built = True

    def call(self, inputs):
        self.note_trace()
        x = _full_precision(inputs)
        shape = keras.ops.shape(x)
        drawn = self.draw(x[:, None], (shape[0], self.timesteps, *shape[1:]))
        return tf.cast(drawn, self.compute_dtype)

    def draw(self, x, shape):
        """The sequence, of the given shape, for an input with a time axis of length 1."""
        raise NotImplementedError

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable("keras_mpdsgr")
class PoissonEncoder(_RandomEncoder):
    """Poisson coding (POS): a pixel fires at each time step with its own value as probability.

    `s(t) = 1[uniform < x]`, drawn at each call, time step and pixel, in training and in
    inference. The gradient passes straight through: that of `x` is the sum over time of that of
    `s(t)`, also outside [0, 1].

    Args:
        timesteps: Number of time steps T, at least 1.
        seed: Seed of the draws, a whole number >= 0; None for one that differs from run to run.
        **kwargs: Those of `keras.layers.Layer`.

    Input shape: `(batch, ...)`, probabilities in [0, 1].
    Output shape: `(batch, timesteps, ...)`; spikes, zeros and ones.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import keras
    >>> spikes = PoissonEncoder(1000, seed=0)(keras.ops.full((1, 1), 0.25))
    >>> round(float(keras.ops.mean(spikes)), 1)
    0.2
    """

    def draw(self, x, shape):
        noise = keras.random.uniform(shape, dtype=x.dtype, seed=self.seed_generator)
        # x less itself is exactly 0 and has the gradient of x: the spikes stay whole.
        return tf.cast(noise < x, x.dtype) + (x - tf.stop_gradient(x))


@keras.saving.register_keras_serializable("keras_mpdsgr")
class SmoothingEncoder(_RandomEncoder):
    """Randomized smoothing coding (RSC; Wu et al., 2024): the input with new noise at each time.

    `s(t) = x + N(0, std^2)`, drawn at each call, time step and pixel, in training and in
    inference. Values are not clipped to [0, 1].

    Args:
        timesteps: Number of time steps T, at least 1.
        std: Standard deviation of the noise in the input's unit, not negative. Jiang et al. (2026)
            do not give theirs, and Wu et al.'s public repository holds no code to read it from. The
            default, 0.25 for pixels in [0, 1], is a usual level in randomized smoothing (Cohen et
            al., 2019).
        seed: Seed of the draws, a whole number >= 0; None for one that differs from run to run.
        **kwargs: Those of `keras.layers.Layer`.

    Input shape: `(batch, ...)`.
    Output shape: `(batch, timesteps, ...)`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import keras
    >>> noisy = SmoothingEncoder(1000, std=0.1, seed=0)(keras.ops.full((1, 1), 0.5))
    >>> round(float(keras.ops.mean(noisy)), 1), round(float(keras.ops.std(noisy)), 1)
    (0.5, 0.1)
    """

    def __init__(self, timesteps, std=_SMOOTHING_STD, seed=None, **kwargs):
        super().__init__(timesteps, seed, **kwargs)
        self.std = check_number("std", std, "standard deviation of the noise", least=0)

    def draw(self, x, shape):
        noise = keras.random.normal(shape, dtype=x.dtype, seed=self.seed_generator)
        return x + self.std * noise

    def get_config(self):
        return {**super().get_config(), "std": self.std}


@keras.saving.register_keras_serializable("keras_mpdsgr")
class FrequencyEncoder(_Encoder):
    """Frequency coding (FE of FEEL; Xu et al., 2024): a low-pass filter that narrows over time.

    At each time step the image's Fourier transform is cut to a centred square of low frequencies
    and transformed back, so that each time step is free of another band of noise. Deterministic and
    linear in the image.

    The paper's text at hand names no masks. These are the authors' public code's: at time t
    frequencies `-half_widths[t] <= k < half_widths[t]` of each axis are kept, the half-widths being
    16, 14, 12, ... at 32 pixels and 32, 30, 28, ... at 64. That code takes the magnitude of the
    inverse transform, here it is the real part, which keeps the sign and is linear.

    Args:
        timesteps: Number of time steps T, at least 1.
        half_widths: Half the side of the square that passes, one whole number >= 1 a time step, in
            cycles per image. None: half of the image's longer side at first, which is the image
            itself, then 2 fewer at each time step, down to 2.
        **kwargs: Those of `keras.layers.Layer`.

    Input shape: `(batch, height, width, channels)`, height and width static.
    Output shape: `(batch, timesteps, height, width, channels)`.

    Raises:
        ValueError: If an argument is out of its range, or the input is not a batch of images.

    Example:

    >>> import keras
    >>> x = keras.random.uniform((1, 8, 8, 1), seed=0)
    >>> y = FrequencyEncoder(2, half_widths=(4, 1))(x)
    >>> bool(keras.ops.all(keras.ops.isclose(y[:, 0], x, atol=1e-5)))
    True
    >>> bool(keras.ops.std(y[:, 1]) < keras.ops.std(x))
    True
    """

    def __init__(self, timesteps, half_widths=None, **kwargs):
        # autocast: there is no Fourier transform in half precision.
        super().__init__(timesteps, autocast=False, **kwargs)
        self.half_widths = _checked_half_widths(half_widths, self.timesteps)

    def build(self, input_shape):
        if len(input_shape) != 4 or None in input_shape[1:3]:
            raise ValueError(
                "FrequencyEncoder takes images (batch, height, width, channels) of static height "
                f"and width. Received: input_shape={tuple(input_shape)}."
            )
        self.built = True

    def call(self, inputs):
        self.note_trace()
        x = tf.transpose(_full_precision(inputs), (0, 3, 1, 2))
        spectrum = tf.signal.rfft2d(x)[:, None]
        passed = spectrum * tf.cast(self._masks(*x.shape[2:])[:, None], spectrum.dtype)
        filtered = tf.signal.irfft2d(passed, fft_length=x.shape[2:])
        return tf.cast(tf.transpose(filtered, (0, 1, 3, 4, 2)), self.compute_dtype)

    def _masks(self, height, width):
        longer = max(height, width)
        widths = self.half_widths or [
            max((longer + 1) // 2 - 2 * t, 2) for t in range(self.timesteps)
        ]
        return np.stack([_half_spectrum_mask(height, width, half) for half in widths])

    def get_config(self):
        return {**super().get_config(), "half_widths": self.half_widths}


def _full_precision(x):
    return tf.cast(x, "float64" if x.dtype == "float64" else "float32")


def _checked_half_widths(half_widths, timesteps):
    if half_widths is None:
        return None
    if not isinstance(half_widths, list | tuple) or len(half_widths) != timesteps:
        raise ValueError(
            f"`half_widths` must hold {timesteps} whole numbers, one a time step. "
            f"Received: {half_widths!r}."
        )
    return [
        check_integer("half_widths", value, "cycles per image", least=1) for value in half_widths
    ]


def _half_spectrum_mask(height, width, half_width):
    """The square `-half_width <= k < half_width` as a mask for `rfft2d`.

    The real part of the inverse transform is the inverse of the spectrum's Hermitian part, so the
    mask is the mean of the square and its mirror image: 1/2 on the border that one of them lacks.
    """
    rows, columns = (np.rint(np.fft.fftfreq(n) * n) for n in (height, width))
    inside = [(-half_width <= k) & (k < half_width) for k in (rows, columns)]
    square = np.outer(*inside).astype("float32")
    mirrored = np.roll(square[::-1, ::-1], 1, axis=(0, 1))
    return (0.5 * (square + mirrored))[:, : width // 2 + 1]
