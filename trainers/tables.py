"""The robustness table that programs print."""

from rich.table import Table

_NAMES = {"clean": "clean", "worst_case": "worst case", "worst_case_l2": "worst case, L2"}


def print_results(console, report):
    """Prints a report, as `Report.to_dict` gives it, as one table.

    Args:
        console: A rich console.
        report: The dictionary.
    """
    n = report["n"]
    of = report["config"].get("dataset", "")
    table = Table(title=f"robust accuracy on {n} test images {of} at eps {_eps(report['eps'])}")
    table.add_column("attack")
    table.add_column("accuracy", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("images", justify="right")
    shares = {"clean": report["clean"], **report["accuracy"]}
    shares |= {k: report[k] for k in ("worst_case", "worst_case_l2") if report[k] is not None}
    for name, share in shares.items():
        low, high = report["intervals"][name]
        label = _NAMES.get(name, name)
        table.add_row(label, f"{share:.2%}", f"{low:.2%} .. {high:.2%}", str(n))
    console.print(table)


def _eps(eps):
    return f"{eps * 255:.3g}/255"
