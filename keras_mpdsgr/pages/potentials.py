"""The section on membrane potentials: a histogram a layer, with the surrogate's window."""

import numpy as np

from keras_mpdsgr import analysis, data
from keras_mpdsgr.pages.charts import Curve, chart

# Enough for a smooth histogram of every layer; all potentials are held in memory at once.
_IMAGES = 64
_BINS = 80


def potentials(runs, data_dir=None):
    """Histograms of every layer, runs in one chart; None where no network has spiking neurons.

    Args:
        runs: The `PageRun`s.
        data_dir: Folder of the data sets; None for each run's own.
    """
    found, refused = [], []
    spiking = [run for run in runs if run.config is not None and run.config.neuron == "lif"]
    if not spiking:
        return None
    for run in spiking:
        try:
            found.append((run, histograms(run.run, data_dir)))
        except (OSError, ValueError) as error:
            refused.append((run, str(error)))
    names = dict.fromkeys(name for _, layers in found for name in layers)
    return {
        "images": _IMAGES,
        "shown": [run for run, layers in found if layers],
        "layers": [
            _layer(name, [(run, layers[name]) for run, layers in found if name in layers])
            for name in names
        ],
        "refused": refused,
    }


def histograms(run, data_dir=None):
    """A `LayerHistogram` of a run's trained model on the first of its training images, by layer.

    Args:
        run: The `experiments.Run`.
        data_dir: Folder of the data sets; None for the run's own.

    Raises:
        ValueError, OSError: If model or data cannot be read.
    """
    model = run.model()
    images = run.images(data_dir, limit_train=min(run.config.limit_train or _IMAGES, _IMAGES))
    found = analysis.potential_histograms(model, data.to_pixels(images.x_train), _BINS)
    return {layer.name: layer for layer in found}


def density(layer):
    """Edges and heights of a `LayerHistogram`, over all time steps.

    The outermost bins, which count what lies beyond, too, are left out.
    """
    shares = layer.counts.sum(axis=0) / layer.counts.sum()
    return layer.edges[1:-1], (shares / np.diff(layer.edges))[1:-1]


def _layer(name, held):
    curves = []
    for run, layer in held:
        edges, heights = density(layer)
        curves.append(Curve(list(edges), [*heights, heights[-1]], run.color, steps=True))
    window = max(layer.half_width for _, layer in held)
    highest = max(max(curve.y) for curve in curves)
    picture = chart(
        f"Histogram of the membrane potentials of {name}",
        curves,
        "v = u \u2212 v_th",
        y_limits=(0, 1.05 * highest or 1.0),
        window=(-window, window),
    )
    inside = [(run, layer.omega.mean()) for run, layer in held]
    return {"name": name, "chart": picture, "inside": inside}
