"""A saved model's folder: the model, what trained it, and the reports that its card shows."""

import json
import pathlib
import shlex
import shutil
import zipfile

import keras

from keras_mpdsgr import evaluation
from keras_mpdsgr.errors import SetupError, setup_errors, writing
from keras_mpdsgr.experiments.attack_config import AttackConfig
from keras_mpdsgr.experiments.run import Run
from keras_mpdsgr.experiments.settings import command_line
from keras_mpdsgr.files import read_json, replacing, write_json

HOME = "saved_models"
# Bytes of a model that is kept in the project's repository.
LARGEST = 5_000_000
FINAL = "final"
_TRAINERS = ("trainers.cifar", "trainers.tiny_imagenet")


def write(run_dir, out=None, reports=None, data_dir=None):
    """Makes the folder of a saved model from a run folder, or renews it in its place.

    The model is written without its optimizer and with its class names; where it is so already,
    its bytes stay.

    Args:
        run_dir: Folder of a finished training that has been attacked, or of a saved model.
        out: The folder; None for one of the run's name under saved_models/.
        reports: Names of the reports; None for all that the run has.
        data_dir: Folder of the data sets, of which a model saved without class names gets them;
            None for the run's own.

    Returns:
        The folder, as a `Run`.

    Raises:
        SetupError: If there is no trained model or no report, a report cannot be made again by a
            command, the model is too large, or `out` holds another one.
    """
    run = Run.finished(run_dir)
    folder = Run(out or pathlib.Path(HOME) / run.path.resolve().name)
    chosen = _chosen(run, reports)
    commands = {name: _command(run, folder, name, report) for name, report in chosen.items()}
    _refuse_other_content(run, folder)
    with writing(folder.path):
        folder.card_reports.mkdir(parents=True, exist_ok=True)
        _write_model(run, folder, data_dir)
        content = {**read_json(run.config_path), "command": training_command(run)}
        content["places"] = {"imports": list(run.imports)} if run.imports else {}
        write_json(folder.config_path, content)
        for name, report in chosen.items():
            report.command = commands[name]
            report.to_json(folder.card_reports / f"{name}.json")
        for path in folder.card_reports.glob("*.json"):
            if path.stem not in chosen:
                path.unlink()
    return Run(folder.path)


def card_reports(folder):
    """The reports of a saved model's card by name, that of its training first.

    Raises:
        SetupError: If there is none, or one is damaged.
    """
    paths = sorted(folder.card_reports.glob("*.json"), key=lambda p: (p.stem != FINAL, p.stem))
    if not paths:
        raise SetupError(
            f"{folder.path} has no reports/ of a card. Make them by `python -m trainers.card`."
        )
    return {path.stem: evaluation.Report.from_json(path) for path in paths}


def training_command(run):
    """The command that trains a run's network, without paths of the machine that it ran on."""
    places = {"run_dir": None}
    if run.config.dataset != "folder":
        places["data_dir"] = None
    return command_line(run.config.replace(**places).command())


def attack_config(name, report):
    """The `AttackConfig` that a report was made by; None for the report of a training.

    Args:
        name: Name of the report, for messages.
        report: The `Report`.

    Raises:
        SetupError: If it was made otherwise, or with a model that is not in the folder.
    """
    words = shlex.split(report.command or "")[2:]
    if words and words[0] in _TRAINERS:
        return None
    if not words or words[0] != "trainers.attack":
        raise SetupError(
            f"the report {name} was not made by a command of trainers.attack and cannot be made "
            f"again. Received: {report.command!r}. Leave it out by `reports`."
        )
    config = AttackConfig.from_words(words[1:])
    if config.substitute is not None:
        raise SetupError(
            f"the report {name} needs the model of `substitute`, which is not in the folder. Leave "
            "it out by `reports`."
        )
    return config


def _chosen(run, names):
    held = run.reports()
    for name in names or ():
        if name not in held:
            there = ", ".join(held) or "none"
            raise SetupError(f"`reports` must be of {run.path}: {there}. Received: {name!r}.")
    chosen = {name: held[name] for name in names or held}
    if not chosen:
        raise SetupError(
            f"{run.path} has no report for a card. Attack it first: python -m trainers.attack "
            f"--run_dir {shlex.quote(str(run.path))} --suite strongest"
        )
    return chosen


def _command(run, folder, name, report):
    """A report's command as others can run it: on the saved model, without paths of a machine."""
    config = attack_config(name, report)
    if config is None:
        return training_command(run)
    here = f"{HOME}/{folder.path.resolve().name}"
    whole = {"shard": None, "merge": False, "dry_run": False}
    return command_line(config.replace(run_dir=here, data_dir=None, **whole).command())


def _refuse_other_content(run, folder):
    path = folder.path
    if path.exists() and not folder.config_path.is_file():
        if not path.is_dir() or any(path.iterdir()):
            raise SetupError(f"{path} is not empty and holds no saved model. Give another `out`.")
        return
    if folder.config_path.is_file() and folder.config.identity() != run.config.identity():
        raise SetupError(f"{path} holds a model of other settings. Give another `out`.")


def _write_model(run, folder, data_dir):
    run.import_parts()
    with setup_errors():
        model = keras.saving.load_model(run.model_path, compile=False, safe_mode=True)
    ready = bool(model.class_names) and not _has_optimizer(run.model_path)
    if not model.class_names:
        model.class_names = run.images(data_dir, limit_train=1).class_names
    with replacing(folder.model_path) as beside:
        if ready:
            shutil.copyfile(run.model_path, beside)
        else:
            model.save(beside)
        size = beside.stat().st_size
        if size > LARGEST:
            raise SetupError(
                f"the model takes {size / 1e6:.1f} MB, and a saved model may take at most "
                f"{LARGEST / 1e6:.0f} MB. Train it at a smaller `width`."
            )


def _has_optimizer(path):
    with zipfile.ZipFile(path) as archive:
        return bool(json.loads(archive.read("config.json")).get("compile_config"))
