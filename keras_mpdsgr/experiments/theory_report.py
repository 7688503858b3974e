"""Holds theory against the model of a run folder: tables on the screen, in theory.md, pictures."""

import pathlib

from rich.table import Table as RichTable
from rich.text import Text

from keras_mpdsgr import analysis, data, models
from keras_mpdsgr.analysis import theory_tables
from keras_mpdsgr.errors import SetupError, setup_errors
from keras_mpdsgr.analysis import potential_plots
from keras_mpdsgr.experiments.progress import make_console
from keras_mpdsgr.experiments.run_folder import EpochTable, RunFolder


def write(settings):
    """Prints all tables and writes them and the pictures.

    Args:
        settings: The flags' values, by name.
    """
    folder = RunFolder.existing(settings["run_dir"])
    others = [RunFolder.existing(path) for path in settings["compare"]]
    config = folder.config()
    data_dir = settings["data_dir"] or config.get("places", {}).get("data_dir")
    with setup_errors():
        images = data.load(config["flags"]["dataset"], data_dir, limit_train=1, limit_test=None)
        model = models.load(folder.model_path)
    x, y = data.to_pixels(images.x_test[: settings["limit"]]), images.y_test[: settings["limit"]]
    output = pathlib.Path(settings["output"] or folder.path / "theory")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"cannot write to {output}: {error}") from error
    console = make_console()
    labels = _labels([folder, *others])
    tables = []

    def show(table):
        tables.append(table)
        _print(console, table)

    for table in theory_tables.gaussianity_tables(analysis.measure_gaussianity(model, x)):
        show(table)
    show(
        theory_tables.linearity_table(
            analysis.measure_linearity(model, x, y, seed=settings["seed"])
        )
    )
    show(theory_tables.closed_form_table())
    show(theory_tables.one_layer_table(model, x, settings["seed"]))
    show(theory_tables.all_layers_table(model, x, y))
    _draw_potentials(output, model, x, others, labels)
    runs = _evolutions([folder, *others], labels)
    if runs:
        show(theory_tables.link_table(runs))
        show(theory_tables.last_epoch_table(runs))
        potential_plots.plot_omega_evolution(output / "omega.png", runs)
        potential_plots.plot_link(output / "link.png", runs)
    else:
        console.print("No metrics.csv in these run folders: no evolution, no link.")
    head = f"# Theory against {folder.path}\n\n{len(x)} test images of {images.name}."
    parts = [head, *(table.to_markdown() for table in tables)]
    (output / "theory.md").write_text("\n\n".join(parts) + "\n")
    console.print(f"tables and pictures: {output}", soft_wrap=True)


def _labels(folders):
    """The folders' own names, or their paths where two have the same name."""
    names = [folder.path.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder.path) for folder in folders]


def _draw_potentials(output, model, x, others, labels):
    """The model's potentials; over those of the first other model, if there is one."""
    path = output / "potentials.png"
    if not others:
        found = analysis.potential_histograms(model, x)
        potential_plots.plot_potentials(path, found, labels=(labels[0], ""))
        return
    with setup_errors():
        before = analysis.potential_histograms(models.load(others[0].model_path), x)
    edges = {layer.name: layer.edges for layer in before}
    after = analysis.potential_histograms(model, x, edges=edges)
    potential_plots.plot_potentials(path, before, after, (labels[1], labels[0]))


def _evolutions(folders, labels):
    runs = {}
    for folder, label in zip(folders, labels, strict=True):
        rows = EpochTable(folder.metrics_path).rows()
        if rows:
            with setup_errors():
                runs[label] = analysis.Evolution.from_rows(rows)
    return runs


def _print(console, table):
    # Text, not markup: E[h] is no tag.
    shown = RichTable(title=Text(table.title), title_justify="left", caption=Text(table.note))
    for column in table.columns:
        shown.add_column(Text(column), justify="right", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(word) for word in row))
    console.print(shown)
