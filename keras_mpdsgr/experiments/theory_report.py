"""Compares theory with the model of a run folder: tables, theory.md and pictures."""

import pathlib

from keras_mpdsgr import analysis, data
from keras_mpdsgr.analysis import potential_plots, theory_tables
from keras_mpdsgr.errors import SetupError, setup_errors
from keras_mpdsgr.experiments.columns import Column, print_table
from keras_mpdsgr.experiments.progress import make_console
from keras_mpdsgr.experiments.run import Run
from keras_mpdsgr.experiments.run_names import short_names
from keras_mpdsgr.files import write_json


def write(run_dir, compare=(), output=None, limit=256, seed=0, data_dir=None):
    """Prints all tables and writes them and the pictures.

    Args:
        run_dir: Run folder of a finished training.
        compare: More run folders: the first one's potentials are laid under the model's own, and
            the evolution of all is drawn.
        output: Folder for tables and pictures; None for `theory` in the run folder.
        limit: Test images looked at.
        seed: Of all that is random.
        data_dir: Folder of the data sets; None for the run's own.
    """
    run = Run.finished(run_dir)
    others = [Run.finished(path) for path in compare]
    for one in (run, *others):
        if one.config.neuron != "lif":
            raise SetupError(f"{one.path} has no spiking neurons, which the theory is about.")
    images = run.images(data_dir, limit_train=1, limit_test=None)
    model = run.model()
    x, y = data.to_pixels(images.x_test[:limit]), images.y_test[:limit]
    output = pathlib.Path(output or run.path / "theory")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"cannot write to {output}: {error}") from error
    console = make_console()
    labels = short_names([one.path for one in (run, *others)])
    tables = []

    def show(table):
        tables.append(table)
        _print(console, table, str(output / "theory.md"))

    for table in theory_tables.gaussianity_tables(analysis.measure_gaussianity(model, x)):
        show(table)
    show(theory_tables.linearity_table(analysis.measure_linearity(model, x, y, seed=seed)))
    show(theory_tables.closed_form_table())
    show(theory_tables.one_layer_table(model, x, seed))
    show(theory_tables.all_layers_table(model, x, y))
    title = f"Membrane potentials on {len(x)} test images of {images.name}"
    _draw_potentials(output, model, x, others, labels, title)
    runs = _evolutions([run, *others], labels)
    if runs:
        show(theory_tables.link_table(runs))
        show(theory_tables.last_epoch_table(runs))
        title = "Omega and related values over the epochs, means over layers"
        potential_plots.plot_omega_evolution(output / "omega.png", runs, title)
        title = "The input gradient against values that may change it; a star marks the last epoch"
        potential_plots.plot_link(output / "link.png", runs, title=title)
    else:
        console.print(
            "These run folders hold no metrics.csv: the evolution and the link are left out."
        )
    head = f"# Theory against {run.path}\n\n{len(x)} test images of {images.name}."
    parts = [head, *(table.to_markdown() for table in tables)]
    (output / "theory.md").write_text("\n\n".join(parts) + "\n")
    held = {table.title: {"columns": table.columns, "rows": table.rows} for table in tables}
    write_json(output / "theory.json", held)
    console.print(f"tables and pictures: {output}", soft_wrap=True)


def _draw_potentials(output, model, x, others, labels, title):
    """The model's potentials; over those of the first other model, if there is one."""
    path = output / "potentials.png"
    if not others:
        found = analysis.potential_histograms(model, x)
        potential_plots.plot_potentials(path, found, labels=(labels[0], ""), title=title)
        return
    with setup_errors():
        before = analysis.potential_histograms(others[0].model(), x)
    edges = {layer.name: layer.edges for layer in before}
    after = analysis.potential_histograms(model, x, edges=edges)
    potential_plots.plot_potentials(path, before, after, (labels[1], labels[0]), title=title)


def _evolutions(folders, labels):
    runs = {}
    for folder, label in zip(folders, labels, strict=True):
        metrics = folder.metrics()
        if metrics:
            with setup_errors():
                runs[label] = analysis.Evolution.from_metrics(metrics)
    return runs


def _print(console, table, whole):
    first, *others = table.columns
    columns = [Column(first, number=False), *map(Column, others)]
    print_table(console, table.title, columns, table.rows, whole, table.note or None)
