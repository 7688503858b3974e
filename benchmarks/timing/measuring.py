"""Interleaved timing: contenders take turns, so that a slow minute of the machine meets all."""

import numpy as np


def interleave(contestants, what, repeats, count=1, warm_up=2, progress=None):
    """Times one method of all contestants in turns.

    Args:
        contestants: `Contestant`s by name.
        what: Name of the method: `"train_step"`, `"input_gradient"` or `"attack"`.
        repeats: Rounds; in each, every contestant has one turn, in another order.
        count: Calls in a turn.
        warm_up: Turns before that are not counted.
        progress: Called with the number of rounds done; None for silence.

    Returns:
        Seconds a call by name, lists of `repeats` numbers; and the seconds of each one's first
        call, which compiles.
    """
    names = list(contestants)
    first = {name: contestants[name].ask("time", what=what, count=1)["seconds"] for name in names}
    for _ in range(warm_up):
        for name in names:
            contestants[name].ask("time", what=what, count=count)
    seconds = {name: [] for name in names}
    orders = np.random.default_rng(0)
    for done in range(repeats):
        # In random order, so that none always follows the same other one.
        for name in orders.permutation(names).tolist():
            seconds[name].append(contestants[name].ask("time", what=what, count=count)["seconds"])
        if progress is not None:
            progress(done + 1)
    return seconds, first


def summary(values):
    """Median and quartiles of some numbers, a dictionary."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def ratio(seconds, above, below):
    """Summary of one contender's time over another's, round by round."""
    return summary(np.divide(seconds[above], seconds[below]))
