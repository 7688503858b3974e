"""McNemar's paired test between two reports, for all that means the same in both."""

import numpy as np

from keras_mpdsgr.evaluation.statistics import mcnemar

# Of this backward pass it matters which images are in one batch.
_BY_BATCH = "pdsg"


class Comparison(dict):
    """Paired tests between two reports: a `PairedTest` for `"clean"`, attacks and `"worst_case"`.

    Attributes:
        left_out: What is not compared: from a name to the reason.
    """

    def __init__(self, tests, left_out):
        super().__init__(tests)
        self.left_out = left_out


def compare(first, second):
    """The `Comparison` of two `Report`s; ValueError where they are not of the same images."""
    if not np.array_equal(first.labels, second.labels):
        raise ValueError("`other` must be a report on the same samples. Its labels differ.")
    if first.images != second.images:
        raise ValueError(
            "`other` must be a report on the same samples. Its images differ (by their hash)."
        )
    if first.eps != second.eps:
        raise ValueError(f"`other` must be of eps={first.eps:g}. Received: eps={second.eps:g}.")
    tests = {"clean": mcnemar(first.clean_correct, second.clean_correct)}
    left_out = {}
    for name in dict.fromkeys([*first.records, *second.records]):
        if reason := _difference(first, second, name):
            left_out[name] = reason
        else:
            tests[name] = mcnemar(first.correct(name), second.correct(name))
    ours, theirs = first.bounded("linf"), second.bounded("linf")
    if sorted(ours) == sorted(theirs) and all(_same_attack(first, second, name) for name in ours):
        if ours:
            tests["worst_case"] = mcnemar(first.survivors(), second.survivors())
    else:
        left_out["worst_case"] = "it is over other attacks"
    return Comparison(tests, left_out)


def _difference(first, second, name):
    """Why the accuracies of one attack do not mean the same in both reports; None if they do."""
    if name not in first.records or name not in second.records:
        return "only one of the reports has it"
    if not _same_attack(first, second, name):
        return "its settings differ"
    if first.records[name].norm == "noise" or not (first.cumulative or second.cumulative):
        return None
    before, others = _until(first, name), _until(second, name)
    same = before == others and all(_same_attack(first, second, one) for one in before)
    if same and first.cumulative and second.cumulative:
        return None
    return "it counts what other attacks before it have broken"


def _same_attack(first, second, name):
    ours, theirs = first.records[name], second.records[name]
    same_batches = first.config.get("batch_size") == second.config.get("batch_size")
    same = (ours.norm, ours.attack) == (theirs.norm, theirs.attack)
    return same and (same_batches or _BY_BATCH not in repr(ours.attack))


def _until(report, name):
    """The attacks of one threat model, up to and with one of them."""
    names = report.of_norm(report.records[name].norm)
    return names[: names.index(name) + 1]
