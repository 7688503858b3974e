"""Trains the paper's network at full width for some steps and attacks it once: that it fits.

    python -m benchmarks.full_width

VGG11 at width 1, T = 8, batches of 64, each contender alone in a fresh process: seconds of the
first step (it compiles), of those after it, and of PGD-7 on one batch; peak resident memory of the
steps, then of all.
"""

import os
import statistics

from benchmarks import machine, markdown
from benchmarks.contenders.case import Case
from benchmarks.timing import peak_memory, program, reporting, workers

_NAMES = ["ours", "ours_omega", "ours_recompute", "ours_bf16", "ann"]
_STEPS = 5
_CASE = Case(batch=64, timesteps=8, width=1.0)
_TINY = Case(batch=4, timesteps=2, width=0.02, image_size=16)


def main():
    os.environ.setdefault(*peak_memory.GIVE_BACK)
    case, names = (_TINY, ["ours", "ann"]) if program.smoke() else (_CASE, _NAMES)
    if program.bfloat16() is None:
        names = [name for name in names if not name.endswith("_bf16")]
    result = {"machine": machine.describe(), "case": case.to_dict(), "title": case.title}
    result["steps"] = _STEPS
    with program.rounds(case.title, len(names)) as shown:
        result["figures"] = {}
        for done, name in enumerate(names, start=1):
            result["figures"][name] = measure(name, case)
            shown(done)
    result["ratios"] = _ratios(result["figures"])
    program.finish("full_width", result, _markdown(result), lambda axes: _draw(axes, result))


def measure(name, case):
    """Seconds and megabytes of one contender: `first`, `steps`, `attack`, `trained`, `peak`."""
    with workers.alone(name) as contestant:
        contestant.ask("build", case=case.to_dict())
        first, *steps = (
            contestant.ask("time", what="train_step", count=1)["seconds"] for _ in range(1 + _STEPS)
        )
        trained = contestant.ask("memory", count=0)["megabytes"]
        attack = contestant.ask("time", what="attack", count=1)["seconds"]
        peak = contestant.ask("memory", count=0)["megabytes"]
    return {"first": first, "steps": steps, "attack": attack, "trained": trained, "peak": peak}


def table(result):
    """The table of what was measured, in Markdown."""
    header = (
        "who", "first step, s", "a step, s, median", "PGD-7, first batch, s",
        "peak of training, MB", "and of the attack, MB",
    )  # fmt: skip
    rows = [
        (
            reporting.LABELS[name],
            f"{one['first']:.1f}",
            f"{statistics.median(one['steps']):.2f}",
            f"{one['attack']:.1f}",
            f"{one['trained']:,.0f}",
            f"{one['peak']:,.0f}",
        )
        for name, one in result["figures"].items()
    ]
    return markdown.table(header, rows)


def _ratios(figures):
    steps = {name: statistics.median(one["steps"]) for name, one in figures.items()}
    pairs = {
        "train_vs_ann": ("ours", "ann"),
        "omega_overhead": ("ours_omega", "ours"),
        "bf16_train_vs_float32": ("ours_bf16", "ours"),
    }
    return {n: steps[a] / steps[b] for n, (a, b) in pairs.items() if {a, b} <= steps.keys()}


def _markdown(result):
    return f"{result['title']}\n\n{table(result)}"


def _draw(axes, result):
    labels = [reporting.LABELS[name] for name in result["figures"]]
    axes.barh(labels, [statistics.median(one["steps"]) for one in result["figures"].values()])
    axes.invert_yaxis()
    axes.set_xlabel("seconds a training step")
    axes.set_title(f"VGG11, {result['title']}")


if __name__ == "__main__":
    program.run(main, __doc__)
