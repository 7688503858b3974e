"""McNemar's paired test between runs, image by image."""

import itertools

_SIGNIFICANT = 0.05


def comparison(runs):
    """Every pair of runs, on each report that both have; None for a single run."""
    if len(runs) < 2:
        return None
    suites = []
    for name in dict.fromkeys(name for run in runs for name in run.reports):
        pairs = itertools.combinations((run for run in runs if name in run.reports), 2)
        compared = [_compared(one, other, name) for one, other in pairs]
        if compared:
            suites.append({"name": name, "pairs": compared})
    tests = sum(len(pair["rows"]) for suite in suites for pair in suite["pairs"])
    return {"suites": suites, "tests": tests}


def _compared(one, other, name):
    pair = {"one": one, "other": other, "rows": [], "left_out": {}, "refused": False}
    try:
        tests = one.reports[name].compare(other.reports[name])
    except ValueError:  # not the same images, labels or eps
        return pair | {"refused": True}
    rows = []
    for row, test in tests.items():
        better = one if test.only_first > test.only_second else other
        rows.append(
            {
                "name": row,
                "only_first": test.only_first,
                "only_second": test.only_second,
                "p": f"{test:.2g}",
                "better": better if test < _SIGNIFICANT else None,
            }
        )
    return pair | {"rows": rows, "left_out": tests.left_out}
