"""Named suites of attacks, cheapest first."""

import functools
from collections.abc import Callable
from typing import Any

from keras_mpdsgr import attacks
from keras_mpdsgr.arguments import check_choice, check_integer, did_you_mean
from keras_mpdsgr.attacks.compiled import JIT_CHOICES
from keras_mpdsgr.evaluation.records import label_of
from keras_mpdsgr.inputs import check_radius

# Of AutoAttack's version for random models (Croce & Hein, 2020).
_RAND_DRAWS = 20
# Liu et al. (2024): a sample is robust if it survives the attack by every one of these backwards.
_SPARSE_GRADIENT_BACKWARDS: dict[str, dict[str, Any]] = {
    "triangle": {"surrogate": "triangle"},
    "sigmoid": {"surrogate": "sigmoid"},
    "arctan": {"surrogate": "arctan"},
    "bptr": {"gradient": "bptr"},
}


def suite(name, eps, eps_l2=0.5, jit="auto", eot=1):
    """The attacks of a suite, by name.

    Args:
        name: `"paper"`: FGSM, PGD and BIM by BPTT and by BPTR, CW, noise. `"standard"`: FGSM,
            PGD-50, Auto-PGD on two losses, Square. `"strongest"`: what was measured to break most:
            SA-PGD and Auto-PGD with ASSG, hill climbing from the images of SA-PGD, longer and
            towards every wrong class, and L2. `"backwards"`: PGD-50 by each of the published
            backward passes (SR's four, PDSG, HART).
            `"autoattack"`: AutoAttack, its standard version: Auto-PGD on cross-entropy and APGD-T,
            FAB-T, Square; through the model's own surrogate, where it spikes, and in
            `"autoattack_assg"` through ASSG. `"autoattack_rand"`, `"autoattack_rand_assg"`: its
            version for random models, Auto-PGD on cross-entropy and on DLR over 20 draws. With
            fewer than four classes APGD-T raises the difference of logits in place of DLR. Or a
            list of attack names, or a dictionary from a label to an `Attack`.
        eps: Radius of the L-infinity ball.
        eps_l2: Radius of the L2 ball.
        jit: XLA, as of `Attack`.
        eot: Draws that gradients are averaged over, for models random at inference; those of
            AutoAttack's version for random models are 20 whatever is given.

    Returns:
        A dictionary from label to `Attack`, in the order they run.

    Raises:
        ValueError: If a name is unknown, the list is empty, or a radius is out of range.

    Example:

    >>> list(suite(["fgsm", "pgd"], eps=8 / 255))
    ['fgsm', 'pgd']
    """
    check_radius("eps", eps)
    check_radius("eps_l2", eps_l2, most=float("inf"))
    check_choice("jit", jit, JIT_CHOICES)
    check_integer("eot", eot, "draws that a gradient is averaged over", least=1)
    if isinstance(name, dict):
        chosen = dict(name)
    elif isinstance(name, str):
        if name not in _SUITES:
            raise ValueError(
                f"`attacks` must be one of the suites {', '.join(_SUITES)}, or a list of attacks. "
                f"Received: {name!r}.{did_you_mean(name, _SUITES)}"
            )
        chosen = _SUITES[name](eps, eps_l2, {"jit": jit, "eot": eot})
    elif not isinstance(name, list | tuple):
        raise ValueError(
            "`attacks` must be the name of a suite, a list of attacks, or a dictionary of them. "
            f"Received: {name!r}."
        )
    else:
        chosen = {}
        for entry in name:
            label = label_of(entry) if isinstance(entry, attacks.Attack) else str(entry)
            if label in chosen:
                raise ValueError(
                    f"`attacks` names {label!r} twice; use a dictionary of labels. "
                    f"Received: {name!r}."
                )
            chosen[label] = entry
            if isinstance(entry, str):
                chosen[label] = attacks.get(entry, eps=eps, **_taken(entry, jit=jit, eot=eot))
    if not chosen:
        raise ValueError(f"`attacks` must name at least one attack. Received: {name!r}.")
    for label, attack in chosen.items():
        if not isinstance(attack, attacks.Attack):
            raise ValueError(
                f"`attacks` must hold names or `Attack` objects. Received: {attack!r} for "
                f"{label!r}."
            )
    return chosen


def names():
    """Names of the suites."""
    return list(_SUITES)


def _taken(name, **arguments):
    taken = attacks.argument_names(name)
    return {argument: value for argument, value in arguments.items() if argument in taken}


