"""The runs of a page: what their folders hold, and the names and colours they go by."""

import pathlib

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import Run

# Of the style sheet.
COLORS = 8


class PageRun:
    """A run as the page shows it.

    Args:
        run: The `experiments.Run`.
        number: Its place among the runs, from 0.
        name: The folder's name, with as many parents as tell it from the other runs.

    Attributes:
        run, name: As given.
        letter: By which charts and tables call it: A, B, ...
        color: Number of its colour in the style sheet.
        config, reports, sweeps, unread, metrics: As the `Run` has them, read once.
    """

    def __init__(self, run, number, name):
        self.run, self.name = run, name
        self.letter, self.color = _letter(number), number % COLORS
        self.config, self.metrics = run.config, run.metrics()
        self.reports, self.sweeps, self.unread = run.reports(), run.sweeps(), run.unread


def read(paths):
    """The `PageRun`s of some folders.

    Args:
        paths: Their paths.

    Raises:
        SetupError: If one is not a run folder, is given twice, or its training cannot be read.
    """
    resolved = [pathlib.Path(path).resolve() for path in paths]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise SetupError(f"{paths[index]} is given twice.")
    names = _short_names(resolved)
    return [PageRun(Run(path), *item) for path, item in zip(paths, enumerate(names), strict=True)]


def _letter(index):
    return chr(ord("A") + index) if index < 26 else _letter(index // 26 - 1) + _letter(index % 26)


def _short_names(paths):
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names
