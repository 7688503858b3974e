"""The sections on training: curves of the whole network, and layer by layer."""

import math

from keras_mpdsgr.pages.charts import Curve, chart, limits, sparkline

_CURVES = {
    "loss": "Loss, with eta times Omega and weight decay",
    "cross_entropy": "Cross-entropy",
    "accuracy": "Accuracy",
    "omega": "Omega, mean over layers",
    "firing_rate": "Firing rate, spikes a neuron and step",
    "input_gradient_l1": "L1 norm of the input gradient",
}
_COLUMNS = {
    "omega": "Omega",
    "lambda": "tdBN's lambda",
    "beta": "tdBN's beta",
    "firing_rate": "firing rate",
}


def curves(runs):
    """Metrics of each epoch, runs in one chart; None where all are models of files."""
    if all(run.config is None for run in runs):
        return None
    trained = [run for run in runs if run.metrics]
    charts = []
    for name, title in _CURVES.items():
        found = [curve for run in trained for curve in _curves(name, run)]
        if found:
            charts.append(chart(title, found, "epoch", whole_x=True))
    without = [run for run in runs if not run.metrics]
    return {"charts": charts, "trained": trained, "without": without}


def _curves(name, run):
    for key, dashed in ((name, False), (f"val_{name}", True)):
        values = run.metrics.get(key)
        if values is not None and not all(map(math.isnan, values)):
            letter = "" if dashed else run.letter
            yield Curve(run.metrics["epoch"], values, run.color, letter, dashed)


def layers(runs):
    """A table of small charts: layers downwards, quantities across; None without a probe."""
    layers = dict.fromkeys(
        name.removesuffix("/omega")
        for run in runs
        for name in run.metrics
        if name.endswith("/omega")
    )
    columns = {key: values for key in _COLUMNS if (values := _values(runs, layers, key))}
    if not columns:
        return None
    return {
        "probed": [run for run in runs if _values([run], layers, "omega")],
        "columns": [
            {"title": _COLUMNS[key], "range": f"{min(values):.3g} to {max(values):.3g}"}
            for key, values in columns.items()
        ],
        "rows": [
            (layer, [_cell(layer, key, limits(columns[key]), runs) for key in columns])
            for layer in layers
        ],
    }


def _values(runs, layers, key):
    found = (run.metrics.get(f"{layer}/{key}", []) for run in runs for layer in layers)
    return [value for values in found for value in values if not math.isnan(value)]


def _cell(layer, key, y_limits, runs):
    curves, last = [], []
    for run in runs:
        if _values([run], [layer], key):
            values = run.metrics[f"{layer}/{key}"]
            curves.append(Curve(run.metrics["epoch"], values, run.color))
            last.append((run, f"{round(values[-1], 3) + 0:.3f}"))  # no -0.000
    title = f"{_COLUMNS[key]} of {layer} over the epochs"
    return {"chart": sparkline(title, curves, y_limits), "last": last}
