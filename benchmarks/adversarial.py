"""Times a step of adversarial training beside a plain one, and beside the sum of its parts.

Its parts are a training step and as many input gradients as the examples take.
"""

from benchmarks import markdown
from benchmarks.timing import comparison, program

_PLAIN, _BFLOAT16 = "ours", "ours_bf16"
# Of each contender: the one that trains plainly, and the input gradients of its examples.
_PARTS = {
    "ours_n_fgsm": (_PLAIN, 1),
    "ours_pgd2": (_PLAIN, 2),
    "ours_bf16_n_fgsm": (_BFLOAT16, 1),
}
_RATIOS = {"ours_n_fgsm": "n_fgsm", "ours_pgd2": "pgd2", "ours_bf16_n_fgsm": "bf16_n_fgsm"}
_METHODS = {"train_step": "training step", "input_gradient": "one input gradient"}


def main():
    cases = program.cases(batches=(32, 64), steps=(4,))
    instructions = program.bfloat16()
    names = [_PLAIN, "ours_n_fgsm", "ours_pgd2"]
    half = [_BFLOAT16, "ours_bf16_n_fgsm"]
    names, _ = comparison.with_bfloat16(names, [], half, None if program.smoke() else instructions)
    result = comparison.compare(names, [], cases, list(_METHODS), _METHODS)
    result["bfloat16"] = instructions
    trained = [name for name in names if name in _PARTS]
    steps = {f"{_RATIOS[name]}_vs_training": (name, _PARTS[name][0]) for name in trained}
    result["ratios"] = comparison.median_ratios(result, "train_step", steps)
    for name in trained:
        result["ratios"][f"{_RATIOS[name]}_vs_its_parts"] = _against_parts(result, name)
    program.finish(
        "adversarial",
        result,
        "Step of adversarial training of VGG11, 32x32x3 images\n\n" + steps_table(result),
        lambda axes: comparison.draw(axes, result, "train_step", "Adversarial training, VGG11"),
    )


def _against_parts(result, name):
    """A step's time over that of a plain step and of the gradients that its examples take."""
    plain, gradients = _PARTS[name]
    for entry in result["cases"]:
        of = entry["seconds"]
        pairs = zip(of["train_step"][plain], of["input_gradient"][plain], strict=True)
        of["train_step"]["parts"] = [step + gradients * gradient for step, gradient in pairs]
    ratio = comparison.median_ratio(result, "train_step", name, "parts")
    for entry in result["cases"]:
        del entry["seconds"]["train_step"]["parts"]
    return ratio


def steps_table(result):
    """The table of milliseconds a step, in Markdown."""
    header = ("case", "who", "ms a step, median [quartiles]", "times the plain step")
    return markdown.table(header, comparison.rows(result, "train_step"))


if __name__ == "__main__":
    program.run(main, __doc__)
