"""A run's folder while it is trained: made, locked, checked against what is asked, written."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments.run import FORMAT, Run
from keras_mpdsgr.experiments.settings import command_line
from keras_mpdsgr.files import Lock, write_json

_PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "tensorflow-datasets", "keras-mpdsgr")
# What a process that was killed before it wrote config.json leaves behind.
_BEGINNINGS = {"lock", "results", "checkpoints", "part-config.json"}


class RunFolder(Run):
    """A `Run` that is written. A `with` statement releases its lock on exit."""

    _lock: Lock | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._lock is not None:
            self._lock.release()

    @classmethod
    def for_training(cls, config, lock=True, asked=None):
        """The folder of a configuration, ready for a run: new, or one with the same settings.

        Args:
            config: A `Settings`, as `ExperimentConfig`.
            lock: Whether to lock it, unless the run is done; not for a process that shares it.
            asked: Values by name that were asked for, in place of which the configuration holds
                what they became; written down if the folder is new. None for none.

        Raises:
            SetupError: If it holds a run with other settings or of another version, another
                process trains in it, or it cannot be written.
        """
        folder = cls(config.run_dir or default_path(config))
        folder._refuse_other_content()
        if not folder.done:
            folder._make(lock)
        try:
            if folder.config_path.is_file():
                folder._check_same(config)
            else:
                folder._write_config(config, asked)
        except BaseException:
            folder.__exit__()
            raise
        return folder

    @classmethod
    def of_chief(cls, config):
        """The folder that another process, the chief, has made ready for the same settings.

        Raises:
            SetupError: If it is not seen here, or the settings differ.
        """
        folder = cls(config.run_dir or default_path(config))
        if not folder.config_path.is_file():
            raise SetupError(
                f"this worker does not see the chief's run folder: no {folder.config_path} is "
                "there. Give all workers the same settings, with a `run_dir` that all of them see."
            )
        folder._check_same(config)
        return folder

    def _refuse_other_content(self):
        if self.config_path.is_file() or not self.path.is_dir():
            return
        if {entry.name for entry in self.path.iterdir()} - _BEGINNINGS:
            raise SetupError(f"{self.path} is not empty and holds no run. Give another `run_dir`.")

    def _make(self, lock):
        try:
            for part in (self.results, self.checkpoints):
                part.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"cannot write to the run folder {self.path}: {error}") from error
        if lock:
            self._lock = Lock(self.path / "lock", f"the run folder {self.path}")

    def _check_same(self, config):
        asked = config.identity()
        # A setting that is newer than the run had its default's effect.
        held = {**type(config)().identity(), **self._content["flags"]}
        for name, value in held.items():
            if name not in asked:
                raise SetupError(
                    f"{self.config_path} is of another version: it holds {name}={value}, which is "
                    "no setting here. Use the version that wrote it, or give another "
                    "`run_dir`."
                )
        # By the same rules as what is asked: a value may be written in another way today.
        for name, value in type(config).from_dict(held).identity().items():
            if value != asked[name]:
                raise SetupError(
                    f"{self.path} holds a run with other settings (`{name}`={value}, now "
                    f"{asked[name]}). Give another `run_dir`, or the same settings to resume it."
                )

    def _write_config(self, config, asked):
        flags, every = config.identity(), config.to_dict()
        content = {
            "format": FORMAT,
            "command": command_line(config.command()),
            "flags": flags,
            **({"asked": asked} if asked else {}),
            "places": {name: value for name, value in every.items() if name not in flags},
        }
        try:
            write_json(self.config_path, content | _surroundings())
        except OSError as error:
            raise SetupError(f"cannot write to the run folder {self.path}: {error}") from error

    def mark_done(self):
        self.done_path.touch()


def default_path(config):
    """Where a run lies that was given no folder: under runs/, named after its settings."""
    return pathlib.Path("runs") / f"{config.title()}-{config.key()[:8]}"


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
