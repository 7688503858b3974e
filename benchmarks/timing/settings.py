"""Which settings a library is fastest with on this machine, found by trying."""

import statistics

from benchmarks import contenders
from benchmarks.timing import workers

_TRIED = 3


def candidates(name, compiled):
    """Options worth trying for a contender, a list of dictionaries.

    Args:
        name: The contender's name.
        compiled: Whether `torch.compile` is tried too, which takes a minute to compile; for
            SpikingJelly alone, whose neurons know it.
    """
    library = contenders.library(name)
    if library is None:
        return [{}]
    compiled = compiled and library == "spikingjelly"
    formats = [{"channels_last": True}, {"channels_last": False}]
    return formats + [{**options, "compiled": True} for options in formats if compiled]


def fastest(name, case, what, compiled=False):
    """The options with which a contender is fastest.

    Args:
        name: The contender's name.
        case: The `Case`.
        what: The method that is timed.
        compiled: As of `candidates`.

    Returns:
        The options, and the median seconds of each candidate that ran, by its text.
    """
    options = candidates(name, compiled)
    if len(options) == 1:
        return options[0], {}
    seconds = {}
    for tried in options:
        try:
            seconds[str(tried)] = _median_seconds(name, case, what, tried)
        except workers.BenchmarkError:
            continue  # what cannot be compiled here is no candidate
    if not seconds:
        raise workers.BenchmarkError(f"{name} runs with none of {options}.")
    best = min(options, key=lambda tried: seconds.get(str(tried), float("inf")))
    return best, seconds


def _median_seconds(name, case, what, options):
    with workers.alone(name, **options) as contestant:
        contestant.ask("build", case=case.to_dict())
        contestant.ask("time", what=what, count=2)
        turns = [contestant.ask("time", what=what, count=1) for _ in range(_TRIED)]
    return statistics.median(turn["seconds"] for turn in turns)
