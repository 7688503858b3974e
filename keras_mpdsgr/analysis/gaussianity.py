"""How far membrane potentials are from a normal distribution, and from the predicted one."""

import dataclasses
import math

import numpy as np
import scipy.special

from keras_mpdsgr import overlap
from keras_mpdsgr.analysis.captured import (
    by_channel,
    captured_layers,
    membranes_without_reset,
    predicted_moments,
)

# E[sqrt(n) D], D the Kolmogorov distance of n draws from their own law: sqrt(pi / 2) ln 2.
_KOLMOGOROV_MEAN = math.sqrt(math.pi / 2.0) * math.log(2.0)
# In units of membrane potential. A channel that varies less has no distribution to speak of.
_LIVE = 1e-6


@dataclasses.dataclass(frozen=True)
class NormalFit:
    """A normal distribution beside a layer's potentials; each number is a mean over channels.

    Attributes:
        distance: Kolmogorov distance between the potentials and the normal.
        mean, std: The normal's, of v = u - v_th, in units of membrane potential.
        omega: The normal's share in the surrogate's window (Eq. 13).
    """

    distance: float
    mean: float
    std: float
    omega: float


@dataclasses.dataclass(frozen=True)
class Gaussianity:
    """One layer of neurons at one time step.

    Attributes:
        layer: The layer's name.
        t: Time step, from 1.
        channels: Channels compared, those whose potential varies.
        samples: Potentials a channel.
        noise: Mean Kolmogorov distance of so many independent draws from their own law: distances
            near it say nothing.
        omega: True share of these channels' potentials in the surrogate's window.
        omega_without_reset: The same, had no spike reset them.
        with_reset: From name to `NormalFit`: `"own"`, the normal of the potentials' own moments;
            `"theorem"`, `"recursion"` and those two with `"_constant"`, as of `predicted_moments`.
        without_reset: The same (no recursion) for the same currents, had no spike reset the
            potentials.
    """

    layer: str
    t: int
    channels: int
    samples: int
    noise: float
    omega: float
    omega_without_reset: float
    with_reset: dict[str, NormalFit]
    without_reset: dict[str, NormalFit]


def kolmogorov_distance(samples, mean, std):
    """Kolmogorov distance between samples and a normal distribution, channel by channel.

    Args:
        samples: `(samples, channels)`.
        mean, std: Of the normal, `(channels,)`, std positive.

    Returns:
        `(channels,)`, in [0, 1]: the largest difference of the two distribution functions.

    Example:

    >>> kolmogorov_distance(np.zeros((5, 1)), np.zeros(1), np.ones(1)).tolist()
    [0.5]
    """
    ordered = np.sort(np.asarray(samples, np.float64), axis=0)
    expected = scipy.special.ndtr((ordered - mean) / std)
    count = len(ordered)
    reached = np.arange(1, count + 1)[:, None] / count
    above, below = reached - expected, expected - (reached - 1.0 / count)
    return np.maximum(above, below).max(axis=0)


def measure_gaussianity(model, x, seed=0):
    """Compares the potentials of every layer and time step with the normals of theory.

    Theorem 1 (Jiang et al., 2026) has them normal. At the first step they are the input current
    itself, so that the distance there is the current's own; beyond it, what the same currents give
    without reset is apart from what the reset adds.

    Args:
        model: A Keras model with `LIFLayer`s.
        x: Images, `(n, ...)`, in [0, 1]. A dense layer has n potentials a channel.
        seed: Of a model that draws at random.

    Returns:
        A list of `Gaussianity`, by layer, then time. A layer none of whose channels varies at a
        step has no row for it.

    Raises:
        ValueError: If the images are not pixels in [0, 1], or the model has no spiking layer.

    Example:

    >>> from keras_mpdsgr import models
    >>> model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02)
    >>> x = np.random.default_rng(0).uniform(size=(50, 8, 8, 1))
    >>> row = measure_gaussianity(model, x)[1]
    >>> row.layer, row.t, row.samples, sorted(row.without_reset)
    ('conv1_lif', 2, 3200, ['own', 'theorem', 'theorem_constant'])
    """
    return [row for layer in captured_layers(model, x, seed) for row in _rows(layer)]


def _rows(layer):
    without = membranes_without_reset(layer)
    predicted = predicted_moments(layer)
    predicted_without = predicted_moments(layer, reset=False)
    rows = []
    for t in range(layer.membranes.shape[1]):
        values, free = by_channel(layer.membranes[:, t]), by_channel(without[:, t])
        live = np.minimum(values.std(axis=0), free.std(axis=0)) > _LIVE
        if not live.any():
            continue
        rows.append(
            Gaussianity(
                layer=layer.name,
                t=t + 1,
                channels=int(live.sum()),
                samples=len(values),
                noise=_KOLMOGOROV_MEAN / math.sqrt(len(values)),
                omega=_share_inside(values[:, live], layer),
                omega_without_reset=_share_inside(free[:, live], layer),
                with_reset=_fits(values, predicted, t, live, layer),
                without_reset=_fits(free, predicted_without, t, live, layer),
            )
        )
    return rows


def _fits(samples, predicted, t, live, layer):
    samples = np.asarray(samples[:, live], np.float64)
    normals = {"own": (samples.mean(axis=0), samples.std(axis=0))}
    normals |= {name: (mean[t, live], std[t, live]) for name, (mean, std) in predicted.items()}
    return {name: _fit(samples, mean, std, layer) for name, (mean, std) in normals.items()}


def _fit(samples, mean, std, layer):
    std = np.maximum(std, _LIVE)
    distance = mean - layer.neuron.v_threshold
    omega = overlap.overlap(distance, std, layer.surrogate.half_width)
    return NormalFit(
        distance=float(kolmogorov_distance(samples, mean, std).mean()),
        mean=float(distance.mean()),
        std=float(std.mean()),
        omega=float(np.mean(omega)),
    )


def _share_inside(samples, layer):
    return float(np.mean(np.abs(samples - layer.neuron.v_threshold) <= layer.surrogate.half_width))
