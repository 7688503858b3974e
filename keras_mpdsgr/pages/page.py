"""The page as a whole: sections in order, style and template around them, one file written."""

import importlib.resources
import os
import pathlib
import shlex

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.pages import comparison, potentials, robustness, runs, setup, training
from keras_mpdsgr.pages.markup import Markup, element, fill, join
from keras_mpdsgr.pages.parts import legend, several


def write(paths, output, histograms=True, data_dir=None):
    """Writes the page of some runs, whole or not at all.

    Args:
        paths: Run folders.
        output: The HTML file.
        histograms: Whether the models are loaded for histograms of their membrane potentials.
        data_dir: Folder of the data sets; None for each run's own.

    Raises:
        SetupError: If a folder is no run, a file in it cannot be read, or the page not be written.
    """
    output = pathlib.Path(output)
    _check_writable(output)
    shown = runs.read(paths)
    content = render(shown, _command(paths, output, histograms, data_dir), histograms, data_dir)
    beside = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        beside.write_text(content, encoding="utf-8")
        os.replace(beside, output)
    except OSError as error:
        raise SetupError(f"cannot write {output}: {error.strerror}.") from error
    finally:
        beside.unlink(missing_ok=True)


def render(shown, command, histograms=True, data_dir=None):
    """The page's HTML.

    Args:
        shown: The `Run`s.
        command: What made the page.
        histograms: Whether the models are loaded for histograms.
        data_dir: Folder of the data sets; None for each run's own.
    """
    sections = {
        "Summary": robustness.summary(shown),
        "Attacks": robustness.suites(shown),
        "Checks": robustness.checks(shown),
        "Comparison": comparison.comparison(shown),
        "Sweeps": robustness.sweeps(shown),
        "Images": robustness.pictures(shown),
        "Training": training.curves(shown),
        "Layers": training.layers(shown),
        "Potentials": potentials.section_of(shown, data_dir) if histograms else None,
        "Setup": setup.setup(shown),
        "Commands": setup.commands(shown, command),
    }
    sections = {word: content for word, content in sections.items() if content is not None}
    links = (element("li", element("a", word, href=f"#{word.lower()}")) for word in sections)
    return fill(
        _file("page.html"),
        title=f"Robustness of {several(len(shown), 'run')}: {', '.join(r.name for r in shown)}",
        style=Markup(_file("style.css")),
        legend=legend(shown),
        contents=element("ul", *links),
        sections=join(*sections.values()),
    )


def _file(name):
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _command(paths, output, histograms, data_dir):
    words = ["python", "-m", "trainers.report", *map(str, paths), "--output", str(output)]
    if not histograms:
        words.append("--nohistograms")
    if data_dir:
        words += ["--data_dir", str(data_dir)]
    return shlex.join(words)


def _check_writable(output):
    if output.is_dir():
        raise SetupError(f"cannot write {output}: it is a folder. Name a file.")
    if not output.parent.is_dir():
        raise SetupError(f"cannot write {output}: there is no folder {output.parent}.")
    if not os.access(output.parent, os.W_OK):
        raise SetupError(f"cannot write {output}: the folder {output.parent} is not writable.")
