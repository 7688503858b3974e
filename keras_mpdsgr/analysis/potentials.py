"""A probe of a network's membrane potentials on one fixed batch, comparable between runs."""

import dataclasses

import numpy as np
import tensorflow as tf

from keras_mpdsgr import dynamics
from keras_mpdsgr.arguments import check_model
from keras_mpdsgr.attacks import Target, losses
from keras_mpdsgr.attacks.compiled import CompiledFunctions
from keras_mpdsgr.inputs import check_attacked, check_fits
from keras_mpdsgr.layers.omega import layer_omega

# A smooth histogram needs no more.
_SAMPLE = 20_000


@dataclasses.dataclass(frozen=True)
class LayerPotentials:
    """Statistics of one layer of neurons; arrays run over the time steps, `(time,)`.

    Attributes:
        name: The layer's name.
        omega: True share of membrane potentials within the surrogate's half-width of the threshold.
        omega_batch: Omega of the Gaussian with each channel's moments, mean over channels (Eq. 17).
        omega_analytic: Omega from the moments of the input current, by the recursion.
        mean, std: Of v = u - v_th, over batch, space and channels.
        firing_rate: Spikes a neuron and time step.
        lambda_, beta: tdBN's, mean over channels; None without tdBN.
        sample: Values of v for a histogram, `(values,)`: all, or 20,000 drawn with replacement from
            the same places each time.
    """

    name: str
    omega: np.ndarray
    omega_batch: np.ndarray
    omega_analytic: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    firing_rate: np.ndarray
    lambda_: float | None
    beta: float | None
    sample: np.ndarray

    def over_time(self):
        """Every statistic as one number, its mean over time."""
        values = dataclasses.asdict(self)
        del values["name"], values["sample"]
        return {
            name.rstrip("_"): float(np.mean(value))
            for name, value in values.items()
            if value is not None
        }


class PotentialProbe:
    """Looks into a model on one fixed batch, in inference mode.

    It costs the same whether the model is regularised or not, so that runs can be compared.

    Args:
        model: A Keras model with `LIFLayer`s.
        x: Images, `(n, ...)`, in [0, 1].
        y: Labels, `(n,)`.

    Example:

    >>> import numpy as np
    >>> from keras_mpdsgr import models
    >>> model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02)
    >>> probe = PotentialProbe(model, np.full((4, 8, 8, 1), 0.5, "float32"), np.zeros(4, int))
    >>> probe.layers()[0].omega.shape
    (2,)
    """

    def __init__(self, model, x, y):
        check_model("model", model)
        self._x, self._y = (tf.constant(values) for values in check_attacked(x, y))
        check_fits(model, self._x, self._y)
        self._target = Target(model)
        self._functions = CompiledFunctions(model)
        self._named = []

    def layers(self):
        """A `LayerPotentials` for each layer of neurons, in call order."""
        statistics = tf.nest.map_structure(
            np.asarray, self._functions.call("statistics", self._trace)
        )
        layers = []
        for (name, norm), by_name in zip(self._named, statistics, strict=True):
            lambda_ = None if norm is None else float(np.mean(norm.lambda_))
            beta = None if norm is None else float(np.mean(norm.beta))
            layers.append(LayerPotentials(name=name, lambda_=lambda_, beta=beta, **by_name))
        return layers

    def input_gradient_norm(self):
        """L1 norm of the cross-entropy's gradient by one image, mean over the batch."""
        return float(self._functions.call("gradient", self._trace_gradient))

    def _trace(self):
        with dynamics.capture_potentials() as captured:
            self._target.logits(self._x)
        self._named = [(layer.name, layer.normalization) for layer in captured]
        return [
            _layer_statistics(layer) | {"sample": _sample(layer, seed)}
            for seed, layer in enumerate(captured)
        ]

    def _trace_gradient(self):
        with dynamics.gradient_mode():
            gradient, *_ = self._target.input_gradient(self._x, self._y, losses.cross_entropy)
        return tf.reduce_sum(tf.abs(gradient)) / tf.cast(tf.shape(self._y)[0], tf.float32)


def _sample(layer, seed):
    distance = tf.reshape(layer.membranes - layer.neuron.v_threshold, [-1])
    if distance.shape[0] is not None and distance.shape[0] <= _SAMPLE:
        return distance
    places = tf.random.stateless_uniform(
        [_SAMPLE], (0, seed), maxval=tf.size(distance), dtype=tf.int32
    )
    return tf.gather(distance, places)


def _layer_statistics(layer):
    distance = layer.membranes - layer.neuron.v_threshold
    half_width = layer.surrogate.half_width
    inside = tf.cast(tf.abs(distance) <= half_width, distance.dtype)
    others = [axis for axis in range(len(distance.shape)) if axis != 1]
    batch_and_space = others[:-1]
    mean, variance = tf.nn.moments(distance, others)
    membrane = tf.nn.moments(layer.membranes, batch_and_space)
    current = tf.nn.moments(layer.currents, list(range(len(distance.shape) - 1)))
    timesteps = layer.membranes.shape[1]
    common = {
        "half_width": half_width,
        "neuron": layer.neuron,
        "tau": layer.tau,
        "timesteps": timesteps,
        "reduce": False,
    }
    return {
        "omega": tf.reduce_mean(inside, others),
        "omega_batch": layer_omega(membrane[0], membrane[1], "batch", **common),
        "omega_analytic": _analytic_omega(layer.currents, current, common),
        "mean": mean,
        "std": tf.sqrt(variance),
        "firing_rate": tf.reduce_mean(layer.spikes, others),
    }


def _analytic_omega(currents, moments, common):
    """By the recursion for inputs equal at all steps where they are, else for independent ones."""
    constant = tf.reduce_all(tf.equal(currents, currents[:, :1]))
    mean, variance = moments
    return tf.where(
        constant,
        layer_omega(mean, variance, "analytic", **common, constant_input=True),
        layer_omega(mean, variance, "analytic", **common),
    )
