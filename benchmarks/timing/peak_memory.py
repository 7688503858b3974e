"""The peak resident memory of a contender's training steps, in a process of its own."""

import dataclasses

from benchmarks.timing import settings, workers

STEPS = 3
# Large blocks go back to the system when they are freed, so that the peak is of what is held.
GIVE_BACK = ("MALLOC_MMAP_THRESHOLD_", str(2**18))


def least(name, case):
    """Megabytes of a contender in the setting that needs least: `imported`, `peak`, `window`."""
    small = dataclasses.replace(case, batch=1, timesteps=1)
    figures = []
    for options in settings.candidates(name, False):
        library, peak = _peak(name, case, options)
        _, constant = _peak(name, small, options)
        figures.append({"imported": library, "peak": peak, "window": peak - constant})
    return min(figures, key=lambda one: one["peak"])


def _peak(name, case, options):
    with workers.alone(name, **options) as contestant:
        imported = contestant.ask("build", case=case.to_dict())["megabytes"]
        peak = contestant.ask("memory", count=STEPS)["megabytes"]
    return imported, peak