def _paper(eps, eps_l2, common):
    del eps_l2  # CW is without a bound there.
    chosen = {}
    for backward in ("bptt", "bptr"):
        options = {"gradient": backward, **common}
        suffix = "" if backward == "bptt" else f"_{backward}"
        for name in ("fgsm", "pgd", "bim"):
            chosen[name + suffix] = attacks.get(name, eps=eps, **options)
    chosen["cw"] = attacks.CarliniWagnerL2(steps=200, constant=1.0, binary_search_steps=1, **common)
    chosen["gaussian"] = attacks.GaussianNoise(jit=common["jit"])
    chosen["uniform"] = attacks.UniformNoise(jit=common["jit"])
    return chosen


def _standard(eps, eps_l2, common):
    del eps_l2
    options = {"eps": eps, **common}
    return {
        "fgsm": attacks.FGSM(**options),
        "pgd50": attacks.PGD(steps=50, step_size=eps / 4, keep="first", **options),
        "apgd_ce": attacks.APGD(**options),
        "apgd_dlr": attacks.APGD(loss="dlr", **options),
        "square": attacks.Square(eps=eps, jit=common["jit"]),
    }


def _strongest(eps, eps_l2, common):
    options = {"eps": eps, **common}
    l2 = {"eps": eps_l2, "gradient": "assg", **common}
    margin = attacks.SAPGD(loss="margin", targeted=True, **options)
    # Climbing ends in a local optimum, so that it is done from three attacks' images.
    return {
        "sapgd": attacks.SAPGD(**options),
        "apgd": attacks.APGD(gradient="assg", **options),
        "hill_climbing": attacks.HillClimbing(attacks.SAPGD(steps=500, **options)),
        "hill_climbing_margin": attacks.HillClimbing(attacks.MultiTargeted(margin)),
        "hill_climbing_targeted": attacks.HillClimbing(
            attacks.MultiTargeted(margin.replace(loss="cross_entropy"), targets=4)
        ),
        "apgd_l2": attacks.APGD(norm="l2", **l2),
        "cw_l2": attacks.CarliniWagnerL2(steps=100, binary_search_steps=5, **l2),
    }


def _backwards(eps, eps_l2, common):
    del eps_l2
    fifty = {"eps": eps, "steps": 50, "step_size": eps / 4, "keep": "first", **common}
    return {
        "pgd50": attacks.PGD(**fifty),
        **{
            label: attacks.PGD(**fifty, **backward)
            for label, backward in _SPARSE_GRADIENT_BACKWARDS.items()
        },
        "pdsg": attacks.PGD(gradient="pdsg", **fifty),
        "hart": attacks.HART(**fifty),
    }


def _autoattack(eps, eps_l2, common, gradient="bptt"):
    del eps_l2
    options = {"eps": eps, "gradient": gradient, **common}
    towards = attacks.APGD(loss="dlr", targeted=True, **options)
    chosen = {
        "apgd_ce": attacks.APGD(**options),
        "apgd_t": attacks.MultiTargeted(towards, targets=9),
        "fab_t": attacks.FAB(targets=9, **options),
    }
    square = attacks.Square(eps=eps, rescale_schedule=False, jit=common["jit"])
    return _by_gradient(chosen, gradient) | {"square": square}


def _autoattack_rand(eps, eps_l2, common, gradient="bptt"):
    del eps_l2
    options = {"eps": eps, "gradient": gradient, **common, "eot": _RAND_DRAWS}
    chosen = {"apgd_ce": attacks.APGD(**options), "apgd_dlr": attacks.APGD(loss="dlr", **options)}
    return _by_gradient(chosen, gradient)


def _by_gradient(chosen, gradient):
    """The same attacks, whose labels say what gradient they follow if it is not the model's own."""
    suffix = "" if gradient == "bptt" else f"_{gradient}"
    return {label + suffix: attack for label, attack in chosen.items()}


_SUITES: dict[str, Callable[..., dict[str, attacks.Attack]]] = {
    "paper": _paper,
    "standard": _standard,
    "strongest": _strongest,
    "backwards": _backwards,
    "autoattack": _autoattack,
    "autoattack_assg": functools.partial(_autoattack, gradient="assg"),
    "autoattack_rand": _autoattack_rand,
    "autoattack_rand_assg": functools.partial(_autoattack_rand, gradient="assg"),
}
