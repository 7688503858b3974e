"""The section on what was run: flags, versions, machine, commands."""

import shlex

_TINY = "tiny_imagenet"
_MISSING = object()


def setup(runs):
    """Flags side by side, then versions and machine."""
    return {
        "flags": _sides([run.flags for run in runs]),
        "environment": _sides([_environment(run.config) for run in runs]),
    }


def commands(runs, page_command):
    """The commands that made the reports, and this page."""
    made = []
    for run in runs:
        attacks = [report.config.get("command") for report in run.reports.values()]
        made.append((run, dict.fromkeys(filter(None, (_training_command(run), *attacks)))))
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


def _environment(config):
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
