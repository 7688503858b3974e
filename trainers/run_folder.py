"""A run's folder: what was asked, what came of it, and how far it has got."""

import csv
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess

from trainers import experiment_flags
from trainers.program import UsageError

_PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "tensorflow-datasets", "keras-mpdsgr")


class RunFolder:
    """The folder of one run.

    Holds config.json, metrics.csv (one row an epoch), probe.csv (layer by layer and time step by
    time step), tensorboard/, checkpoints/, model.keras, results/ and, at the end, `done`.

    Args:
        path: The folder; made if it is not there.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.config_path = self.path / "config.json"
        self.metrics_path = self.path / "metrics.csv"
        self.probe_path = self.path / "probe.csv"
        self.model_path = self.path / "model.keras"
        self.results = self.path / "results"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self._done = self.path / "done"

    @classmethod
    def for_training(cls, settings):
        """The folder that these flags name, ready for a run: new, or one with the same flags.

        Raises:
            UsageError: If it holds a run with other flags, or cannot be written.
        """
        folder = cls(settings["run_dir"] or _default_path(settings))
        asked = _identity(settings)
        if folder.config_path.is_file():
            # A flag that is newer than the run had its default's effect.
            held = {**experiment_flags.defaults(), **folder.config()["flags"]}
            differing = [name for name in asked if held.get(name) != asked[name]]
            if differing:
                name = differing[0]
                raise UsageError(
                    f"{folder.path} holds a run with other flags (--{name}={held.get(name)}, now "
                    f"{asked[name]}). Give another --run_dir, or the same flags to go on."
                )
            return folder
        if folder.path.is_dir() and any(folder.path.iterdir()):
            raise UsageError(
                f"{folder.path} is not empty and holds no run. Give another --run_dir."
            )
        try:
            for part in (folder.results, folder.checkpoints):
                part.mkdir(parents=True, exist_ok=True)
            places = {name: settings[name] for name in experiment_flags.PLACE_FLAGS}
            config = {"flags": asked, "places": places, **_surroundings()}
            folder.write_json(folder.config_path, config)
        except OSError as error:
            raise UsageError(f"cannot write to the run folder {folder.path}: {error}") from error
        return folder

    @classmethod
    def existing(cls, path):
        """The folder of a finished training.

        Raises:
            UsageError: If there is no trained model in it.
        """
        folder = cls(path)
        if not folder.config_path.is_file():
            raise UsageError(f"{path} is no run folder: there is no config.json in it.")
        if not folder.model_path.is_file():
            raise UsageError(
                f"{path} holds no trained model yet. Run its training command again to finish it."
            )
        return folder

    def config(self):
        """What config.json holds.

        Raises:
            UsageError: If it cannot be read.
        """
        try:
            config = json.loads(self.config_path.read_text())
            config["flags"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f"{self.config_path} is damaged. Give another --run_dir.") from None
        return config

    @property
    def done(self):
        return self._done.is_file()

    def mark_done(self):
        self._done.touch()

    @staticmethod
    def write_json(path, content):
        """Writes a JSON file, whole or not at all."""
        beside = path.with_name(path.name + ".part")
        beside.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(beside, path)


class EpochTable:
    """A CSV file of rows that begin with an epoch; cut back when a run goes on from before.

    Args:
        path: The file.
    """

    def __init__(self, path):
        self._path = pathlib.Path(path)

    def rows(self):
        """The rows, as dictionaries of strings."""
        if not self._path.is_file():
            return []
        with self._path.open(newline="") as file:
            return list(csv.DictReader(file))

    def cut(self, epochs):
        """Keeps the rows of the first `epochs` epochs."""
        rows = self.rows()
        kept = [
            row for row in rows if (row["epoch"] or "").isdigit() and int(row["epoch"]) <= epochs
        ]
        if len(kept) == len(rows):
            return
        beside = self._path.with_name(self._path.name + ".part")
        with beside.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(kept)
        os.replace(beside, self._path)

    def append(self, rows):
        """Adds rows, dictionaries with the same keys each time."""
        new = not self._path.is_file()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            if new:
                writer.writeheader()
            writer.writerows(rows)


def _identity(settings):
    # A folder of one's own has no other name than its place.
    places = set(experiment_flags.PLACE_FLAGS) - (
        {"data_dir"} if settings["dataset"] == "folder" else set()
    )
    return {name: value for name, value in settings.items() if name not in places}


def _default_path(settings):
    digest = hashlib.sha256(json.dumps(_identity(settings), sort_keys=True).encode()).hexdigest()
    name = "{dataset}-{model}-{surrogate}-eta{eta:g}-seed{seed}".format(**settings)
    return pathlib.Path("runs") / f"{name}-{digest[:8]}"


def _surroundings():
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    machine = {
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
    }
    return {"versions": versions, "machine": machine, "commit": _commit()}


def _commit():
    here = pathlib.Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None
