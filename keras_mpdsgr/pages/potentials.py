"""The section on membrane potentials: a histogram a layer, with the surrogate's window."""

import numpy as np

from keras_mpdsgr import analysis, data, models
from keras_mpdsgr.pages.charts import Line, chart
from keras_mpdsgr.pages.markup import element, join
from keras_mpdsgr.pages.parts import badge, figure, label, legend, note, section, series

# Enough for a smooth histogram of every layer; all potentials are held in memory at once.
_IMAGES = 64
_BINS = 80


def section_of(runs, data_dir=None):
    """Histograms of every layer, runs in one chart.

    Args:
        runs: The `Run`s.
        data_dir: Folder of the data sets; None for each run's own.
    """
    found, reasons = {}, []
    for run in runs:
        try:
            found[run.number] = histograms(run, data_dir)
        except (OSError, ValueError, TypeError, KeyError) as error:
            reasons.append(note("No histograms of ", label(run), f": {error}"))
    shown = [run for run in runs if found.get(run.number)]
    names = list(dict.fromkeys(name for run in shown for name in found[run.number]))
    charts = [_layer(name, shown, found) for name in names]
    parts = []
    if charts:
        parts += [
            legend(shown),
            note(
                f"Distance v of the membrane potential from the threshold, on {_IMAGES} training "
                "images at most, in inference mode, all time steps. Shaded: the surrogate's "
                "window, in which a gradient passes; the share inside is the layer's Omega. What "
                "lies outside the chart is counted but not drawn."
            ),
            element("div", *charts, class_="charts"),
        ]
    return section("potentials", "Membrane potentials", *parts, *reasons)


def histograms(run, data_dir=None):
    """A `LayerHistogram` of a run's trained model on the first of its training images, by layer.

    Args:
        run: The `Run`.
        data_dir: Folder of the data sets; None for the run's own.

    Raises:
        ValueError, OSError: If model or data cannot be read.
    """
    if not run.folder.model_path.is_file():
        raise ValueError("its training is not finished.")
    flags = run.flags
    places = run.config.get("places") or {}
    limit = min(flags.get("limit_train") or _IMAGES, _IMAGES)
    images = data.load(flags["dataset"], data_dir or places.get("data_dir"), limit_train=limit)
    model = models.load(run.folder.model_path)
    found = analysis.potential_histograms(model, data.to_pixels(images.x_train), _BINS)
    return {layer.name: layer for layer in found}


def density(layer):
    """Edges and heights of a `LayerHistogram`, over all time steps.

    The outermost bins, which count what lies beyond, too, are left out.
    """
    shares = layer.counts.sum(axis=0) / layer.counts.sum()
    return layer.edges[1:-1], (shares / np.diff(layer.edges))[1:-1]


def _layer(name, runs, found):
    having = [run for run in runs if name in found[run.number]]
    lines, shares = [], []
    for run in having:
        held = found[run.number][name]
        edges, heights = density(held)
        lines.append(Line(list(edges), [*heights, heights[-1]], series(run), steps=True))
        shares.append(element("span", badge(run), f" {held.omega.mean():.1%} inside"))
    window = max(found[run.number][name].half_width for run in having)
    highest = max(max(line.y) for line in lines)
    picture = chart(
        f"Histogram of the membrane potentials of {name}",
        lines,
        "v = u \u2212 v_th",
        y_limits=(0, 1.05 * highest or 1.0),
        window=(-window, window),
    )
    return figure(picture, join(name, element("div", *shares, class_="last")))
