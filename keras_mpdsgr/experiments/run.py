"""A run folder read back: its configuration, metrics, model and reports."""

import functools
import pathlib

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import imports as modules
from keras_mpdsgr.experiments import kinds, selection
from keras_mpdsgr.experiments.config import ExperimentConfig
from keras_mpdsgr.experiments.epoch_table import columns, table_rows
from keras_mpdsgr.experiments.results import HasResults
from keras_mpdsgr.files import read_json

# Of config.json and of what else lies in the folder; raised when an older program would misread it.
FORMAT = 1


class Run(HasResults):
    """The folder of one run.

    It holds config.json, metrics.csv (one row an epoch), probe.csv (one row an epoch, layer and
    time step), tensorboard/, checkpoints/, model.keras, results/, lock and, at the end, done. Where
    the best epoch was chosen, model.keras is that one's, and last.keras the last one's. A saved
    model's folder holds config.json, model.keras and reports/, those of its card. Of two reports of
    one name that in results/ counts, not the card's.

    Args:
        path: The folder.

    Attributes:
        path: The folder, a `pathlib.Path`.

    Example:

    >>> run = Run("saved_models/digits")
    >>> run.config.dataset, run.config.timesteps
    ('digits', 4)
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.config_path = self.path / "config.json"
        self.metrics_path = self.path / "metrics.csv"
        self.probe_path = self.path / "probe.csv"
        self.model_path = self.path / "model.keras"
        self.last_model_path = self.path / "last.keras"
        self.results = self.path / "results"
        self.card_reports = self.path / "reports"
        self.result_folders = [self.card_reports, self.results]
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.done_path = self.path / "done"

    def __repr__(self):
        return f"Run({str(self.path)!r})"

    @classmethod
    def finished(cls, path):
        """The run of a folder that holds a trained model.

        Raises:
            SetupError: If there is none in it.
        """
        run = cls(path)
        run.check_is_run()
        if not run.model_path.is_file():
            raise SetupError(
                f"{path} holds no trained model yet. Run its training command again to finish it."
            )
        return run

    def check_is_run(self):
        """Raises a SetupError unless the folder holds a run."""
        if not self.config_path.is_file():
            raise SetupError(f"{self.path} is not a run folder: it holds no config.json.")

    @property
    def done(self):
        """Whether it is trained and, where that was asked for, attacked."""
        return self.done_path.is_file()

    @functools.cached_property
    def config(self):
        """The `ExperimentConfig` that it was trained by.

        Raises:
            SetupError: If config.json is missing or damaged, or of another version.
        """
        held = {**self._content["flags"], **(self._content.get("places") or {})}
        try:
            return ExperimentConfig.from_dict(held)
        except (ValueError, TypeError) as error:
            raise SetupError(
                f"{self.config_path} is of another version: {error} Use the version that "
                "wrote it, or give another `run_dir`."
            ) from None

    @property
    def asked(self):
        """Values by name that it was begun with, where its configuration holds what they became.

        Such as `{"mixed_precision": "auto"}`; empty where there is no config.json.
        """
        return self._content.get("asked") or {} if self.config_path.is_file() else {}

    @property
    def imports(self):
        """The modules that its configuration names; none where there is none to be read."""
        try:
            places = self._content.get("places") or {}
            return kinds.MODULES.checked("imports", places.get("imports", ()))
        except (SetupError, AttributeError):
            return ()

    def import_modules(self):
        """Imports the modules that its configuration names.

        Raises:
            SetupError: If one is not there, or fails.
        """
        modules.load(self.imports, f"imports in {self.config_path}")

    def import_parts(self):
        """As `import_modules`; installed plug-ins are loaded too.

        Raises:
            SetupError: If a module is not there, or fails.
        """
        self.import_modules()
        from keras_mpdsgr import defenses, surrogates

        for registry in (defenses, surrogates):
            registry.names()

    @functools.cached_property
    def _content(self):
        self.check_is_run()
        content = read_json(self.config_path)
        form = content.get("format", 1) if isinstance(content, dict) else None
        if not isinstance(form, int) or not isinstance(content.get("flags"), dict):
            raise SetupError(f"{self.config_path} is damaged. Give another `run_dir`.")
        if form > FORMAT:
            raise SetupError(
                f"{self.config_path} is of a newer version (format {form}; here at most {FORMAT}). "
                "Use the version that wrote it, or give another `run_dir`."
            )
        return content

    @property
    def environment(self):
        """Versions, machine and commit that it was begun with, by name."""
        told = {}
        for group in ("versions", "machine"):
            content = self._content.get(group)
            told |= content if isinstance(content, dict) else {}
        return {**told, "commit": self._content.get("commit")}

    def command(self):
        """The words after `python -m` of the command that trains it, or resumes its training."""
        return self.config.replace(run_dir=str(self.path)).command()

    def model(self):
        """The trained Keras model; modules that its configuration names are imported before.

        One that was trained in half precision is in float32: so it is attacked, explained and
        exported, and is not compiled. `models.load(run.path)` keeps the layers' own types.

        Raises:
            SetupError: If there is none, or it cannot be loaded.
        """
        from keras_mpdsgr import models

        self.finished(self.path)
        self.import_parts()
        try:
            return models.load_to_judge(self.model_path)
        except (OSError, ValueError) as error:
            raise SetupError(str(error)) from error

    def images(self, data_dir=None, **limits):
        """The data set that it was trained on, an `ImageData`.

        Args:
            data_dir: Folder of the data sets; None for the run's own.
            **limits: `limit_train` and `limit_test`, as of `data.load`; the run's own.

        Raises:
            SetupError: If it cannot be loaded.
        """
        from keras_mpdsgr import data

        config = self.config
        self.import_modules()
        own = {"limit_train": config.limit_train, "limit_test": config.limit_test}
        try:
            return data.load(
                config.dataset,
                data_dir or config.data_dir,
                **{**own, **limits},
                image_size=config.image_size,
            )
        except (OSError, ValueError) as error:
            raise SetupError(str(error)) from error

    def metrics(self):
        """Numbers of each epoch by name, lists of equal length, as Keras' `History.history`.

        `"epoch"` is one of them, from 1; what was not measured is NaN.
        """
        return columns(table_rows(self.metrics_path))

    def best_epoch(self):
        """The `Epoch` whose model is kept; None where that is the last one, unmeasured.

        Of a run that is not finished: the best so far.
        """
        return selection.best(selection.measured(self.metrics()))

    def probe(self):
        """Numbers of the probe by name, lists of equal length: a value an epoch, layer and step.

        `"epoch"`, `"layer"` and `"t"` say which.
        """
        return columns(table_rows(self.probe_path), words=("layer",))
