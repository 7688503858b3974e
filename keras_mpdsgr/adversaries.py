"""The adversaries of adversarial training: their names, and the steps that they take by default.

Apart from `defenses`, because a configuration needs them and does not load TensorFlow.
"""

METHODS = ("pgd", "fgsm_rs", "n_fgsm")
LOSSES = ("pgd", "trades")

_PGD_STEPS = 2
# In multiples of eps, from the public code of Wong et al.
_FGSM_RS_STEP = 1.25


def own_steps(method):
    """Number of steps where none is given."""
    return _PGD_STEPS if method == "pgd" else 1


def own_step_size(method, eps, steps):
    """Length of a step where none is given, in the unit of `eps`.

    >>> own_step_size("pgd", 0.4, 2), own_step_size("fgsm_rs", 0.4, 1)
    (0.2, 0.5)
    """
    if method == "pgd":
        return eps / min(steps, 4)
    return _FGSM_RS_STEP * eps if method == "fgsm_rs" else eps
