"""Which epoch's model a run keeps: the most robust one on images set apart."""

import dataclasses
import math

ROBUST, SINGLE_STEP, CLEAN = "val_robust_accuracy", "val_fgsm_accuracy", "val_accuracy"


@dataclasses.dataclass(frozen=True)
class Epoch:
    """What was measured of an epoch on the images set apart.

    Attributes:
        number: Its number, from 1.
        robust: Accuracy under PGD-10.
        single_step: Accuracy under FGSM.
        clean: Accuracy on the clean images.
    """

    number: int
    robust: float
    single_step: float
    clean: float


def measured(metrics):
    """The epochs that were measured, in order.

    Args:
        metrics: As of `Run.metrics`.
    """
    if ROBUST not in metrics:
        return []
    columns = (metrics[name] for name in ("epoch", ROBUST, SINGLE_STEP, CLEAN))
    return [
        epoch for row in zip(*columns, strict=True) if not math.isnan((epoch := Epoch(*row)).robust)
    ]


def best(epochs):
    """The most robust of these epochs, of equal ones the more accurate, then the first; or None."""
    return max(epochs, key=lambda epoch: (epoch.robust, epoch.clean), default=None)


def overfits_catastrophically(epochs):
    """Whether the last of these epochs resists single steps alone (Wong et al., 2020).

    So it is called where accuracy under PGD has fallen below half of the best epoch's, and accuracy
    under FGSM has not fallen below that epoch's.

    Args:
        epochs: `Epoch`s, in order.
    """
    if not epochs:
        return False
    top, last = best(epochs), epochs[-1]
    return last.robust < top.robust / 2 and last.single_step >= top.single_step
