"""Omega, gain and spikes of a model whose tdBN is changed: what Omega does and does not measure."""

import contextlib
import dataclasses

import numpy as np
import tensorflow as tf

from keras_mpdsgr.analysis.captured import by_channel, captured_layers
from keras_mpdsgr.arguments import check_number
from keras_mpdsgr.layers.omega import layer_omega


@dataclasses.dataclass(frozen=True)
class NormalizedLayer:
    """A layer of neurons behind a changed tdBN; arrays run over the time steps, `(time,)`.

    Attributes:
        layer: The layer's name.
        lambda_, beta: tdBN's, mean over channels.
        omega: True share of potentials within the surrogate's half-width of the threshold.
        omega_batch, omega_analytic: Omega of the normal with each channel's moments of the
            potential, and of the moments that the recursion makes of the current's.
        omega_scale_free: Omega with a window of kappa standard deviations.
        gain: lambda alpha v_th E[h(v)], mean over channels: what a step's spikes pass on of a
            gradient to the normalised current, on average.
        gain_rms: Root of the mean over channels of (lambda alpha v_th)^2 E[h(v)^2]: the size of
            what is passed on, where contributions of either sign add up.
        firing_rate: Spikes a neuron.
        differing: Spikes that differ from those of the unchanged model, a count.
        flips: Share of spikes that the perturbation flips; None without one.
        neurons: Neurons at one time step, over all images.
    """

    layer: str
    lambda_: float
    beta: float
    omega: np.ndarray
    omega_batch: np.ndarray
    omega_analytic: np.ndarray
    omega_scale_free: np.ndarray
    gain: np.ndarray
    gain_rms: np.ndarray
    firing_rate: np.ndarray
    differing: np.ndarray
    flips: np.ndarray | None
    neurons: int


@contextlib.contextmanager
def changed_normalization(model, x, lambda_factor=1.0, distance_factor=1.0, shift=0.0, layers=None):
    """A scope in which the tdBN layers that feed a model's neurons have other weights.

    lambda -> lambda_factor lambda, beta -> v_th + distance_factor (beta - v_th) + shift.

    Args:
        model: A Keras model with tdBN before its neurons.
        x: Images, `(n, ...)`, in [0, 1], by the first of which it is found which tdBN feeds which
            neurons.
        lambda_factor, distance_factor: Positive.
        shift: In units of membrane potential; below 0 the neurons fire less.
        layers: Names of the layers of neurons whose tdBN is changed; None for all that have one.

    Raises:
        ValueError: If an argument is out of its range, or no layer of neurons is fed by tdBN.
    """
    change = _Change(lambda_factor, distance_factor, shift)
    with change.applied(_chosen(_behind_normalization(model, x[:1]), layers)):
        yield


def rescale_normalization(
    model,
    x,
    lambda_factor=1.0,
    distance_factor=1.0,
    shift=0.0,
    layers=None,
    perturbed=None,
    kappa=1.0,
):
    """How a model's neurons respond to a change of their tdBN, by `changed_normalization`.

    Three cases say what Omega measures:

    - `lambda_factor = distance_factor`: v of the first step is multiplied by it, so that no spike
      of it changes, in any layer, but by a rounding at the threshold (next to none for a power of
      two). Omega falls all the same as the factor grows, and the gain goes to lambda alpha v_th
      times the density of potentials at the threshold, which stays; its mean square grows in
      proportion to the factor. From the second step on the spikes differ, as a reset leads to 0
      whatever the scale.
    - `lambda_factor` alone: Omega falls, the gain rises.
    - `shift` below 0: Omega, gain and flips of the first step fall, as the neurons fire less.

    Args:
        model, x, lambda_factor, distance_factor, shift, layers: As of `changed_normalization`. The
            model is changed only while this runs.
        perturbed: The same images, perturbed: flips are counted between the two.
        kappa: Half-width of the scale-free window, in standard deviations.

    Returns:
        A list of `NormalizedLayer`, those behind a tdBN, changed or not, in call order.

    Raises:
        ValueError: As `changed_normalization`.

    Example:

    >>> from keras_mpdsgr import models
    >>> model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02)
    >>> x = np.random.default_rng(0).uniform(size=(4, 8, 8, 1))
    >>> before, after = (rescale_normalization(model, x, c, c)[0] for c in (1.0, 8.0))
    >>> bool(after.omega[0] < before.omega[0]), int(after.differing[0])
    (True, 0)
    """
    check_number("kappa", kappa, "half-width of the window, in standard deviations", above=0)
    change = _Change(lambda_factor, distance_factor, shift)
    before = _behind_normalization(model, x)
    with change.applied(_chosen(before, layers)):
        after = _behind_normalization(model, x)
        moved = [None] * len(after)
        if perturbed is not None:
            moved = _behind_normalization(model, perturbed)
        return [_layer(*three, kappa) for three in zip(before, after, moved, strict=True)]


