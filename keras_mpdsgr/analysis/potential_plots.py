"""Pictures of membrane potentials: histograms, and how Omega and related values evolve."""

import math

import numpy as np
from matplotlib.figure import Figure

from keras_mpdsgr.analysis.evolution import correlate
from keras_mpdsgr.figures import TITLE_LINE, save_figure, set_title

_MOST_LAYERS, _MOST_STEPS = 3, 4
# Dots an inch: pictures of this size stay under 200 kB.
_DPI = 100
# Inches that one more row of the legend takes.
_LEGEND_ROW = 0.2
_WINDOW = {"color": "0.88", "zorder": 0}
_BEFORE = {"color": "tab:blue", "alpha": 0.35}
_AFTER = {"color": "tab:red", "linewidth": 1.4}
_PREDICTIONS = {
    "theorem": {"color": "black", "linestyle": "--", "linewidth": 1.0, "label": "Theorem 1"},
    "recursion": {
        "color": "tab:green",
        "linestyle": "-.",
        "linewidth": 1.0,
        "label": "recursion with resets",
    },
}
_EVOLUTION = {
    "omega": "Ω, true share in the window",
    "omega_batch": "Ω, Gaussian (Eq. 17)",
    "mean": "mean of v",
    "std": "deviation of v",
    "firing_rate": "firing rate",
    "lambda": "λ of tdBN",
    "beta": "β of tdBN",
}
_GRADIENT = "L1 of the input gradient"
_LINK = {key: _EVOLUTION[key] for key in ("omega", "lambda", "beta", "firing_rate")}


