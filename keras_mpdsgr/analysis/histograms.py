"""Histograms of membrane potentials, with what theory predicts for each bin."""

import dataclasses

import numpy as np
import scipy.special

from keras_mpdsgr.analysis.captured import captured_layers, predicted_moments
from keras_mpdsgr.arguments import check_integer

# Of all potentials of a layer, the share beyond either end of the bins, unless the window is wider.
_TAIL = 0.005
# Bins reach at least this many half-widths from the threshold.
_LEAST_REACH = 1.5


@dataclasses.dataclass(frozen=True)
class PredictedPotentials:
    """A prediction of `predicted_moments` beside a histogram.

    Attributes:
        mean, std: Of v = u - v_th, mean over channels, `(time,)`.
        shares: Share of potentials in each bin, `(time, bins)`: the mean over channels of each
            channel's normal; the outermost bins hold the tails.
    """

    mean: np.ndarray
    std: np.ndarray
    shares: np.ndarray


@dataclasses.dataclass(frozen=True)
class LayerHistogram:
    """Histogram of v = u - v_th of one layer at each time step, over images, space and channels.

    Attributes:
        name: The layer's name.
        edges: Of the bins, `(bins + 1,)`, in units of membrane potential, for all time steps.
        counts: `(time, bins)`; the outermost bins count what lies beyond, too.
        mean, std: Of v, `(time,)`.
        omega: True share in the surrogate's window, `(time,)`.
        half_width: Of that window, around 0.
        predicted: From `"theorem"`, `"recursion"` and so on to `PredictedPotentials`.
    """

    name: str
    edges: np.ndarray
    counts: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    omega: np.ndarray
    half_width: float
    predicted: dict[str, PredictedPotentials]

    @property
    def shares(self):
        """Share of potentials in each bin, `(time, bins)`."""
        return self.counts / self.counts.sum(axis=1, keepdims=True)


def potential_histograms(model, x, bins=60, edges=None, seed=0):
    """Histograms of a model's membrane potentials on images, in inference mode.

    Args:
        model: A Keras model with `LIFLayer`s.
        x: Images, `(n, ...)`, in [0, 1].
        bins: Number of bins, at least 3, between the layer's 0.5 % and 99.5 % quantiles, and no
            nearer to the threshold than 1.5 half-widths of the window.
        edges: From a layer's name to edges to be used instead: those of another model's
            histograms, say, to lay the two over each other.
        seed: Of a model that draws at random.

    Returns:
        A list of `LayerHistogram`, in call order.

    Raises:
        ValueError: If `bins` is out of its range, the images are not pixels in [0, 1], or the model
            has no spiking layer.

    Example:

    >>> from keras_mpdsgr import models
    >>> model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02)
    >>> first = potential_histograms(model, np.full((4, 8, 8, 1), 0.5), bins=10)[0]
    >>> first.counts.shape, first.counts.sum(axis=1).tolist()  # 4 images, 8 x 8 x 1 neurons
    ((2, 10), [256, 256])
    """
    check_integer("bins", bins, "of a histogram", least=3)
    edges = edges or {}
    return [
        _histogram(layer, bins, edges.get(layer.name)) for layer in captured_layers(model, x, seed)
    ]


def _histogram(layer, bins, edges):
    distance = np.asarray(layer.membranes, np.float64) - layer.neuron.v_threshold
    half_width, steps = layer.surrogate.half_width, distance.shape[1]
    by_step = np.moveaxis(distance, 1, 0).reshape(steps, -1)
    if edges is None:
        low, high = np.quantile(by_step, (_TAIL, 1.0 - _TAIL))
        reach = _LEAST_REACH * half_width
        edges = np.linspace(min(low, -reach), max(high, reach), bins + 1)
    else:
        edges = np.asarray(edges, np.float64)
    # Beyond the ends is in the outermost bins; the middle of a bin does not depend on rounding.
    middles = (edges[:-1] + edges[1:]) / 2.0
    inside = np.clip(by_step, middles[0], middles[-1])
    predicted = {
        name: _predicted(mean - layer.neuron.v_threshold, std, edges)
        for name, (mean, std) in predicted_moments(layer).items()
    }
    return LayerHistogram(
        name=layer.name,
        edges=edges,
        counts=np.stack([np.histogram(values, edges)[0] for values in inside]),
        mean=by_step.mean(axis=1),
        std=by_step.std(axis=1),
        omega=(np.abs(by_step) <= half_width).mean(axis=1),
        half_width=half_width,
        predicted=predicted,
    )


def _predicted(mean, std, edges):
    ends = np.concatenate([[-np.inf], edges[1:-1], [np.inf]])
    # A channel without variance lies in one bin.
    standard = (ends - mean[..., None]) / np.maximum(std, 1e-9)[..., None]
    shares = np.diff(scipy.special.ndtr(standard), axis=-1).mean(axis=1)
    return PredictedPotentials(mean.mean(axis=1), std.mean(axis=1), shares)
