"""Reads run folders: everything that a page shows, checked as it comes in."""

import csv
import dataclasses
import math
import pathlib

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments.run_folder import RunFolder
from keras_mpdsgr.files import read_json
from keras_mpdsgr.pages.results import Result, is_sweep, read_sweep

# Of the style sheet.
COLORS = 8


@dataclasses.dataclass
class Run:
    """One run folder.

    Attributes:
        folder: The `RunFolder`.
        number: Its place among the runs, from 0.
        name: The folder's name, with as many parents as tell it from the other runs.
        config: What config.json holds.
        metrics: Figures of each epoch by name, equally long lists; `"epoch"` is one.
        layers: Figures of each layer by name and then by figure, means over time.
        reports: A `Result` for each report in results/, by file name.
        sweeps: An `evaluation.Sweep` for each, by file name.
        unknown: Names of JSON files in results/ that hold neither.
    """

    folder: RunFolder
    number: int
    name: str
    config: dict
    metrics: dict
    layers: dict
    reports: dict
    sweeps: dict
    unknown: list

    @property
    def letter(self):
        """By which charts and tables call it: A, B, ..."""
        return _letter(self.number)

    @property
    def color(self):
        """Number of its colour in the style sheet."""
        return self.number % COLORS

    @property
    def flags(self):
        return self.config["flags"]


def read(paths):
    """The `Run`s of some folders.

    Args:
        paths: Their paths.

    Raises:
        SetupError: If one is no run folder, is given twice, or holds a file that cannot be read.
    """
    paths = [pathlib.Path(path) for path in paths]
    resolved = [path.resolve() for path in paths]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise SetupError(f"{paths[index]} is given twice.")
    names = _short_names(resolved)
    return [
        _read_run(path, number, name)
        for number, (path, name) in enumerate(zip(paths, names, strict=True))
    ]


def _letter(index):
    return (
        chr(ord("A") + index) if index < 26 else f"{_letter(index // 26 - 1)}{_letter(index % 26)}"
    )


def _short_names(paths):
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def _read_run(path, number, name):
    folder = RunFolder(path)
    if not folder.config_path.is_file():
        raise SetupError(f"{path} is no run folder: there is no config.json in it.")
    config = folder.config()
    results, sweeps, unknown = {}, {}, []
    found = sorted(folder.results.glob("*.json")) if folder.results.is_dir() else []
    if (path / "results.json").is_file():  # as saved_models/ has it
        found.append(path / "results.json")
    for file in found:
        content = read_json(file)
        if Result.holds(content) and (content.get("config") or {}).get("shard"):
            continue  # part of a report, which --merge makes
        if Result.holds(content):
            results[file.stem] = Result.read(file, content)
        elif is_sweep(content):
            sweeps[file.stem] = read_sweep(file, content)
        else:
            unknown.append(file.name)
    metrics = _columns(_rows(folder.metrics_path))
    layers = _by_layer(_rows(folder.probe_path))
    return Run(folder, number, name, config, metrics, layers, results, sweeps, unknown)


def _rows(path):
    """Rows of a CSV file, without one that a kill cut short."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise SetupError(f"{path} cannot be read as CSV: {error}") from None
    return [
        row
        for row in rows
        if None not in row and None not in row.values() and (row.get("epoch") or "").isdigit()
    ]


def _columns(rows):
    if not rows:
        return {}
    return {name: [_number(row[name]) for row in rows] for name in rows[0]}


def _by_layer(rows):
    """Means over time: layer -> figure -> values by epoch."""
    sums: dict = {}
    for row in rows:
        layer = sums.setdefault(row.get("layer", ""), {})
        for name, text in row.items():
            if name in ("epoch", "layer", "t") or text == "":
                continue
            layer.setdefault(name, {}).setdefault(int(row["epoch"]), []).append(_number(text))
    return {
        layer: {
            name: {epoch: sum(values) / len(values) for epoch, values in by_epoch.items()}
            for name, by_epoch in figures.items()
        }
        for layer, figures in sums.items()
    }


def _number(text):
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
