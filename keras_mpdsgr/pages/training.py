"""The sections on training: curves of the whole network, and layer by layer."""

import math

from keras_mpdsgr.pages.charts import Line, chart, limits, sparkline
from keras_mpdsgr.pages.markup import element, join
from keras_mpdsgr.pages.parts import badge, figure, label, legend, note, row, section, series, table

_CURVES = {
    "loss": "Loss, with eta times Omega and weight decay",
    "cross_entropy": "Cross-entropy",
    "accuracy": "Accuracy",
    "omega": "Omega, mean over layers",
    "firing_rate": "Firing rate, spikes a neuron and step",
    "input_gradient_l1": "L1 norm of the input gradient",
}
_LAYER_FIGURES = {
    "omega": "Omega",
    "lambda": "tdBN's lambda",
    "beta": "tdBN's beta",
    "firing_rate": "firing rate",
}


def curves(runs):
    """Figures of each epoch, runs in one chart."""
    trained = [run for run in runs if run.metrics]
    without = [label(run) for run in runs if not run.metrics]
    shown = [_curve(name, words, trained) for name, words in _CURVES.items()]
    shown = [chart for chart in shown if chart is not None]
    parts = []
    if shown:
        parts += [
            legend(trained),
            note(
                "Solid: training images, while the weights change. Dashed: test images, after the "
                "epoch. The input gradient is that of the cross-entropy on a fixed batch of "
                "training images, after the epoch."
            ),
            element("div", *shown, class_="charts"),
        ]
    if without:
        parts.append(note("No curves: ", *without))
    return section("training", "Training", *parts)


def _curve(name, words, runs):
    lines = []
    for run in runs:
        epochs = run.metrics["epoch"]
        for key, dashed in ((name, False), (f"val_{name}", True)):
            values = run.metrics.get(key)
            if values is not None and not all(map(math.isnan, values)):
                lines.append(
                    Line(epochs, values, series(run), "" if dashed else run.letter, dashed)
                )
    return figure(chart(words, lines, "epoch", whole_x=True), words) if lines else None


def layers(runs):
    """A table of small charts: layers downwards, figures across, runs in one chart."""
    probed = [run for run in runs if run.layers]
    if not probed:
        return None
    names = list(dict.fromkeys(name for run in probed for name in run.layers))
    figures = {key: words for key, words in _LAYER_FIGURES.items() if _values(probed, key)}
    ranges = {key: limits(_values(probed, key)) for key in figures}
    head = ["layer"]
    for key, words in figures.items():
        low, high = min(_values(probed, key)), max(_values(probed, key))
        span = element("span", f"{low:.3g} to {high:.3g}", class_="range")
        head.append(join(words, element("br"), span))
    rows = [
        row(name, *(_layer_cell(name, key, figures[key], ranges[key], probed) for key in figures))
        for name in names
    ]
    return section(
        "layers",
        "Layer by layer",
        legend(probed),
        note(
            "Over the epochs, from a probe of a fixed batch of training images in inference mode, "
            "mean over time. Omega is the true share of membrane potentials in the surrogate's "
            "window. One scale a column, given in its head; the figures are those of the last "
            "epoch. Omega also falls where lambda grows, which leaves the spikes as they were: "
            "read the four columns together."
        ),
        table(
            "Figures of each layer over the epochs", head, element("tbody", *rows), kind="layers"
        ),
    )


def _values(runs, key):
    return [
        value
        for run in runs
        for figures in run.layers.values()
        for value in figures.get(key, {}).values()
        if not math.isnan(value)
    ]


def _layer_cell(name, key, words, y_limits, runs):
    lines, last = [], []
    for run in runs:
        by_epoch = run.layers.get(name, {}).get(key)
        if by_epoch:
            values = list(by_epoch.values())
            lines.append(Line(list(by_epoch), values, series(run)))
            last.append(element("span", badge(run), f" {values[-1]:.3f}"))
    if not lines:
        return "none"
    return join(
        sparkline(f"{words} of {name} over the epochs", lines, y_limits),
        element("div", *last, class_="last"),
    )
