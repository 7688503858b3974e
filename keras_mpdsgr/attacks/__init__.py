"""Adversarial attacks on Keras classifiers of pixels in [0, 1], spiking or not."""

from keras_mpdsgr.attacks.base import Attack
from keras_mpdsgr.attacks.fgsm import FGSM
from keras_mpdsgr.attacks.iterative import IterativeAttack
from keras_mpdsgr.attacks.pgd import BIM, PGD
from keras_mpdsgr.attacks.target import Target

__all__ = ["BIM", "FGSM", "PGD", "Attack", "IterativeAttack", "Target", "get", "names"]

_registry = {"fgsm": FGSM, "pgd": PGD, "bim": BIM}


def names():
    """Names that `get` knows."""
    return list(_registry)


def get(name, **arguments):
    """An attack by its name.

    Args:
        name: One of `names()`, or an `Attack`, which is returned as it is.
        **arguments: Of the attack's class; those it does not take are refused by it.

    Raises:
        ValueError: If there is none of that name.

    Example:

    >>> get("pgd", steps=20).steps
    20
    """
    if isinstance(name, Attack):
        return name
    if name not in _registry:
        raise ValueError(f"`attack` must be one of {', '.join(_registry)}. Received: {name!r}.")
    return _registry[name](**arguments)
