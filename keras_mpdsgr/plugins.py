"""Attacks, defences, surrogates and data sets that other installed packages bring.

A package offers one by an entry point. Its group is that of the registry, its name the name to look
up, its value the class, or the function that loads a data set:

    [project.entry-points."keras_mpdsgr.attacks"]
    ti_pgd = "my_package.attacks:TranslationInvariantPGD"
"""

import functools
import importlib.metadata
import sys
import warnings

ATTACKS = "keras_mpdsgr.attacks"
DEFENSES = "keras_mpdsgr.defenses"
SURROGATES = "keras_mpdsgr.surrogates"
DATASETS = "keras_mpdsgr.datasets"

_seen: set[importlib.metadata.EntryPoint] = set()


def names(group):
    """Names that installed packages offer, none of which is loaded for it.

    Args:
        group: Of the entry points, such as `ATTACKS`.
    """
    return [entry.name for entry in _entries(group, tuple(sys.path))]


def load(group, register):
    """Loads the entry points of a group, each once in a process.

    One that fails is left out, with a warning that names it and its package.

    Args:
        group: Of the entry points, such as `ATTACKS`.
        register: Function of a name and what its entry point has given, which makes this known by
            the name; raises ValueError if it cannot be.
    """
    for entry in _entries(group, tuple(sys.path)):
        if entry in _seen:
            continue
        _seen.add(entry)  # before it is loaded, as its module may ask for names itself
        try:
            register(entry.name, entry.load())
        except (Exception, SystemExit) as error:
            said = " ".join(str(error).split())
            package = "an unknown package" if entry.dist is None else entry.dist.name
            warnings.warn(
                f"The plug-in {entry.name!r} of {package} ({group}, {entry.value}) is left out. "
                f"{type(error).__name__}: {said}",
                stacklevel=4,
            )


@functools.lru_cache
def _entries(group, path):
    # Every installed package is looked at, which takes too long for each name.
    del path
    return tuple(importlib.metadata.entry_points(group=group))