def plot_potentials(
    path, before, after=None, labels=("before", "after"), layers=None, steps=None, title=""
):
    """Histograms of v = u - v_th, a row a layer and a column a time step.

    The surrogate's window is shaded and the true Omega written into each panel. Theorem 1 and the
    recursion are drawn for `after` (for `before`, if it is alone), in their form for a constant
    current where the layer's is.

    Args:
        path: PNG file to write.
        before: What `potential_histograms` gave, drawn as an area.
        after: The same of another model, or of the same at another time, drawn as a line; None for
            none. For equal bins give `potential_histograms` the edges of the first:
            `edges={layer.name: layer.edges for layer in before}`.
        labels: What the two are called.
        layers: Names of the layers shown; by default three from the first to the last.
        steps: Time steps shown, from 1; by default four from the first to the last.
        title: Title.

    Raises:
        ValueError: If a layer or a time step is not there.
    """
    kept = {layer.name: layer for layer in before}
    others = {} if after is None else {layer.name: layer for layer in after}
    names = _chosen(
        "layers", layers, [n for n in kept if after is None or n in others], _MOST_LAYERS
    )
    count = len(next(iter(kept.values())).counts)
    steps = _chosen("steps", steps, list(range(1, count + 1)), _MOST_STEPS)
    size = (2.5 * len(steps) + 0.8, 1.9 * len(names) + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(names), len(steps), squeeze=False, sharex="row")
    for name, row in zip(names, grid, strict=True):
        for t, axes in zip(steps, row, strict=True):
            _potentials_panel(axes, kept[name], others.get(name), t - 1, labels)
        row[0].set_ylabel(f"{name}\ndensity", fontsize=9)
        row[0].set_xlim(*_without_ends(kept[name].edges))
    for t, axes in zip(steps, grid[0], strict=True):
        axes.set_title(f"t = {t}", fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("v = u - v_th", fontsize=9)
    _finish(figure, grid[0][0], title)
    save_figure(figure, path, _DPI)


def plot_omega_evolution(path, runs, title=""):
    """Omega and the values that may change it, by epoch, for several runs; means over layers.

    Args:
        path: PNG file to write.
        runs: From a run's label to its `Evolution`, at least one.
        title: Title.

    Raises:
        ValueError: If there is no run.
    """
    _check_runs(runs)
    figure = Figure(figsize=(12.5, 5.6), layout="constrained")
    panels = figure.subplots(2, 4).ravel()
    for axes, (key, name) in zip(panels, _EVOLUTION.items(), strict=False):
        for label, run in runs.items():
            axes.plot(run.epochs, run.over_layers(key), label=label, linewidth=1.4)
        axes.set_title(name, fontsize=10)
    for label, run in runs.items():
        panels[-1].plot(run.epochs, run.input_gradient_l1, label=label, linewidth=1.4)
    panels[-1].set_title(_GRADIENT, fontsize=10)
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    for axes in panels[4:]:
        axes.set_xlabel("epoch", fontsize=9)
    _finish(figure, panels[0], title)
    save_figure(figure, path, _DPI)


def plot_link(path, runs, first_epoch=1, title=""):
    """The input gradient against Omega, lambda, beta and the firing rate; one dot an epoch.

    Above each panel stand Pearson's r and Spearman's rho over the epochs of each run, in the run's
    colour. Their p is `correlate`'s, whose caution holds.

    Args:
        path: PNG file to write.
        runs: From a run's label to its `Evolution`, at least one.
        first_epoch: Epochs before it are left out: in the first few everything moves at once.
        title: Title.

    Raises:
        ValueError: If there is no run.
    """
    _check_runs(runs)
    figure = Figure(figsize=(13.5, 4.0 + 0.17 * len(runs)), layout="constrained")
    panels = figure.subplots(1, len(_LINK), sharey=True)
    for axes, (key, name) in zip(panels, _LINK.items(), strict=True):
        for k, (label, run) in enumerate(runs.items()):
            late = run.epochs >= first_epoch
            x, y = run.over_layers(key)[late], run.input_gradient_l1[late]
            (line,) = axes.plot(x, y, marker="o", markersize=3.5, linewidth=0.6, label=label)
            axes.plot(x[-1:], y[-1:], marker="*", markersize=11, color=line.get_color())
            found = correlate(x, y)
            axes.annotate(
                f"r {found.pearson:+.2f} (p {found.pearson_p:.1g}), "
                f"rho {found.spearman:+.2f} (p {found.spearman_p:.1g})",
                (0, 1),
                xytext=(0, 4 + 10 * (len(runs) - 1 - k)),
                xycoords="axes fraction",
                textcoords="offset points",
                color=line.get_color(),
                fontsize=7.5,
            )
        axes.set_xlabel(f"{name}, mean over layers", fontsize=9)
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel(_GRADIENT, fontsize=9)
    _finish(figure, panels[0], title)
    save_figure(figure, path, _DPI)


def _potentials_panel(axes, before, after, t, labels):
    half_width = before.half_width
    axes.axvspan(-half_width, half_width, label="surrogate's window", **_WINDOW)
    density = before.shares[t] / np.diff(before.edges)
    axes.stairs(density, before.edges, fill=True, label=labels[0], **_BEFORE)
    texts, last = [f"Ω {before.omega[t]:.2f}"], before
    if after is not None:
        density = after.shares[t] / np.diff(after.edges)
        axes.stairs(density, after.edges, label=labels[1], **_AFTER)
        texts.append(f"→ {after.omega[t]:.2f}")
        last = after
    middles = (last.edges[:-1] + last.edges[1:]) / 2
    for name, style in _PREDICTIONS.items():
        found = last.predicted.get(f"{name}_constant", last.predicted[name])
        axes.plot(middles[1:-1], (found.shares[t] / np.diff(last.edges))[1:-1], **style)
    axes.text(0.03, 0.95, " ".join(texts), transform=axes.transAxes, va="top", fontsize=8)
    axes.tick_params(labelsize=7)


def _finish(figure, axes, title):
    """A title, and a legend below the panels in as many rows as it needs; the figure grows."""
    lines = set_title(figure, title)
    handles, texts = axes.get_legend_handles_labels()
    for columns in range(len(texts), 0, -1):
        legend = figure.legend(
            handles, texts, loc="outside lower center", ncols=columns, fontsize=9
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
    rows = math.ceil(len(texts) / columns)
    grown = (rows - 1) * _LEGEND_ROW + lines * TITLE_LINE
    figure.set_figheight(figure.get_figheight() + grown)


def _without_ends(edges):
    """The range of the bins without the outermost, which hold the tails."""
    hair = 0.01 * (edges[1] - edges[0])
    return edges[1] + hair, edges[-2] - hair


def _chosen(argument, wanted, known, most):
    """Those asked for, if they are all there; by default a few, from the first to the last."""
    if wanted is None:
        shown = min(most, len(known))
        return [known[round(i)] for i in np.linspace(0, len(known) - 1, shown)]
    unknown = [item for item in wanted if item not in known]
    if unknown or not len(wanted):
        raise ValueError(
            f"`{argument}` must be of {', '.join(map(str, known))}. Received: {list(wanted)!r}."
        )
    return list(wanted)


def _check_runs(runs):
    if not runs:
        raise ValueError("`runs` must hold at least one run, from its label to an `Evolution`.")
