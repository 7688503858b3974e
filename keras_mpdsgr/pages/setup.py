"""The section on what was run: flags, versions, machine, commands."""

import shlex

from keras_mpdsgr.pages.markup import element, join
from keras_mpdsgr.pages.parts import badge, label, mark, note, row, section, table

_TINY = "tiny_imagenet"


def setup(runs):
    """Flags side by side, those that differ first; then versions and machine."""
    flags = _sides([run.flags for run in runs])
    differing = {name: values for name, values in flags.items() if _differ(values)}
    parts = []
    if len(runs) > 1:
        if differing:
            parts.append(_table("Flags that differ", differing, runs))
        else:
            parts.append(note("The runs have the same flags."))
    around = _sides([_surroundings(run.config) for run in runs])
    parts += [
        element(
            "details",
            element("summary", "All flags"),
            _table("All flags of the training", flags, runs),
        ),
        element(
            "details",
            element("summary", "Versions, machine and commit"),
            _table("Versions, machine and commit", around, runs),
        ),
    ]
    return section("setup", "What was run", *parts)


def commands(runs, page_command):
    """The commands that made the figures, and this page."""
    parts = []
    for run in runs:
        made = [_training_command(run)]
        made += [r.config["command"] for r in run.results.values() if r.config.get("command")]
        parts.append(element("h3", label(run)))
        parts += [element("pre", element("code", command)) for command in dict.fromkeys(made)]
        if run.unknown:
            names = ", ".join(run.unknown)
            parts.append(note(f"Results that this page does not show: {names}."))
    parts.append(element("h3", "This page"))
    parts.append(element("pre", element("code", page_command)))
    return section("commands", "Commands", *parts)


def _table(caption, sides, runs):
    rows = []
    for name, values in sides.items():
        differs = _differ(values)
        cells = [mark(text, "differs") if differs else text for text in values]
        rows.append(row(name, *cells, kind="differs" if differs else None))
    head = ["name", *(join(badge(run), f" {run.name}") for run in runs)]
    return table(caption, head, element("tbody", *rows), kind="setup")


def _sides(dictionaries):
    names = dict.fromkeys(name for one in dictionaries for name in one)
    return {name: [_shown(one.get(name, _MISSING)) for one in dictionaries] for name in names}


_MISSING = object()


def _shown(value):
    if value is _MISSING:
        return "not there"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _differ(values):
    return len(set(values)) > 1


def _surroundings(config):
    told = {}
    for group in ("versions", "machine"):
        content = config.get(group)
        told |= content if isinstance(content, dict) else {}
    return {**told, "commit": config.get("commit")}


def _training_command(run):
    flags = run.flags
    program = "tiny_imagenet" if flags.get("dataset") == _TINY else "cifar"
    words = ["python", "-m", f"trainers.{program}"]
    for name, value in flags.items():
        if value is None:
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no{name}")
        elif isinstance(value, list):
            words.append(f"--{name}={','.join(map(str, value))}")
        else:
            words.append(f"--{name}={value}")
    words.append(f"--run_dir={run.folder.path}")
    return shlex.join(words)
