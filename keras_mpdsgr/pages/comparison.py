"""McNemar's paired test between runs, from their per-sample files."""

import itertools

import numpy as np

from keras_mpdsgr import evaluation
from keras_mpdsgr.pages.markup import element, join
from keras_mpdsgr.pages.parts import (
    badge,
    figure_name,
    note,
    row,
    section,
    several,
    table,
)
from keras_mpdsgr.pages.results import CLEAN, WORST

_SIGNIFICANT = 0.05


def comparison(runs):
    """Every pair of runs, on each report that both have; None for a single run."""
    if len(runs) < 2:
        return None
    parts, tests = [], 0
    for name in dict.fromkeys(name for run in runs for name in run.results):
        having = [run for run in runs if name in run.results]
        pairs = list(itertools.combinations(having, 2))
        if not pairs:
            continue
        bodies, reasons = [], []
        for one, other in pairs:
            rows, reason = _compare(one, other, name)
            tests += len(rows)
            if rows:
                bodies.append(element("tbody", _pair_head(one, other), *rows))
            else:
                reasons.append(note(badge(one), " and ", badge(other), f": {reason}"))
        parts.append(element("h3", name))
        if bodies:
            head = ("figure", "only the first right", "only the second right", "p")
            parts.append(table(f"Paired tests on report {name}", head, *bodies))
        parts += reasons
    if not parts:
        parts.append(note("No report is there for two runs."))
    if tests:
        parts.insert(
            0,
            note(
                "McNemar's exact test on the same images: images that one run gets right and the "
                f"other does not. {several(tests, 'test')}; p is not corrected for their number."
            ),
        )
    return section("comparison", "Run against run", *parts)


def _pair_head(one, other):
    told = join(badge(one), f" {one.name} against ", badge(other), f" {other.name}")
    return element("tr", element("th", told, scope="rowgroup", colspan=4), class_="group")


def _compare(one, other, name):
    """Rows of a pair; or none, and why."""
    first, second = one.results[name], other.results[name]
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
    figures = [CLEAN]
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
            figures.append(WORST)
    return figures


def _row(figure, first, second, one, other):
    p = evaluation.mcnemar(first, second)
    only = int((first & ~second).sum()), int((second & ~first).sum())
    told = f"{p:.2g}"
    if p < _SIGNIFICANT:
        better = one if only[0] > only[1] else other
        told = join(element("strong", told), " ", badge(better), " is better")
    return row(figure_name(figure), *only, told)
