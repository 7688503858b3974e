"""Times a training step: this library, the plain network of equal shape, other libraries.

One step is forward, loss, backward and SGD with momentum, of VGG11 on one batch.
"""

from benchmarks import markdown
from benchmarks.timing import comparison, measuring, program, reporting

_OURS = ["ours", "ours_tracked", "ours_omega", "ours_omega_analytic", "ours_recompute", "ann"]
_BFLOAT16 = ["ours_bf16", "ours_bf16_omega", "ann_bf16"]
_METHOD = "train_step"


def main():
    peers = program.peers()
    cases = program.cases(batches=(32, 64), steps=(4, 8))
    names = ["ours", "ours_omega", "ann"] if program.smoke() else _OURS
    instructions = program.bfloat16()
    half = _BFLOAT16[:1] if program.smoke() else _BFLOAT16
    names, all_peers = comparison.with_bfloat16(names, peers, half, instructions)
    result = comparison.compare(names, all_peers, cases, [_METHOD], {_METHOD: "training step"})
    result["bfloat16"] = instructions
    result["ratios"] = _ratios(result, peers)
    program.finish(
        "training",
        result,
        _markdown(result),
        lambda axes: comparison.draw(axes, result, _METHOD, "Training step of VGG11"),
    )


def _ratios(result, peers):
    pairs = {
        "train_vs_ann": ("ours", "ann"),
        "omega_overhead": ("ours_omega", "ours"),
        "omega_analytic_overhead": ("ours_omega_analytic", "ours"),
        "omega_shown_overhead": ("ours_tracked", "ours"),
        "recompute_overhead": ("ours_recompute", "ours"),
        "ann_vs_spikingjelly": ("ann", "spikingjelly"),
        **{f"train_vs_{name}": ("ours", name) for name in peers},
        **comparison.bfloat16_pairs("train"),
        "bf16_omega_overhead": ("ours_bf16_omega", "ours_bf16"),
    }
    firsts = [entry["first_call"][_METHOD] for entry in result["cases"]]
    result["first_step_seconds"] = {
        name: measuring.summary([first[name] for first in firsts]) for name in firsts[0]
    }
    return comparison.median_ratios(result, _METHOD, pairs)


def _markdown(result):
    return "\n\n".join(
        [
            "Training step of VGG11, 32x32x3 images",
            steps_table(result),
            first_step_table(result),
            "Compared before timing:\n\n" + comparison.equality_lines(result),
        ]
    )


def steps_table(result):
    """The table of milliseconds a step, in Markdown."""
    header = ("case", "who", "ms a step, median [quartiles]", "times ours")
    return markdown.table(header, comparison.rows(result, _METHOD))


def first_step_table(result):
    """The table of seconds that the first step takes, in Markdown."""
    first = [
        (reporting.LABELS[name], f"{summary['median']:.1f}")
        for name, summary in result["first_step_seconds"].items()
    ]
    return markdown.table(("who", "first step, seconds (it compiles)"), first)


if __name__ == "__main__":
    program.run(main, __doc__)
