"""Measures the peak resident memory of training steps, each contender in a fresh process.

What the window costs is the peak less that of the same network on one image and one time step.
"""

import os
import statistics

from benchmarks import machine, markdown
from benchmarks.timing import peak_memory, program, reporting, settings

_NAMES = ["ours", "ours_omega", "ours_recompute", "ann"]


def main():
    os.environ.setdefault(*peak_memory.GIVE_BACK)
    peers = program.peers()
    cases = program.cases(batches=(64, 32), steps=(8,))
    names = ["ours", "ann"] if program.smoke() else _NAMES
    result = {"machine": machine.describe(), "steps": peak_memory.STEPS}
    result |= {"settings": {}, "cases": []}
    for name in peers:
        result["settings"][name] = settings.candidates(name, False)
    for case in cases:
        entry = {"case": case.to_dict(), "title": case.title, "megabytes": {}}
        with program.rounds(f"peak memory, {case.title}", len(names + peers)) as shown:
            for done, name in enumerate(names + peers, start=1):
                entry["megabytes"][name] = peak_memory.least(name, case)
                shown(done)
        result["cases"].append(entry)
    result["ratios"] = _ratios(result, peers)
    program.finish("memory", result, _markdown(result), lambda axes: _draw(axes, result))


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
    return markdown.table(header, rows)


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
