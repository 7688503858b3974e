"""Pictures of tables and of figures made of curves."""

import math

from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from keras_mpdsgr.figures import save_figure, set_title
from trainers.reproduction import layout

_INCH = 3.2
_BAR_SHARE = 0.8
_LABELS_A_ROW = 7
_PAPER = "paper"
_IN_THE_MIDDLE = {"x": 0.5, "y": 0.5, "ha": "center", "va": "center", "fontsize": 8}


def plot_table(path, table, store):
    """A table as bars: a panel for each setting and data set, the paper's numbers as marks.

    Args:
        path: PNG file to write.
        table: The `Table`.
        store: The `Store`.
    """
    panels = {}
    for line in layout.lines(table, store):
        if line.computed:
            continue
        for group in dict.fromkeys(column.group for column in table.columns):
            # A measure that this line has no cells of takes no room.
            columns = [
                column
                for column in table.columns
                if column.group == group and line.cells[column.key].outcomes
            ]
            name = ", ".join(part for part in (group, line.setting) if part)
            series = panels.setdefault(name, {})
            for i, part in enumerate(table.parts):
                label = part or line.labels[-1]
                series[label] = [(column.name, line.cells[column.key], i) for column in columns]
    across = min(len(panels), 4 if len(panels) > 6 else 2)
    canvas, grid = _canvas(len(panels), across)
    labels = dict.fromkeys(label for series in panels.values() for label in series)
    colors = {label: f"C{number}" for number, label in enumerate(labels)}
    for axes, (name, series) in zip(grid, panels.items(), strict=False):
        _bars(axes, series, colors)
        axes.set_title(name, fontsize=9)
    found = [
        o for line in layout.lines(table, store) for c in line.cells.values() for o in c.outcomes
    ]
    _finish(canvas, grid[: len(panels)], _title(table, store, found), path)


def _bars(axes, series, colors):
    breadth = _BAR_SHARE / len(series)
    for k, (label, cells) in enumerate(series.items()):
        shown = [(n, cell, i) for n, (_, cell, i) in enumerate(cells) if cell.outcomes]
        places = [n + (k - (len(series) - 1) / 2) * breadth for n, _, _ in shown]
        outcomes = [cell.outcomes[i] for _, cell, i in shown]
        _draw_bars(axes, places, outcomes, breadth, label, colors[label])
        printed = [
            (place, cell.paper[i])
            for place, (_, cell, i) in zip(places, shown, strict=True)
            if cell.paper
        ]
        if printed:
            axes.plot(*zip(*printed, strict=True), "kD", markersize=3, label=_once(axes, _PAPER))
    names = [name for name, *_ in next(iter(series.values()))]
    axes.set_xticks(range(len(names)), names)
    axes.set(ylabel="accuracy, %", ylim=(0, 100))


def _draw_bars(axes, places, outcomes, breadth, label, color=None):
    values = [outcome.value or 0.0 for outcome in outcomes]
    axes.bar(
        places,
        values,
        breadth,
        label=label,
        color=color,
        yerr=_errors(outcomes),
        error_kw={"lw": 0.7},
    )


def _errors(outcomes):
    low = [_reach(outcome.value, outcome.low) for outcome in outcomes]
    high = [_reach(outcome.high, outcome.value) for outcome in outcomes]
    return [low, high]


def _reach(upper, lower):
    # At 0 and 100 % Wilson's ends may pass the share itself by a rounding.
    return 0.0 if upper is None or lower is None else max(upper - lower, 0.0)


def _once(axes, label):
    """The label the first time, none after."""
    return "_" if label in axes.get_legend_handles_labels()[1] else label


def plot_curves(path, figure, store):
    """A figure of curves, each point with its interval.

    Args:
        path: PNG file to write.
        figure: The `Figure`.
        store: The `Store`.
    """
    canvas, grid = _canvas(len(figure.panels), figure.across)
    found = [store.outcome(reading) for reading in figure.readings()]
    for axes, panel in zip(grid, figure.panels, strict=False):
        for k, curve in enumerate(panel.curves):
            outcomes = [store.outcome(reading) for reading in curve.readings]
            if panel.bars:
                breadth = _BAR_SHARE / len(panel.curves)
                shift = (k - (len(panel.curves) - 1) / 2) * breadth
                places = [n + shift for n in range(len(curve.values))]
                _draw_bars(axes, places, outcomes, breadth, curve.label)
                axes.set_xticks(range(len(curve.values)), curve.values)
            else:
                _draw_curve(axes, curve, outcomes)
        axes.set_title(panel.title, fontsize=9)
        axes.set(
            xlabel=panel.axis, ylabel=panel.unit, ylim=(0, 1 if "%" not in panel.unit else 100)
        )
    _finish(canvas, grid[: len(figure.panels)], _title(figure, store, found), path)


def _draw_curve(axes, curve, outcomes):
    there = [(x, o) for x, o in zip(curve.values, outcomes, strict=True) if o.value is not None]
    if not there:
        return
    places, shown = zip(*there, strict=True)
    (line,) = axes.plot(places, [o.value for o in shown], marker="o", label=curve.label)
    low, high = ([getattr(o, end) for o in shown] for end in ("low", "high"))
    if None not in low:
        axes.fill_between(places, low, high, alpha=0.15, color=line.get_color())
    if all(isinstance(value, int) for value in curve.values):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def _canvas(panels, across):
    down = math.ceil(panels / across)
    size = (across * 1.5 * _INCH, down * _INCH + 0.6)
    canvas = Canvas(figsize=size, layout="constrained")
    grid = list(canvas.subplots(down, across, squeeze=False).flat)
    for spare in grid[panels:]:
        spare.set_axis_off()
    return canvas, grid


def _title(one, store, outcomes):
    """The title, and a line on what accuracies are of."""
    counts = sorted({outcome.n for outcome in outcomes if outcome.n})
    images = " or ".join(f"{count:,}" for count in counts)
    title = layout.title(one, store.scale)
    if not counts:
        return title
    return f"{title}\n{images} test images, eps 8/255 unless said otherwise; 95 % intervals"


def _finish(canvas, grid, title, path):
    handles = {}
    for axes in grid:
        axes.tick_params(labelsize=7)
        axes.xaxis.label.set_size(8)
        axes.yaxis.label.set_size(8)
        if not axes.has_data():
            axes.text(s="no run of it has finished", transform=axes.transAxes, **_IN_THE_MIDDLE)
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if _PAPER in handles:  # last
        handles[_PAPER] = handles.pop(_PAPER)
    if handles:
        rows = math.ceil(len(handles) / _LABELS_A_ROW)
        columns = math.ceil(len(handles) / rows)
        canvas.legend(
            handles.values(), handles, loc="outside lower center", ncols=columns, fontsize=7
        )
    set_title(canvas, title, fontsize=9)
    save_figure(canvas, path)
