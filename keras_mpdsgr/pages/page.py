"""The page as a whole: sections in order, style and template around them, one file written."""

import importlib.resources
import os
import pathlib

import jinja2

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments.settings import command_line
from keras_mpdsgr.experiments.tables import radius
from keras_mpdsgr.files import replacing
from keras_mpdsgr.pages import (
    comparison,
    page_runs,
    potentials,
    robustness,
    setup,
    training,
    wording,
)


def write(paths, output=None, histograms=True, data_dir=None):
    """Writes the page of some runs, whole or not at all.

    Args:
        paths: Run folders, `.keras` files that were attacked, or folders of their results.
        output: The HTML file; None for report.html in the first run folder.
        histograms: Whether the models are loaded for histograms of their membrane potentials.
        data_dir: Folder of the data sets; None for each run's own.

    Returns:
        The path of the HTML file.

    Raises:
        SetupError: If a folder is not a run, or a file cannot be read or written.
    """
    shown = page_runs.read(paths)
    path = shown[0].run.path / "report.html" if output is None else pathlib.Path(output)
    _check_writable(path)
    content = render(shown, _command(paths, output, histograms, data_dir), histograms, data_dir)
    try:
        with replacing(path) as beside:
            beside.write_text(content, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"cannot write {path}: {error.strerror}.") from error
    return path


def render(shown, command, histograms=True, data_dir=None):
    """The page's HTML.

    Args:
        shown: The `PageRun`s.
        command: What made the page.
        histograms: Whether the models are loaded for histograms.
        data_dir: Folder of the data sets; None for each run's own.
    """
    sections = {  # by the name of their template; None where there is nothing to show
        "summary": robustness.summary(shown),
        "attacks": robustness.attacks(shown),
        "checks": robustness.checks(shown),
        "comparison": comparison.comparison(shown),
        "sweeps": robustness.sweeps(shown),
        "images": robustness.pictures(shown),
        "training": training.curves(shown),
        "layers": training.layers(shown),
        "potentials": potentials.potentials(shown, data_dir) if histograms else None,
        "setup": setup.setup(shown),
        "commands": setup.commands(shown, command),
    }
    style = importlib.resources.files(__package__).joinpath("style.css").read_text("utf-8")
    return (
        environment()
        .get_template("page.html")
        .render(
            runs=shown,
            sections={name: section for name, section in sections.items() if section is not None},
            style=style,
        )
    )


def environment():
    """The `jinja2.Environment` of the templates. Whatever is not theirs is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("display_name", "percent", "several"):
        made.filters[name] = getattr(wording, name)
    made.filters["radius"] = radius
    return made


def _command(paths, output, histograms, data_dir):
    words = ["trainers.report", *map(str, paths)]
    if output is not None:
        words += ["--output", str(output)]
    if not histograms:
        words.append("--nohistograms")
    if data_dir:
        words += ["--data_dir", str(data_dir)]
    return command_line(words)


def _check_writable(path):
    folder, reason = path.parent, ""
    if path.is_dir():
        reason = "it is a folder"
    elif not folder.is_dir():
        reason = f"there is no folder {folder}"
    elif not os.access(folder, os.W_OK):
        reason = f"the folder {folder} is not writable"
    if reason:
        raise SetupError(f"cannot write {path}: {reason}. Name another file by `output`.")
