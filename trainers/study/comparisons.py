"""What a row of a study adds to another one: who survives, spikes and cost, with intervals."""

import dataclasses
import statistics

import numpy as np
import scipy.stats

from keras_mpdsgr.evaluation.statistics import Difference, PairedTest, mcnemar, paired_difference


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One training beside another, on the same images.

    Attributes:
        clean: Clean accuracy, the first less the second.
        survivors: `Difference` of the shares that survive all attacks of a suite.
        p: McNemar's exact `PairedTest` of the survivors.
        spikes: Spikes an image, as a multiple of the second's; None where one has no spikes.
        cost: CPU seconds of the training, as a multiple of the second's; None where one is not
            known.
        like_machines: Whether these are of machines of one kind with equally many cores.
    """

    clean: float
    survivors: Difference
    p: PairedTest
    spikes: float | None
    cost: float | None
    like_machines: bool


@dataclasses.dataclass(frozen=True)
class OverSeeds:
    """The mean of a comparison over trainings of several seeds.

    Attributes:
        seeds: How many.
        survivors: `Difference` whose interval is of the images: Student's t over the images, each
            with the mean of its seeds. It tells how far other images would move the mean.
        low, high: Student's interval of the seeds at 95 %: how far other seeds would move it.
        spikes: Mean of the ratios; None where there are no spikes.
    """

    seeds: int
    survivors: Difference
    low: float
    high: float
    spikes: float | None


def compare(told, other, suite):
    """The `Comparison` of two rows, as their files hold them.

    Args:
        told, other: What is written of each.
        suite: Name of the suite whose survivors count.

    Raises:
        ValueError: If they were not judged on the same images at the same radius.
    """
    first, second = _survived(told, suite), _survived(other, suite)
    same = [(one["judged_on"], one["attacked"][suite]["eps"], len(survived))
            for one, survived in ((told, first), (other, second))]  # fmt: skip
    if same[0] != same[1]:
        raise ValueError(f"Rows are compared on the same images. Received: {same[0]}, {same[1]}.")
    spikes = (told["spikes"], other["spikes"])
    seconds = (_seconds(told), _seconds(other))
    return Comparison(
        clean=_clean(told) - _clean(other),
        survivors=paired_difference(first, second),
        p=mcnemar(first, second),
        spikes=None if None in spikes else spikes[0] / spikes[1],
        cost=None if None in seconds else seconds[0] / seconds[1],
        like_machines=told["model"]["machine"] == other["model"]["machine"],
    )


def over_seeds(pairs, suite):
    """The `OverSeeds` of pairs of rows, one for each seed and at least two."""
    each = np.stack(
        [_survived(a, suite).astype(float) - _survived(b, suite) for a, b in pairs]
    )  # (seeds, images)
    images, seeds = each.mean(axis=0), each.mean(axis=1)
    compared = [compare(a, b, suite) for a, b in pairs]
    low, high = _student(seeds)
    ratios = [one.spikes for one in compared if one.spikes is not None]
    return OverSeeds(
        seeds=len(pairs),
        survivors=Difference(float(images.mean()), *_student(images)),
        low=low,
        high=high,
        spikes=statistics.fmean(ratios) if len(ratios) == len(pairs) else None,
    )


def _student(values):
    """Ends of Student's interval of the mean at 95 %."""
    n, mean = len(values), float(np.mean(values))
    reach = scipy.stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5
    return mean - float(reach), mean + float(reach)


def _survived(told, suite):
    attacked = told["attacked"][suite]
    survived = np.zeros(attacked["n"], bool)
    survived[attacked["survivors"]] = True
    return survived


def _clean(told):
    return told["clean"]["right"] / told["clean"]["n"]


def _seconds(told):
    taken = told["model"]["training_seconds"]
    return None if taken is None else taken["cpu"]
