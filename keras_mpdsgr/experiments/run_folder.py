"""A run's folder: what was asked, what came of it, and how far it has got."""

import contextlib
import csv
import hashlib
import importlib.metadata
import io
import json
import os
import pathlib
import platform
import subprocess

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.files import Lock, read_json, replacing, write_json
from trainers import experiment_flags

_PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "tensorflow-datasets", "keras-mpdsgr")

# Of config.json and of what else lies in the folder; raised when an older program would misread it.
_FORMAT = 1
# What a process that was killed before it wrote config.json leaves behind.
_BEGINNINGS = {"lock", "results", "checkpoints", "part-config.json"}


class RunFolder:
    """The folder of one run.

    Holds config.json, metrics.csv (one row an epoch), probe.csv (layer by layer and time step by
    time step), tensorboard/, checkpoints/, model.keras, results/, lock and, at the end, `done`.
    In a `with` statement, the lock of a run in training is let go of at its end.

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
        self._lock: Lock | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._lock is not None:
            self._lock.release()

    @classmethod
    def for_training(cls, settings, lock=True):
        """The folder that these flags name, ready for a run: new, or one with the same flags.

        Args:
            settings: The flags' values, by name.
            lock: Whether to lock it, unless the run is done; not for a process that shares it.

        Raises:
            SetupError: If it holds a run with other flags or of another version, another process
                trains in it, or it cannot be written.
        """
        folder = cls(settings["run_dir"] or _default_path(settings))
        folder._refuse_other_content()
        if not folder.done:
            folder._make(lock)
        try:
            if folder.config_path.is_file():
                folder._check_flags(_identity(settings))
            else:
                folder._write_config(settings)
        except BaseException:
            folder.__exit__()
            raise
        return folder

    @classmethod
    def of_chief(cls, settings):
        """The folder that another process, the chief, has made ready for the same flags.

        Raises:
            SetupError: If it is not seen here, or the flags differ.
        """
        folder = cls(settings["run_dir"] or _default_path(settings))
        if not folder.config_path.is_file():
            raise SetupError(
                f"this worker does not see the chief's run folder: no {folder.config_path} is "
                "there. Give all workers the same flags, with a --run_dir that all of them see."
            )
        folder._check_flags(_identity(settings))
        return folder

    def _refuse_other_content(self):
        if self.config_path.is_file() or not self.path.is_dir():
            return
        if {entry.name for entry in self.path.iterdir()} - _BEGINNINGS:
            raise SetupError(f"{self.path} is not empty and holds no run. Give another --run_dir.")

    def _make(self, lock):
        try:
            for part in (self.results, self.checkpoints):
                part.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"cannot write to the run folder {self.path}: {error}") from error
        if lock:
            self._lock = Lock(self.path / "lock", f"the run folder {self.path}")

    def _check_flags(self, asked):
        defaults = experiment_flags.defaults()
        # A flag that is newer than the run had its default's effect.
        held = {**defaults, **self.config()["flags"]}
        for name in held:
            if name not in defaults and name not in asked:
                raise SetupError(
                    f"{self.config_path} is of another version: it holds --{name}={held[name]}, "
                    "which is no flag here. Go on with the version that wrote it, or give another "
                    "--run_dir."
                )
        for name in asked:
            if held.get(name) != asked[name]:
                raise SetupError(
                    f"{self.path} holds a run with other flags (--{name}={held.get(name)}, now "
                    f"{asked[name]}). Give another --run_dir, or the same flags to go on."
                )

    def _write_config(self, settings):
        places = {name: settings[name] for name in experiment_flags.PLACE_FLAGS}
        config = {"format": _FORMAT, "flags": _identity(settings), "places": places}
        try:
            write_json(self.config_path, config | _surroundings())
        except OSError as error:
            raise SetupError(f"cannot write to the run folder {self.path}: {error}") from error

    @classmethod
    def existing(cls, path):
        """The folder of a finished training.

        Raises:
            SetupError: If there is no trained model in it.
        """
        folder = cls(path)
        if not folder.config_path.is_file():
            raise SetupError(f"{path} is no run folder: there is no config.json in it.")
        if not folder.model_path.is_file():
            raise SetupError(
                f"{path} holds no trained model yet. Run its training command again to finish it."
            )
        return folder

    def config(self):
        """What config.json holds.

        Raises:
            SetupError: If it cannot be read, or is of a newer version.
        """
        config = read_json(self.config_path)
        form = config.get("format", 1) if isinstance(config, dict) else None
        if not isinstance(form, int) or not isinstance(config.get("flags"), dict):
            raise SetupError(f"{self.config_path} is damaged. Give another --run_dir.")
        if form > _FORMAT:
            raise SetupError(
                f"{self.config_path} is of a newer version (format {form}; here at most "
                f"{_FORMAT}). Go on with the version that wrote it, or give another --run_dir."
            )
        return config

    @property
    def done(self):
        return self._done.is_file()

    def mark_done(self):
        self._done.touch()


class EpochTable:
    """A CSV file of rows that begin with an epoch; cut back when a run goes on from before.

    Args:
        path: The file.
    """

    def __init__(self, path):
        self._path = pathlib.Path(path)

    def rows(self):
        """The rows that are whole, as dictionaries of strings.

        Raises:
            SetupError: If it is no such table.
        """
        if not self._path.is_file():
            return []
        try:
            text = self._path.read_bytes().decode()
            # A row that a kill or a full disk cut short has no end of line.
            whole = io.StringIO(text[: text.rfind("\n") + 1], newline="")
            rows = list(csv.DictReader(whole, strict=True))
            if not all(row["epoch"].isdigit() for row in rows):
                raise ValueError
        except (ValueError, KeyError, AttributeError, csv.Error):
            raise SetupError(f"{self._path} is damaged. Give another --run_dir.") from None
        return rows

    def cut(self, epochs):
        """Keeps the rows of the first `epochs` epochs."""
        kept = [row for row in self.rows() if int(row["epoch"]) <= epochs]
        if not kept:
            self._path.unlink(missing_ok=True)
            return
        with replacing(self._path) as beside, beside.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(kept[0]))
            writer.writeheader()
            writer.writerows(kept)

    def append(self, rows):
        """Adds rows, dictionaries with the same keys each time, and brings them to disk."""
        new = not self._path.is_file()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            if new:
                writer.writeheader()
            writer.writerows(rows)
            file.flush()
            with contextlib.suppress(OSError):  # no file of a disk, such as a pipe
                os.fsync(file.fileno())


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
