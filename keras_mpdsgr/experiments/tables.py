"""The robustness table that programs print."""

from rich.table import Table

from keras_mpdsgr.experiments.progress import duration

_NAMES = {"clean": "clean", "worst_case": "worst case", "worst_case_l2": "worst case, L2"}


def print_results(console, report):
    """Prints a `Report` as one table.

    Args:
        console: A rich console.
        report: The `Report`.
    """
    of = report.config.get("dataset", "")
    title = f"robust accuracy on {report.n} {of} test images, eps {_eps(report.eps)}"
    table = Table(title=title, title_justify="left", min_width=len(title))
    table.add_column("attack")
    table.add_column("accuracy", justify="right")
    table.add_column("95 % interval", justify="right")
    on_grid = report.shares(on_grid=True)
    if on_grid:
        table.add_column(f"on {report.config.get('grid')} bits", justify="right")
    table.add_column("images", justify="right")
    for name, share in report.shares().items():
        label = _NAMES.get(name, name.replace("_", " "))
        interval = f"{share.low:.2%} .. {share.high:.2%}"
        grid = [f"{on_grid[name].value:.2%}"] if on_grid else []
        table.add_row(label, f"{share.value:.2%}", interval, *grid, str(report.n))
    console.print(table)
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
    table = Table(title="gradient-obfuscation checks", title_justify="left")
    for column in ("check", "result", "what was found"):
        table.add_column(column)
    for name, check in report.checks.items():
        table.add_row(name.replace("_", " "), check.status, check.says)
    console.print(table)
    console.print(f"Verdict: {report.verdict}")


def print_estimates(console, estimates, total):
    """Prints what attacks take at most: passes of one image, and the time of all images."""
    table = Table(title=f"the most that attacks on {total} images take", title_justify="left")
    table.add_column("attack")
    for column in ("gradients an image", "queries an image", "time"):
        table.add_column(column, justify="right")
    for name, one in estimates.items():
        row = (name.replace("_", " "), f"{one.gradients:,}", f"{one.queries:,}")
        table.add_row(*row, duration(one.seconds))
    seconds = sum(one.seconds for one in estimates.values())
    table.add_row("all", "", "", duration(seconds))
    console.print(table)
    console.print("Images that break early, or by an attack before, take less.")


def print_sweep(console, attack, name, values, sweep, unit):
    """Prints accuracy against an attack's strength."""
    table = Table(title=f"{attack} over {name}, {sweep.total} images", title_justify="left")
    table.add_column(f"{name} {unit}".strip(), justify="right")
    table.add_column("accuracy", justify="right")
    for value, share in zip(values, sweep.accuracy, strict=True):
        table.add_row(f"{value:.4g}", f"{share:.2%}")
    console.print(table)


def _eps(eps):
    return f"{eps * 255:.3g}/255"
