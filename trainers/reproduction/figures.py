"""Writes a figure: the picture, its numbers as CSV, and a Markdown page with title and notes."""

import csv
import io
import math

from keras_mpdsgr import analysis
from trainers.reproduction import layout, pictures

# Images whose membrane potentials are shown.
_SHOWN_IMAGES = 64
_EVOLUTION = ("omega", "omega_batch", "mean", "std", "firing_rate", "lambda", "beta")


def write_figure(folder, figure, store, recipe, attacker):
    """Writes `figure<name>.png`, `.csv` and `.md`.

    Args:
        folder: Folder to write to.
        figure: The `Figure`.
        store: The `Store`.
        recipe: The `Recipe`, for the notes.
        attacker: The `Attacker`, for figures that look into the models.
    """
    picture = folder / f"figure{figure.name}.png"
    if figure.name == "omega":
        rows = _draw_evolution(picture, figure, store)
    elif figure.name == "mpd":
        rows = _draw_potentials(picture, figure, store, attacker)
    else:
        pictures.plot_curves(picture, figure, store)
        rows = _points(figure, store)
    text = _csv(rows) if rows else "trouble\nno run of it has finished\n"
    layout.write(picture.with_suffix(".csv"), text)
    layout.write(picture.with_suffix(".md"), _page(figure, store, recipe, picture, rows))


def _points(figure, store):
    rows = []
    for panel in figure.panels:
        for curve in panel.curves:
            for value, reading in zip(curve.values, curve.readings, strict=True):
                outcome = store.outcome(reading)
                digits = 2 if "%" in panel.unit else 4
                rows.append(
                    {
                        "panel": panel.title,
                        "curve": curve.label,
                        panel_axis(figure): value,
                        "value": _number(outcome.value, digits),
                        "low": _number(outcome.low, digits),
                        "high": _number(outcome.high, digits),
                        "n": outcome.n or "",
                        "trouble": outcome.trouble,
                    }
                )
    return rows


def panel_axis(figure):
    """The heading of the places along the axes, where all panels share it, else `at`."""
    axes = {panel.axis for panel in figure.panels}
    return axes.pop() if len(axes) == 1 else "at"


def _draw_evolution(picture, figure, store):
    shown, rows = {}, []
    for label, run in _pairs(figure):
        recorded = store.folder(run).metrics()
        if store.failure(run) or not recorded:
            continue
        shown[label] = found = analysis.Evolution.from_metrics(recorded)
        means = {name: found.over_layers(name) for name in _EVOLUTION}
        means["input_gradient_l1"] = found.input_gradient_l1
        for i, epoch in enumerate(found.epochs):
            numbers = {name: _number(values[i], 5) for name, values in means.items()}
            rows.append({"run": label, "epoch": int(epoch), **numbers})
    if shown:
        title = layout.title(figure, store.scale)
        analysis.potential_plots.plot_omega_evolution(picture, shown, title)
    return rows


def _draw_potentials(picture, figure, store, attacker):

    shown, rows, edges = {}, [], None
    # The first seed: histograms of several networks would not be one distribution.
    for label, run in _pairs(figure)[:: len(next(iter(figure.pair.values())))]:
        if store.failure(run) or not store.trained(run):
            continue
        x, _ = attacker.test_images(run, _SHOWN_IMAGES)
        found = analysis.potential_histograms(attacker.model(run), x, edges=edges)
        edges = edges or {layer.name: layer.edges for layer in found}
        shown[label] = found
        rows += [row for layer in found for row in _by_time(label, layer)]
    if shown:
        before, after = (*shown.values(), None)[:2]
        analysis.potential_plots.plot_potentials(
            picture,
            before,
            after,
            labels=tuple(shown),
            layers=[layer.name for layer in before],
            steps=list(range(1, len(before[0].counts) + 1)),
            title=f"{layout.title(figure, store.scale)}, {_SHOWN_IMAGES} test images at most",
        )
    return rows


def _by_time(label, layer):
    theorem = layer.predicted["theorem"]
    for t in range(len(layer.omega)):
        yield {
            "run": label,
            "layer": layer.name,
            "t": t + 1,
            "omega": _number(layer.omega[t], 4),
            "mean": _number(layer.mean[t], 4),
            "std": _number(layer.std[t], 4),
            "mean of Theorem 1": _number(theorem.mean[t], 4),
            "std of Theorem 1": _number(theorem.std[t], 4),
        }


def _pairs(figure):
    several = any(len(runs) > 1 for runs in figure.pair.values())
    return [
        (f"{label}, seed {run.config.seed}" if several else label, run)
        for label, runs in figure.pair.items()
        for run in runs
    ]


def _page(figure, store, recipe, picture, rows):
    page = [f"# {layout.title(figure, store.scale)}", ""]
    if picture.is_file():
        page += [f"![{figure.caption}]({picture.name})", ""]
    if rows:
        page.append("| " + " | ".join(rows[0]) + " |")
        page.append("|" + " --- |" * len(rows[0]))
        page += ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows]
        page.append("")
    page += [f"- {note}" for note in layout.notes_of(figure, store, recipe)]
    return "\n".join(page) + "\n"


def _csv(rows):
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _number(value, digits):
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"