@dataclasses.dataclass(frozen=True)
class _Change:
    lambda_factor: float
    distance_factor: float
    shift: float

    def __post_init__(self):
        check_number("lambda_factor", self.lambda_factor, "of tdBN's lambda", above=0)
        check_number(
            "distance_factor", self.distance_factor, "of tdBN's beta less the threshold", above=0
        )
        check_number("shift", self.shift, "added to beta, in units of membrane potential")

    @contextlib.contextmanager
    def applied(self, captured):
        """A scope in which these layers' tdBN is changed; afterwards its weights are restored."""
        weights = [(layer.normalization.lambda_, layer.normalization.beta) for layer in captured]
        held = [tuple(np.asarray(weight).copy() for weight in pair) for pair in weights]
        try:
            for layer, (scale, offset) in zip(captured, weights, strict=True):
                v_threshold = layer.neuron.v_threshold
                scale.assign(scale * self.lambda_factor)
                offset.assign(
                    v_threshold + self.distance_factor * (offset - v_threshold) + self.shift
                )
            yield
        finally:
            for pair, values in zip(weights, held, strict=True):
                for weight, value in zip(pair, values, strict=True):
                    weight.assign(value)


def _behind_normalization(model, x):
    return [layer for layer in captured_layers(model, x) if layer.normalization is not None]


def _chosen(captured, names):
    known = [layer.name for layer in captured]
    if not known:
        raise ValueError(
            "`model` must have neurons that a TDBatchNormalization feeds: it has none."
        )
    unknown = sorted(set(names or ()) - set(known))
    if unknown or (names is not None and not names):
        raise ValueError(
            f"`layers` must name layers of neurons behind a tdBN: {', '.join(known)}. "
            f"Received: {names!r}."
        )
    return [layer for layer in captured if names is None or layer.name in names]


def _layer(before, after, moved, kappa):
    norm, half_width = after.normalization, after.surrogate.half_width
    distance = after.membranes - after.neuron.v_threshold
    steps = distance.shape[1]
    others = [axis for axis in range(len(distance.shape)) if axis != 1]
    membrane = tf.nn.moments(after.membranes, others[:-1])
    current = tf.nn.moments(after.currents, list(range(len(distance.shape) - 1)))

    def omega(moments, form, half_width):
        mean, variance = moments
        settings = (form, half_width, after.neuron, after.tau, steps)
        return np.asarray(layer_omega(mean, variance, *settings, reduce=False))

    scale = np.abs(np.asarray(norm.lambda_)) * norm.alpha * norm.v_threshold
    slopes = after.surrogate.derivative(distance)
    gains = [scale * by_channel(slopes[:, t]) for t in range(steps)]

    def share(where):
        return np.asarray(tf.reduce_mean(tf.cast(where, tf.float32), others))

    return NormalizedLayer(
        layer=after.name,
        lambda_=float(np.mean(norm.lambda_)),
        beta=float(np.mean(norm.beta)),
        omega=share(tf.abs(distance) <= half_width),
        omega_batch=omega(membrane, "batch", half_width),
        omega_analytic=omega(current, "analytic", half_width),
        omega_scale_free=omega(membrane, "scale_free", kappa),
        gain=np.array([gain.mean() for gain in gains]),
        gain_rms=np.array([np.sqrt(np.square(gain).mean()) for gain in gains]),
        firing_rate=share(after.spikes > 0),
        differing=np.asarray(tf.math.count_nonzero(after.spikes != before.spikes, others)),
        flips=None if moved is None else share(after.spikes != moved.spikes),
        neurons=int(tf.size(distance)) // steps,
    )
