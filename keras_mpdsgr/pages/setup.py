"""The sections on what was run: flags, versions, machine, commands."""

from keras_mpdsgr.experiments.settings import command_line

_MISSING = object()


def setup(runs):
    """Flags side by side, then versions and machine; None where no training is known."""
    runs = [run for run in runs if run.config is not None]
    if not runs:
        return None
    return {
        "runs": runs,
        "flags": _sides([run.config.identity() for run in runs]),
        "environment": _sides([run.run.environment for run in runs]),
    }


def commands(runs, page_command):
    """The commands that made the reports, and this page."""
    made = []
    for run in runs:
        attacks = (report.command for report in run.reports.values() if report.command)
        training = () if run.config is None else (command_line(run.run.command()),)
        made.append((run, dict.fromkeys((*training, *attacks))))
    return {"runs": made, "page": page_command}


def _sides(dictionaries):
    """What each run has under each name."""
    rows = []
    for name in dict.fromkeys(name for one in dictionaries for name in one):
        texts = [_shown(one.get(name, _MISSING)) for one in dictionaries]
        rows.append({"name": name, "texts": texts, "differs": len(set(texts)) > 1})
    return rows


def _shown(value):
    if value is _MISSING:
        return "not there"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
