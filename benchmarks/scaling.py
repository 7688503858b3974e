"""Times a training step as window, network and batch grow, and its memory as the window grows.

Each is fitted by a power of what grows: time proportional to T has the exponent 1.
"""

import dataclasses
import os

import numpy as np

from benchmarks import markdown
from benchmarks.timing import comparison, measuring, peak_memory, program, reporting

_METHOD = "train_step"
_AXES = {
    "timesteps": (1, 2, 4, 8, 16),
    "width": (0.125, 0.25, 0.5),
    "batch": (8, 16, 32, 64, 128),
}
_IN_MEMORY = ["ours", "ours_recompute"]
_TITLES = {"timesteps": "time steps T", "width": "width", "batch": "batch"}


def main():
    peers = program.peers()
    base = program.cases(batches=(32,), steps=(4,))[0]
    axes = {axis: values[:2] if program.quick() else values for axis, values in _AXES.items()}
    names, in_memory = ["ours", "ours_omega", "ann"], _IN_MEMORY
    if program.smoke():
        axes, names, in_memory = {"timesteps": (1, 2)}, ["ours", "ann"], []
    cases, axis_of = [], []
    for axis, values in axes.items():
        cases += [dataclasses.replace(base, **{axis: value}) for value in values]
        axis_of += [axis] * len(values)
    result = comparison.compare(names, peers, cases, [_METHOD], {_METHOD: "training step"})
    for entry, axis in zip(result["cases"], axis_of, strict=True):
        entry["axis"] = axis
    _add_memory(result, in_memory)
    result["exponents"] = exponents(result)
    result["ratios"] = {
        "train_vs_ann": comparison.median_ratio(result, _METHOD, "ours", "ann"),
        **{
            f"train_vs_{name}": comparison.median_ratio(result, _METHOD, "ours", name)
            for name in peers
        },
    }
    text = "Training step of VGG11 as it grows\n\n" + tables(result)
    program.finish("scaling", result, text, lambda axes: _draw(axes, result))


def _add_memory(result, names):
    """Measures the window's memory where the window grows; after the times, whose malloc is own."""
    os.environ.setdefault(*peak_memory.GIVE_BACK)
    entries = [entry for entry in result["cases"] if entry["axis"] == "timesteps"]
    with program.rounds("peak memory", len(names) * len(entries)) as shown:
        done = 0
        for entry in entries if names else ():
            case = comparison.case_of(entry)
            entry["megabytes"] = {}
            for name in names:
                entry["megabytes"][name] = peak_memory.least(name, case)
                done += 1
                shown(done)


def exponents(result):
    """By axis, the fitted power of each contender's median time, and of the window's memory.

    Args:
        result: What was measured: `cases`, each with its `axis`.

    Returns:
        A dictionary from axis to a dictionary from contender to exponent; `"memory"` is an axis
        too: how the window's megabytes grow with T. None for what is not above 0 throughout: where
        a GPU holds the tensors, the process's memory is noise.
    """
    found = {}
    for axis in dict.fromkeys(entry["axis"] for entry in result["cases"]):
        entries = [entry for entry in result["cases"] if entry["axis"] == axis]
        grows = [entry["case"][axis] for entry in entries]
        medians = [
            {name: np.median(values) for name, values in entry["seconds"][_METHOD].items()}
            for entry in entries
        ]
        found[axis] = _powers(grows, medians)
        if all("megabytes" in entry for entry in entries):
            windows = [
                {name: figures["window"] for name, figures in entry["megabytes"].items()}
                for entry in entries
            ]
            found["memory"] = _powers(grows, windows)
    return found


def _powers(grows, values):
    """The slope of the logarithm of each contender's values, by name; None without logarithms."""
    found = {}
    for name in values[0]:
        own = np.array([one[name] for one in values])
        slope = np.polyfit(np.log(grows), np.log(own), 1)[0] if (own > 0).all() else None
        found[name] = None if slope is None else float(slope)
    return found


def tables(result):
    """Times case by case, the exponents, and the window's memory, in Markdown."""
    header = ("case", "who", "ms a step, median [quartiles]", "times ours")
    parts = [markdown.table(header, comparison.rows(result, _METHOD))]
    powers = result["exponents"]
    axes = [axis for axis in _TITLES if axis in powers]
    names = powers[axes[0]]
    rows = [
        (reporting.LABELS[name], *(_shown(powers[axis][name]) for axis in axes)) for name in names
    ]
    grows = ("time grows by this power of", *(_TITLES[axis] for axis in axes))
    parts.append(markdown.table(grows, rows))
    entries = [entry for entry in result["cases"] if "megabytes" in entry]
    if entries:
        windows = [
            (
                reporting.LABELS[name],
                *(f"{entry['megabytes'][name]['window']:.0f}" for entry in entries),
                _shown(powers["memory"][name]),
            )
            for name in powers["memory"]
        ]
        steps = (f"T = {entry['case']['timesteps']}" for entry in entries)
        parts.append(markdown.table(("MB of the window", *steps, "power of T"), windows))
    return "\n\n".join(parts)


def _shown(power):
    return "-" if power is None else f"{power:.2f}"


def _draw(axes, result):
    entries = [entry for entry in result["cases"] if entry["axis"] == "timesteps"]
    steps = [entry["case"]["timesteps"] for entry in entries]
    for name in entries[0]["seconds"][_METHOD]:
        medians = [
            1e3 * measuring.summary(entry["seconds"][_METHOD][name])["median"] for entry in entries
        ]
        axes.plot(steps, medians, marker="o", label=reporting.LABELS[name])
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("time steps T")
    axes.set_ylabel("milliseconds a step")
    axes.set_title(f"Training step of VGG11, batch {entries[0]['case']['batch']}")
    axes.legend(fontsize="small")


if __name__ == "__main__":
    program.run(main, __doc__)
