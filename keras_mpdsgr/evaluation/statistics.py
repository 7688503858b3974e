"""Intervals for shares of images."""

import dataclasses

import scipy.stats


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
    interval = scipy.stats.binomtest(int(count), int(total)).proportion_ci(confidence, "wilson")
    return Share(int(count), int(total), float(interval.low), float(interval.high))
