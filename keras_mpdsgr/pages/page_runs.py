"""The runs of a page: what their folders hold, and the names and colours they go by."""

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import Run
from keras_mpdsgr.experiments.model_results import ModelResults
from keras_mpdsgr.experiments.run_names import short_names

# Of the style sheet.
COLORS = 8


class PageRun:
    """A run as the page shows it.

    Args:
        run: The `experiments.Run`.
        number: Its place among the runs, from 0.
        name: What tells it from the other runs, as of `short_names`.

    Attributes:
        run, name: As given.
        letter: By which charts and tables call it: A, B, ...
        color: Number of its colour in the style sheet.
        config, metrics: As the `Run` has them, read once; None and empty for a `.keras` file.
        reports, sweeps, unread: Likewise.
        path: Of the folder, as given.
    """

    def __init__(self, run, number, name):
        self.run, self.name, self.path = run, name, str(run.path)
        self.letter, self.color = _letter(number), number % COLORS
        trained = isinstance(run, Run)
        self.config, self.metrics = (run.config, run.metrics()) if trained else (None, {})
        self.reports, self.sweeps, self.unread = run.read_results()


def read(paths):
    """The `PageRun`s of some folders.

    Args:
        paths: Their paths; also those of `.keras` files that were attacked, and of their results.

    Raises:
        SetupError: If one holds neither run nor results, or its training cannot be read, or if one
            is given twice.
    """
    runs = [_run(path) for path in paths]
    resolved = [run.path.resolve() for run in runs]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise SetupError(f"{paths[index]} is given twice.")
    return [
        PageRun(run, *item)
        for run, item in zip(runs, enumerate(short_names(resolved)), strict=True)
    ]


def _run(path):
    """The `Run` of a folder, or the `ModelResults` of a `.keras` file."""
    run = Run(path)
    if not run.config_path.is_file() and ModelResults.lie_in(path):
        return ModelResults(path)
    return run


def _letter(index):
    return chr(ord("A") + index) if index < 26 else _letter(index // 26 - 1) + _letter(index % 26)
