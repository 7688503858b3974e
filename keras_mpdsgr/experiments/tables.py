"""The robustness table that programs print."""

from keras_mpdsgr import evaluation
from keras_mpdsgr.experiments.columns import Column, print_table
from keras_mpdsgr.experiments.progress import duration

_NAMES = {"clean": "clean", "worst_case": "worst case", "worst_case_l2": "worst case, L2"}


def print_results(console, report):
    """Prints a `Report` as one table.

    Args:
        console: A rich console.
        report: The `Report`.
    """
    of = report.config.get("dataset", "")
    title = f"robust accuracy on {report.n} {of} test images, eps {radius(report.eps)}"
    on_grid = report.shares(on_grid=True)
    columns = [Column("attack", number=False), Column("accuracy"), Column("95 % interval", rank=2)]
    columns += [Column(f"on {report.config.get('grid')} bits", rank=2)] if on_grid else []
    columns.append(Column("images", rank=3))
    rows = []
    for name, share in report.shares().items():
        label = _NAMES.get(name, name.replace("_", " "))
        interval = f"{share.low:.2%} .. {share.high:.2%}"
        grid = [f"{on_grid[name].value:.2%}"] if on_grid else []
        rows.append((label, f"{share.value:.2%}", interval, *grid, report.n))
    print_table(console, title, columns, rows)
    if report.config.get("part"):
        console.print(report.config["part"])
    for note in report.notes():
        console.print(note)
    if report.cumulative:
        console.print(
            "Broken samples were spared the later attacks: each accuracy is that of its attack and "
            "those above it.",
        )


def print_checks(console, report):
    """Prints the obfuscation checks and the verdict of a `Report`."""
    columns = [Column(name, number=False) for name in ("check", "result", "what was found")]
    found = evaluation.explain(report.checks)
    print_table(console, "gradient-obfuscation checks", columns, [one[:3] for one in found])
    for one in found:
        if one.means:
            console.print(f"{one.status}: {one.name}. {one.means} Next: {one.next}")
    console.print(f"Verdict: {report.verdict}")


def print_estimates(console, estimates, total):
    """Prints what attacks take at most: passes of one image, and the time of all images."""
    columns = [
        Column("attack", number=False),
        Column("gradients an image", rank=2),
        Column("queries an image", rank=2),
        Column("time"),
    ]
    rows = [
        (name.replace("_", " "), f"{one.gradients:,}", f"{one.queries:,}", duration(one.seconds))
        for name, one in estimates.items()
    ]
    seconds = sum(one.seconds for one in estimates.values())
    rows.append(("all", "", "", duration(seconds)))
    print_table(console, f"the most that attacks on {total} images take", columns, rows)
    console.print("Images that break early, or by an attack before, take less.")


def print_sweep(console, attack, name, values, sweep, unit):
    """Prints accuracy against an attack's strength."""
    columns = [Column(f"{name} {unit}".strip()), Column("accuracy")]
    rows = [(f"{x:.4g}", f"{y:.2%}") for x, y in zip(values, sweep.accuracy, strict=True)]
    print_table(console, f"{attack} over {name}, {sweep.total} images", columns, rows)


def radius(eps):
    """A radius in units of pixels, as a fraction of 255."""
    return f"{eps * 255:.3g}/255"
