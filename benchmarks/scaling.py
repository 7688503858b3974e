"""Times a training step as the window, the network and the batch grow."""

import dataclasses

from benchmarks import comparison, measuring, program, reporting

_METHOD = "train_step"
_AXES = {
    "timesteps": (1, 2, 4, 8, 16),
    "width": (0.125, 0.25, 0.5),
    "batch": (8, 16, 32, 64, 128),
}


def main():
    peers = program.peers()
    base = program.cases(batches=(32,), steps=(4,))[0]
    cases, axis_of = [], []
    for axis, values in _AXES.items():
        chosen = values[:2] if program.quick() else values
        cases += [dataclasses.replace(base, **{axis: value}) for value in chosen]
        axis_of += [axis] * len(chosen)
    names = ["ours", "ours_omega", "ann"]
    if program.smoke():
        cases, axis_of, names = cases[:1], axis_of[:1], ["ours", "ann"]
    result = comparison.compare(names, peers, cases, [_METHOD], {_METHOD: "training step"})
    for entry, axis in zip(result["cases"], axis_of, strict=True):
        entry["axis"] = axis
    result["ratios"] = {
        "train_vs_ann": comparison.median_ratio(result, _METHOD, "ours", "ann"),
        **{
            f"train_vs_{name}": comparison.median_ratio(result, _METHOD, "ours", name)
            for name in peers
        },
    }
    header = ("case", "who", "ms a step, median [quartiles]", "times ours")
    markdown = "Training step of VGG11 as it grows\n\n" + reporting.table(
        header, comparison.rows(result, _METHOD)
    )
    program.finish("scaling", result, markdown, lambda axes: _draw(axes, result))


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
