"""Named suites of attacks, cheapest first."""

from keras_mpdsgr import attacks


def suite(name, eps):
    """The attacks of a suite, by name.

    Args:
        name: `"paper"` (FGSM, PGD-7, BIM-7), a list of attack names, or a dictionary from a label to
            an `Attack`.
        eps: Radius for the attacks in an L-infinity ball that are given by name.

    Returns:
        A dictionary from label to `Attack`, in the order they run.

    Raises:
        ValueError: If a name is unknown, the list is empty, or `eps` is out of range.

    Example:

    >>> list(suite("paper", eps=8 / 255))
    ['fgsm', 'pgd', 'bim']
    """
    if isinstance(name, dict):
        chosen = dict(name)
    elif isinstance(name, str):
        if name not in _SUITES:
            raise ValueError(
                f"`attacks` must be one of the suites {', '.join(_SUITES)}, or a list of attacks. "
                f"Received: {name!r}."
            )
        chosen = _SUITES[name](eps)
    else:
        chosen = {}
        for entry in name:
            label = entry if isinstance(entry, str) else type(entry).__name__.lower()
            chosen[label] = attacks.get(entry, eps=eps) if isinstance(entry, str) else entry
    if not chosen:
        raise ValueError("`attacks` must name at least one attack. Received none.")
    return chosen


def names():
    """Names of the suites."""
    return list(_SUITES)


def _paper(eps):
    return {name: attacks.get(name, eps=eps) for name in ("fgsm", "pgd", "bim")}


_SUITES = {"paper": _paper}
