"""Adversarial attacks on Keras classifiers of pixels in [0, 1], spiking or not."""

import inspect

from keras_mpdsgr import plugins
from keras_mpdsgr.arguments import check_free, did_you_mean
from keras_mpdsgr.attacks import adapters
from keras_mpdsgr.attacks.apgd import APGD
from keras_mpdsgr.attacks.base import Attack
from keras_mpdsgr.attacks.carlini_wagner import CarliniWagnerL2
from keras_mpdsgr.attacks.combined import Ensemble, MultiTargeted, Transfer
from keras_mpdsgr.attacks.fab import FAB
from keras_mpdsgr.attacks.fgsm import FGSM
from keras_mpdsgr.attacks.gradient_free import GradientFreeAttack
from keras_mpdsgr.attacks.hart import HART
from keras_mpdsgr.attacks.hill_climbing import HillClimbing
from keras_mpdsgr.attacks.iterative import GradientAttack, IterativeAttack
from keras_mpdsgr.attacks.noise import GaussianNoise, RandomSigns, UniformNoise
from keras_mpdsgr.attacks.pgd import BIM, PGD
from keras_mpdsgr.attacks.sa_pgd import SAPGD
from keras_mpdsgr.attacks.square import Square
from keras_mpdsgr.attacks.target import Target

__all__ = [
    "APGD",
    "BIM",
    "FAB",
    "FGSM",
    "HART",
    "PGD",
    "SAPGD",
    "Attack",
    "CarliniWagnerL2",
    "Ensemble",
    "GaussianNoise",
    "GradientAttack",
    "GradientFreeAttack",
    "HillClimbing",
    "IterativeAttack",
    "MultiTargeted",
    "RandomSigns",
    "Square",
    "Target",
    "Transfer",
    "UniformNoise",
    "adapters",
    "argument_names",
    "get",
    "names",
    "register",
]

_registry: dict[str, type[Attack]] = {
    "fgsm": FGSM,
    "pgd": PGD,
    "bim": BIM,
    "apgd": APGD,
    "sapgd": SAPGD,
    "hart": HART,
    "fab": FAB,
    "square": Square,
    "hill_climbing": HillClimbing,
    "random": RandomSigns,
    "cw": CarliniWagnerL2,
    "gaussian": GaussianNoise,
    "uniform": UniformNoise,
}


def register(name):
    """Class decorator: makes an `Attack` available by a name.

    Args:
        name: Name for `get`. ValueError if another class has it.
    """

    def decorate(kind):
        if not (inspect.isclass(kind) and issubclass(kind, Attack)):
            raise ValueError(
                f"An attack must be a class that extends `Attack`. Received: {kind!r}."
            )
        check_free(name, kind, _registry)
        _registry[name] = kind
        return kind

    return decorate


def names():
    """Names that `get` knows, those of installed plug-ins among them."""
    plugins.load(plugins.ATTACKS, lambda name, kind: register(name)(kind))
    return list(_registry)


def argument_names(name):
    """Names of the arguments that the attack of a name takes, sorted.

    Raises:
        ValueError: If there is none of that name.
    """
    known = _registry if isinstance(name, str) and name in _registry else names()
    if not isinstance(name, str) or name not in known:
        raise ValueError(
            f"`attacks` must be one of {', '.join(known)}. Received: {name!r}."
            f"{did_you_mean(name, known)}"
        )
    return _registry[name].argument_names()


def get(name, eps=None, **arguments):
    """An attack by its name.

    Args:
        name: One of `names()`, or an `Attack`, which is returned as it is.
        eps: Radius of the ball, for the attacks that have one; None for their own default.
        **arguments: Of the attack's class; those it does not take are refused.

    Raises:
        ValueError: If there is none of that name, or it does not take an argument.

    Example:

    >>> get("pgd", steps=20).steps
    20
    """
    if isinstance(name, Attack):
        if eps is not None or arguments:
            raise ValueError(f"An attack takes arguments by name only. Received: {name!r}.")
        return name
    taken = argument_names(name)
    kind = _registry[name]
    for argument in arguments:
        if argument not in taken:
            raise ValueError(f"Attack {name!r} takes {', '.join(taken)}. Received: {argument}.")
    if eps is not None and kind.norm == "linf":
        arguments["eps"] = eps
    return kind(**arguments)
