"""McNemar's paired test between runs, from their per-sample files."""

import itertools

import numpy as np

from keras_mpdsgr import evaluation

_SIGNIFICANT = 0.05


def comparison(runs):
    """Every pair of runs, on each report that both have; None for a single run."""
    if len(runs) < 2:
        return None
    suites = []
    for name in dict.fromkeys(name for run in runs for name in run.reports):
        pairs = itertools.combinations((run for run in runs if name in run.reports), 2)
        compared, refused = [], []
        for one, other in pairs:
            rows, reason = _compare(one, other, name)
            if rows:
                compared.append((one, other, rows))
            else:
                refused.append((one, other, reason))
        if compared or refused:
            suites.append({"name": name, "compared": compared, "refused": refused})
    tests = sum(len(rows) for suite in suites for _, _, rows in suite["compared"])
    return {"suites": suites, "tests": tests}


def _compare(one, other, name):
    """Rows of a pair; or none, and why."""
    first, second = one.reports[name], other.reports[name]
    if first.n != second.n or first.eps != second.eps:
        return [], "they were attacked on other images or at another eps."
    if first.config.get("dataset") != second.config.get("dataset"):
        return [], "they were attacked on other data sets."
    samples = first.samples(), second.samples()
    if None in samples:
        return [], "there is no per-sample file of both, so that their images cannot be paired."
    (labels, right), (other_labels, other_right) = samples
    known = (labels >= 0) & (other_labels >= 0)
    if not np.array_equal(labels[known], other_labels[known]):
        return [], "their labels differ, so that these are other images."
    rows = [
        _row(figure, right[figure], other_right[figure], one, other)
        for figure in _common(first, second)
        if figure in right and figure in other_right
    ]
    return rows, "their per-sample files do not belong to these reports."


def _common(first, second):
    """Figures that mean the same in both reports."""
    figures = ["clean"]
    for norm in ("linf", "l2", "noise"):
        ours, theirs = first.of_norm(norm), second.of_norm(norm)
        same = [
            name
            for name in ours
            if name in theirs and first.settings[name] == second.settings[name]
        ]
        complete = bool(same) and ours == theirs == same
        spared = first.cumulative or second.cumulative
        # An attack's figure may hold for those before it too; the worst case always does.
        if not spared or (complete and first.cumulative and second.cumulative):
            figures += same
        if norm == "linf" and complete:
            figures.append("worst_case")
    return figures


def _row(name, first, second, one, other):
    p = evaluation.mcnemar(first, second)
    only = int((first & ~second).sum()), int((second & ~first).sum())
    better = one if only[0] > only[1] else other
    return {
        "name": name,
        "only_first": only[0],
        "only_second": only[1],
        "p": f"{p:.2g}",
        "better": better if p < _SIGNIFICANT else None,
    }
