"""Intervals for shares of images and for their differences, and the paired test of two models."""

import dataclasses

import numpy as np
import scipy.stats

from keras_mpdsgr.arguments import check_integer


@dataclasses.dataclass(frozen=True)
class Share:
    """A share of images with its interval.

    Attributes:
        count: Images of which it is true.
        total: Images looked at.
        low, high: Ends of the Wilson interval.
    """

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self):
        return self.count / self.total

    def __str__(self):
        return f"{self.value:.2%} [{self.low:.2%}, {self.high:.2%}]"


def wilson(count, total, confidence=0.95):
    """Wilson score interval of a share (Wilson, 1927).

    Args:
        count: Images of which it is true, in [0, total].
        total: Images looked at, at least 1.
        confidence: Coverage, in (0, 1).

    Returns:
        A `Share`.

    Raises:
        ValueError: If the counts or the confidence are out of range.

    Example:

    >>> print(wilson(95, 100))
    95.00% [88.82%, 97.85%]
    """
    total = check_integer("total", total, "images looked at", least=1)
    count = check_integer("count", count, "of the images looked at", least=0, most=total)
    _check_confidence(confidence)
    interval = scipy.stats.binomtest(count, total).proportion_ci(confidence, "wilson")
    return Share(count, total, float(interval.low), float(interval.high))


@dataclasses.dataclass(frozen=True)
class Spread:
    """How a random model's single forward passes differ on the same images.

    Attributes:
        mean: Accuracy of one pass, the mean over passes.
        deviation: Standard deviation of that accuracy from pass to pass.
        undecided: Share of images on which the passes do not all agree.
    """

    mean: float
    deviation: float
    undecided: float


def spread(right, votes):
    """The `Spread` of forward passes, drawn independently for each image.

    Args:
        right: Passes that were right on each image, `(n,)`, in [0, votes].
        votes: Passes of each image, at least 2.
    """
    share = np.asarray(right) / votes
    # Unbiased: a share of `votes` draws has p (1 - p) / votes, not the model's p.
    variance = np.sum(share * (1 - share)) * votes / (votes - 1)
    undecided = float(np.mean((share > 0) & (share < 1)))
    return Spread(float(share.mean()), float(np.sqrt(variance)) / len(share), undecided)


class PairedTest(float):
    """A paired test of two models on the same samples: its p-value, a number in [0, 1].

    Attributes:
        only_first, only_second: Samples that only the one is right on, on which the value rests.
    """

    only_first: int
    only_second: int

    def __new__(cls, only_first, only_second):
        n = only_first + only_second
        test = super().__new__(cls, scipy.stats.binomtest(only_first, n).pvalue if n else 1.0)
        test.only_first, test.only_second = only_first, only_second
        return test

    def __getnewargs__(self):
        return self.only_first, self.only_second


def mcnemar(first, second):
    """McNemar's exact paired test: are two models, or two attacks, equally often right?

    Args:
        first, second: Whether each sample is right under each, `(n,)`, on the same samples.

    Returns:
        A `PairedTest`, the two-sided p-value; 1 where they differ on no sample.

    Raises:
        ValueError: If they do not hold booleans, or are not of one length.

    Example:

    >>> mcnemar([True] * 10 + [False], [False] * 10 + [True]) < 0.02
    True
    """
    first, second = _pairs(first, second)
    return PairedTest(int((first & ~second).sum()), int((second & ~first).sum()))


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference of two shares of the same samples, with its interval.

    Attributes:
        value: The first share less the second, in [-1, 1].
        low, high: Ends of the interval.
    """

    value: float
    low: float
    high: float


def paired_difference(first, second, confidence=0.95):
    """By how much two models differ on the same samples, with the interval of Bonett and Price.

    The interval (Bonett and Price, 2012) is Wald's with one sample added for each model that it
    alone is right on; it keeps its coverage where the samples, or those that differ, are few.

    Args:
        first, second: Whether each sample is right under each, `(n,)`, on the same samples.
        confidence: Coverage, in (0, 1).

    Returns:
        A `Difference`.

    Raises:
        ValueError: If they do not hold booleans, are empty or not of one length, or the confidence
            is out of range.

    Example:

    >>> found = paired_difference([True] * 30 + [False] * 70, [True] * 20 + [False] * 80)
    >>> print(f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})")
    0.10 (0.03 to 0.16)
    """
    first, second = _pairs(first, second)
    _check_confidence(confidence)
    n = len(first)
    if not n:
        raise ValueError("`first` and `second` must hold one sample or more. Received: none.")
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    up, down = (one + 1) / (n + 2), (other + 1) / (n + 2)
    z = float(scipy.stats.norm.ppf((1 + confidence) / 2))
    reach = z * ((up + down - (up - down) ** 2) / (n + 2)) ** 0.5
    low, high = max(up - down - reach, -1.0), min(up - down + reach, 1.0)
    return Difference((one - other) / n, low, high)


def _pairs(first, second):
    first, second = _outcomes("first", first), _outcomes("second", second)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            "`first` and `second` must be of one length, one entry a sample. Received: shapes "
            f"{first.shape} and {second.shape}."
        )
    return first, second


def _check_confidence(confidence):
    if not isinstance(confidence, float) or not 0 < confidence < 1:
        raise ValueError(f"`confidence` must lie in (0, 1), as a share. Received: {confidence!r}.")


def _outcomes(name, values):
    outcomes = np.asarray(values)
    if outcomes.dtype != bool and not (
        outcomes.dtype.kind in "iu" and set(outcomes.flat) <= {0, 1}
    ):
        raise ValueError(f"`{name}` must hold True or False for each sample. Received: {values!r}.")
    return outcomes.astype(bool)
