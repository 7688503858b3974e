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
    """Metrics of each epoch, runs in one chart."""
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
    probed = [run for run in runs if run.layers]
    if not probed:
        return None
    columns = {key: values for key in _COLUMNS if (values := _values(probed, key))}
    names = dict.fromkeys(name for run in probed for name in run.layers)
    return {
        "probed": probed,
        "columns": [
            {"title": _COLUMNS[key], "range": f"{min(values):.3g} to {max(values):.3g}"}
            for key, values in columns.items()
        ],
        "rows": [
            (name, [_cell(name, key, limits(columns[key]), probed) for key in columns])
            for name in names
        ],
    }


def _values(runs, key):
    return [
        value
        for run in runs
        for layer in run.layers.values()
        for value in layer.get(key, {}).values()
        if not math.isnan(value)
    ]


def _cell(name, key, y_limits, runs):
    found, last = [], []
    for run in runs:
        by_epoch = run.layers.get(name, {}).get(key)
        if by_epoch:
            values = list(by_epoch.values())
            found.append(Curve(list(by_epoch), values, run.color))
            last.append((run, f"{values[-1]:.3f}"))
    title = f"{_COLUMNS[key]} of {name} over the epochs"
    return {"chart": sparkline(title, found, y_limits), "last": last}
