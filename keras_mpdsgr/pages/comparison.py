"""McNemar's paired test between runs, image by image."""

import itertools
import shlex

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments.attack_config import AttackConfig
from keras_mpdsgr.experiments.settings import command_line

_SIGNIFICANT = 0.05
_ATTACK = ["python", "-m", "trainers.attack"]
_OF_A_MODEL = ("run_dir", "model_file", "dataset", "results_dir", "data_dir")


def comparison(runs):
    """Every pair of runs, on the reports that are comparable; None for a single run."""
    if len(runs) < 2:
        return None
    pairs = [_pair(one, other) for one, other in itertools.combinations(runs, 2)]
    tests = sum(len(report["rows"]) for pair in pairs for report in pair["reports"])
    return {"pairs": pairs, "tests": tests}


def _pair(one, other):
    reports = _matched(one, other)
    return {
        "one": one,
        "other": other,
        "reports": [_compared(one, other, *matched) for matched in reports],
        "datasets": _datasets(one, other),
        "commands": [] if reports or _datasets(one, other) else _missing(one, other),
    }


def _datasets(one, other):
    """The data sets of two runs, where they have none in common; else None."""
    ours, theirs = _datasets_of(one), _datasets_of(other)
    apart = ours and theirs and not ours & theirs
    return (", ".join(sorted(ours)), ", ".join(sorted(theirs))) if apart else None


def _datasets_of(run):
    """The data sets that a run was attacked on; before any attack, the one it was trained on."""
    told = {r.config["dataset"] for r in run.reports.values() if "dataset" in r.config}
    return told or ({run.config.dataset} if run.config is not None else set())


def _matched(one, other):
    """The reports of two runs that tell of the same images and eps, the likest first.

    Each report is in one pair at most. Their settings count, not the names of their files.
    """
    found = []
    for name, held in one.reports.items():
        for its_name, its in other.reports.items():
            try:
                tests = held.compare(its)
            except ValueError:  # not the same images, labels or eps
                continue
            found.append((name, its_name, tests))
    found.sort(key=lambda entry: (-len(entry[2]), entry[0] != entry[1]))
    matched = []
    for name, its_name, tests in found:
        used = any(name == before or its_name == after for before, after, _ in matched)
        if not used:
            matched.append((name, its_name, tests))
    return matched


def _compared(one, other, name, its_name, tests):
    rows = []
    for row, test in tests.items():
        better = one if test.only_first > test.only_second else other
        rows.append(
            {
                "name": row,
                "only_first": test.only_first,
                "only_second": test.only_second,
                "p": f"{test:.2g}",
                "better": better if test < _SIGNIFICANT else None,
            }
        )
    both = name if name == its_name else f"{name} and {its_name}"
    return {"name": both, "rows": rows, "left_out": tests.left_out}


def _missing(one, other):
    """The commands after which two runs have a report on the same images."""
    for run, lacking in ((one, other), (other, one)):
        for config in _attacks(run):
            made = _on(config, lacking)
            if made is not None:
                return [command_line(made.command())]
    both = [_on(AttackConfig(suite="strongest", checks=True), run) for run in (one, other)]
    return [command_line(config.command()) for config in both if config is not None]


def _attacks(run):
    """The configurations of `trainers.attack` that made a run's reports, the longest first."""
    by_size = sorted(run.reports.values(), key=lambda report: -len(report.records))
    for report in by_size:
        words = shlex.split(report.command or "")
        if words[:3] == _ATTACK:
            try:
                yield AttackConfig.from_words(words[3:])
            except SetupError:  # of a version that had other flags
                continue


def _on(config, run):
    """The same attack on another run; None for a `.keras` file that no command tells of."""
    alone = {"shard": None, "merge": False, "substitute": None}
    alone |= dict.fromkeys(_OF_A_MODEL)
    if run.config is not None:
        return config.replace(**alone | {"run_dir": run.path})
    its = next(_attacks(run), None)
    if its is None:
        return None
    alone |= {name: getattr(its, name) for name in _OF_A_MODEL}
    # Modules of the attacks, and those that the file needs.
    return config.replace(**alone, imports=tuple(dict.fromkeys((*config.imports, *its.imports))))
