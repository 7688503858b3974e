"""Measures the peak resident memory of training steps, each contender in a fresh process.

What the window costs is the peak less that of the same network on one image and one time step.
"""

import dataclasses
import os
import statistics
import tempfile

from benchmarks import machine, program, reporting, settings
from benchmarks.workers import Contestant

_NAMES = ["ours", "ours_omega", "ours_recompute", "ann"]
_STEPS = 3
# Large blocks go back to the system when they are freed, so that the peak is of what is held.
GIVE_BACK = ("MALLOC_MMAP_THRESHOLD_", str(2**18))


def main():
    os.environ.setdefault(*GIVE_BACK)
    peers = program.peers()
    cases = program.cases(batches=(64, 32), steps=(8,))
    names = ["ours", "ann"] if program.smoke() else _NAMES
    result = {"machine": machine.describe(), "steps": _STEPS, "settings": {}, "cases": []}
    for name in peers:
        result["settings"][name] = settings.candidates(name, False)
    for case in cases:
        entry = {"case": case.to_dict(), "title": case.title, "megabytes": {}}
        with program.rounds(f"peak memory, {case.title}", len(names + peers)) as shown:
            for done, name in enumerate(names + peers, start=1):
                entry["megabytes"][name] = least(name, case)
                shown(done)
        result["cases"].append(entry)
    result["ratios"] = _ratios(result, peers)
    program.finish("memory", result, _markdown(result), lambda axes: _draw(axes, result))


def least(name, case):
    """Megabytes of a contender in the setting that needs least: `imported`, `peak`, `window`."""
    small = dataclasses.replace(case, batch=1, timesteps=1)
    figures = []
    for options in settings.candidates(name, False):
        library, peak = _peak(name, case, options)
        _, constant = _peak(name, small, options)
        figures.append({"imported": library, "peak": peak, "window": peak - constant})
    return min(figures, key=lambda one: one["peak"])


def _peak(name, case, options):
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        contestant = Contestant(name, log, **options)
        try:
            imported = contestant.ask("build", case=case.to_dict())["megabytes"]
            peak = contestant.ask("memory", count=_STEPS)["megabytes"]
        finally:
            contestant.stop()
    return imported, peak


def _ratios(result, peers):
    pairs = {
        "memory_vs_ann": ("peak", "ours", "ann"),
        "recompute_window_memory": ("window", "ours_recompute", "ours"),
        **{f"memory_vs_{name}": ("peak", "ours", name) for name in peers},
        **{f"window_memory_vs_{name}": ("window", "ours", name) for name in peers},
    }
    return {
        name: statistics.median(
            entry["megabytes"][above][figure] / max(entry["megabytes"][below][figure], 1e-9)
            for entry in result["cases"]
        )
        for name, (figure, above, below) in pairs.items()
        if {above, below} <= result["cases"][0]["megabytes"].keys()
    }


def _markdown(result):
    return f"Peak resident memory of training steps\n\n{table(result)}"


def table(result):
    """The table of what was measured, in Markdown."""
    header = ("case", "who", "peak, MB", "of it the library", "of it the window")
    rows = [
        (entry["title"], reporting.LABELS[name], *(f"{figures[key]:.0f}" for key in figures))
        for entry in result["cases"]
        for name, figures in _ordered(entry["megabytes"])
    ]
    return reporting.table(header, rows)


def _ordered(megabytes):
    keys = ("peak", "imported", "window")
    return [(name, {key: one[key] for key in keys}) for name, one in megabytes.items()]


def _draw(axes, result):
    entry = result["cases"][0]
    names = list(entry["megabytes"])
    figures = list(entry["megabytes"].values())
    windows = [one["window"] for one in figures]
    rest = [one["peak"] - one["window"] for one in figures]
    labels = [reporting.LABELS[name] for name in names]
    axes.barh(labels, rest, label="library, weights, constants")
    axes.barh(labels, windows, left=rest, label="the window")
    axes.invert_yaxis()
    axes.set_xlabel("peak resident memory, MB")
    axes.set_title(f"Training step of VGG11, {entry['title']}")
    axes.legend(fontsize="small")


if __name__ == "__main__":
    program.run(main, __doc__)
