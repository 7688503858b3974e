"""Times PGD with 7 steps, and one input gradient: this library, the plain network, others."""

from benchmarks import markdown
from benchmarks.contenders.base import PGD_STEPS
from benchmarks.timing import comparison, program

_BFLOAT16 = ["ours_bf16", "ann_bf16"]
_METHODS = {"attack": f"PGD-{PGD_STEPS}", "input_gradient": "one input gradient"}


def main():
    peers = program.peers()
    cases = program.cases(batches=(32, 64), steps=(4, 8))
    instructions = program.bfloat16()
    half = _BFLOAT16[:1] if program.smoke() else _BFLOAT16
    names, all_peers = comparison.with_bfloat16(["ours", "ann"], peers, half, instructions)
    result = comparison.compare(names, all_peers, cases, list(_METHODS), _METHODS)
    result["bfloat16"] = instructions
    pairs = {
        "pgd_vs_ann": ("ours", "ann"),
        **{f"pgd_vs_{name}": ("ours", name) for name in peers},
        "ann_pgd_vs_spikingjelly": ("ann", "spikingjelly"),
        **comparison.bfloat16_pairs("pgd"),
    }
    ratios = comparison.median_ratios(result, "attack", pairs)
    result["ratios"] = {**ratios, "pgd_vs_its_gradients": _against_gradients(result)}
    program.finish(
        "attack",
        result,
        _markdown(result),
        lambda axes: comparison.draw(
            axes, result, "attack", f"PGD-{PGD_STEPS} on one batch, VGG11"
        ),
    )


def _against_gradients(result):
    """PGD's time over that of as many input gradients, of this library."""
    for entry in result["cases"]:
        seconds = entry["seconds"]
        seconds["attack"]["gradients"] = [PGD_STEPS * s for s in seconds["input_gradient"]["ours"]]
    ratio = comparison.median_ratio(result, "attack", "ours", "gradients")
    for entry in result["cases"]:
        del entry["seconds"]["attack"]["gradients"]
    return ratio


def _markdown(result):
    parts = ["Attacks on VGG11, 32x32x3 images", *(table(result, method) for method in _METHODS)]
    parts.append("Compared before timing:\n\n" + comparison.equality_lines(result))
    return "\n\n".join(parts)


def table(result, method):
    """The table of milliseconds of one method, in Markdown."""
    header = ("case", "who", f"ms for {_METHODS[method]}, median [quartiles]", "times ours")
    return markdown.table(header, comparison.rows(result, method))


if __name__ == "__main__":
    program.run(main, __doc__)
