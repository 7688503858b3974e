"""Omega of one layer of neurons, in four forms (paper, Eq. 10-17)."""

import functools

import tensorflow as tf

from keras_mpdsgr import keras_internals, overlap
from keras_mpdsgr.arguments import check_choice, check_number

OMEGA_FORMS = ("batch", "analytic", "scale_free", "sample")

# A dead channel has no variance; the square root needs a finite slope there.
_VARIANCE_FLOOR = 1e-12


def check_eta(eta):
    """Returns the weight of Omega in a loss, if it is in its range."""
    return check_number("eta", eta, "weight of Omega in the loss", least=0)


def check_form(name, form):
    """Returns a form of Omega, if there is such, given by the argument `name`."""
    return check_choice(name, form, OMEGA_FORMS)


def check_half_width(half_width):
    """Returns the half-width of the window that Omega counts, if None or in its range."""
    if half_width is None:
        return None
    meaning = "half-width of the window that Omega counts"
    return check_number("half_width", half_width, meaning, above=0)


def check_regularization(eta, form, half_width, form_name="omega_form"):
    """Returns weight, form and half-width of Omega in a loss, if each is in its range."""
    half_width = check_half_width(half_width)
    return check_eta(eta), check_form(form_name, form), half_width


def moments_of_form(form):
    """Which moments `dynamics.lif` has to deliver for a form of Omega."""
    return "current" if form == "analytic" else "membrane"


def sample_omega(membranes, variance, kappa, v_threshold):
    """Omega of the form `"sample"`: the mean of `max(0, 1 - |v| / (kappa sigma))`.

    The potentials themselves are counted, each by how near the threshold it is, where the other
    forms count a normal distribution of their moments. Like the form `"scale_free"` it stays the
    same where potential and threshold are merely scaled together.

    Args:
        membranes: Membrane potentials u, `(batch, time, ..., channels)`; v = u - v_threshold.
        variance: Their variance over batch and space, `(time, channels)`: sigma squared.
        kappa: Half-width of the window in standard deviations.
        v_threshold: Firing threshold.

    Returns:
        A scalar, the mean over batch, time, space and channels.
    """
    steps, channels = variance.shape
    width = _cast(kappa, variance.dtype) * tf.sqrt(variance + _VARIANCE_FLOOR)
    width = tf.reshape(width, (steps, *[1] * (len(membranes.shape) - 3), channels))
    return tf.reduce_mean(tf.nn.relu(1.0 - tf.abs(membranes - v_threshold) / width))


def layer_omega(
    mean, variance, form, half_width, neuron, tau, timesteps, reduce=True, constant_input=False
):
    """Mean over time steps and channels of Omega, the share of potentials inside the window.

    Args:
        mean, variance: Moments of the membrane potential, `(time, channels)`; for the form
            `"analytic"` of the input current, `(channels,)`.
        form: `"batch"`, `"analytic"` or `"scale_free"`.
        half_width: Half-width of the window around the threshold: in units of membrane potential,
            or in standard deviations for `"scale_free"`.
        neuron: The `dynamics.Neuron`.
        tau: Leak factor, a number or a tensor of shape `()` or `(time,)`.
        timesteps: Length of the window, for `"analytic"`.
        reduce: Whether to take the mean over time too; else the result is `(time,)`.
        constant_input: Whether all time steps get the same current, for `"analytic"`.

    Returns:
        A scalar tensor, or one value a time step. For the mean over l, c, t of Eq. 17 with unequal
        channel counts: this mean inside a layer, then the mean over layers.
    """
    settings = form, neuron, timesteps, reduce, constant_input
    half_width, tau = (_cast(number, mean.dtype) for number in (half_width, tau))
    if tf.inside_function():
        formula = _traced(mean.dtype, len(mean.shape), tau.shape, settings)
    else:
        formula = functools.partial(_omega, settings)
    return formula(mean, variance, half_width, tau)


def _cast(number, dtype):
    # tf.cast alone would take a Python number through float32.
    return tf.cast(number if tf.is_tensor(number) else tf.constant(number, tf.float64), dtype)


@functools.lru_cache
def _traced(dtype, rank, tau_shape, settings):
    # Many small operations, for each of a network's layers: traced and optimized once for all.
    moments = tf.TensorSpec([None] * rank, dtype)
    return keras_internals.function_of_its_own(
        functools.partial(_omega, settings),
        input_signature=[
            moments,
            moments,
            tf.TensorSpec((), dtype),
            tf.TensorSpec(tau_shape, dtype),
        ],
    )


def _omega(settings, mean, variance, half_width, tau):
    form, neuron, timesteps, reduce, constant_input = settings
    std = tf.sqrt(variance + _VARIANCE_FLOOR)
    if form == "analytic":
        mean, std = overlap.membrane_moments(
            mean,
            std,
            tau,
            timesteps,
            reset=neuron.reset,
            v_threshold=neuron.v_threshold,
            constant_input=constant_input,
        )
    distance = mean - neuron.v_threshold
    if form == "scale_free":
        omega = overlap.scale_free_overlap(distance, std, half_width)
    else:
        omega = overlap.overlap(distance, std, half_width)
    return tf.reduce_mean(omega) if reduce else tf.reduce_mean(omega, axis=-1)
