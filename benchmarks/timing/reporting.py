"""What a benchmark leaves behind: JSON, a Markdown table, a plot, one line of ratios."""

import json
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LABELS = {
    "ours": "keras_mpdsgr",
    "ours_tracked": "keras_mpdsgr, Omega shown",
    "ours_omega": "keras_mpdsgr, Omega in the loss (batch)",
    "ours_omega_analytic": "keras_mpdsgr, Omega in the loss (analytic)",
    "ours_recompute": "keras_mpdsgr, recompute",
    "ours_bf16": "keras_mpdsgr, bfloat16",
    "ours_bf16_omega": "keras_mpdsgr, bfloat16, Omega in the loss (batch)",
    "ours_n_fgsm": "keras_mpdsgr, N-FGSM",
    "ours_pgd2": "keras_mpdsgr, PGD-2",
    "ours_bf16_n_fgsm": "keras_mpdsgr, bfloat16, N-FGSM",
    "ann": "plain network with ReLU, T x batch images",
    "ann_bf16": "plain network with ReLU, bfloat16",
    "spikingjelly": "SpikingJelly",
    "spikingjelly_bf16": "SpikingJelly, bfloat16 (torch.autocast)",
    "snntorch": "snnTorch",
    "norse": "Norse",
}


def write(folder, name, result, markdown, draw):
    """Writes `name.json`, `name.md` and `name.png` into a folder.

    Args:
        folder: Where to; made if need be.
        name: Of the benchmark.
        result: Dictionary of all that was measured.
        markdown: Text of the table.
        draw: Function that draws into a matplotlib `Axes`.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{name}.md").write_text(markdown + "\n")
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    draw(axes)
    figure.savefig(folder / f"{name}.png", dpi=120)
    plt.close(figure)


def last_line(result):
    """The line that programs read: this library's figure over the other's, below 1 is better.

    Where a benchmark measures bfloat16 too, `"bfloat16"` says by which instructions, or `"none"`.
    """
    line: dict = {"ratios": {name: round(value, 4) for name, value in result["ratios"].items()}}
    if "bfloat16" in result:
        line["bfloat16"] = result["bfloat16"] or "none"
    return json.dumps(line)


def spread(summary, unit="", factor=1.0):
    """A median and its quartiles as text."""
    low, median, high = (factor * summary[key] for key in ("low", "median", "high"))
    digits = 0 if median >= 100 else 1 if median >= 10 else 2 if median >= 1 else 3
    return f"{median:.{digits}f}{unit} [{low:.{digits}f}, {high:.{digits}f}]"
