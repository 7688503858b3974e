"""The control of a search: the best trial's network trained without the regularizer."""

import dataclasses

import keras
import keras_tuner
import numpy as np

from keras_mpdsgr import evaluation
from keras_mpdsgr.files import read_json, write_json
from trainers.tuning import trials

ALPHA = 0.05


@dataclasses.dataclass
class Control:
    """A control that was measured.

    Attributes:
        values: As of the best trial, but `eta`, which is 0.
        epochs: Epochs trained; None for those of the flags.
        measured: What the objective has measured, by name.
        right: Whether each image is right under every attack, a list of 0 and 1.
    """

    values: dict
    epochs: int | None
    measured: dict
    right: list


def run(path, best, model, show):
    """The `Control` of a search, trained now or read back.

    Args:
        path: The JSON file it is kept in.
        best: The best `results.Trial`.
        model: The `TrialModel`.
        show: The `SearchShow`.
    """
    values = {**best.values, "eta": 0.0}
    if path.is_file():
        kept = Control(**read_json(path))
        if (kept.values, kept.epochs) == (values, best.epochs):
            return kept
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    if best.epochs is not None:
        hp.values[trials.EPOCHS] = best.epochs
    with show.control(values) as callbacks:
        keras.utils.clear_session()
        measured = model.fit(hp, model.build(hp), callbacks=callbacks)
    right = [int(one) for one in model.objective.right]
    control = Control(values, best.epochs, measured, right)
    write_json(path, dataclasses.asdict(control))
    return control


def verdict(control, right, chosen_among):
    """Whether the regularizer has helped, in words.

    The best of several trials, chosen by the same images, looks better than it is. The p-value of
    McNemar's test is therefore multiplied by their number (Bonferroni), which bounds the error of
    choosing among them, whatever they have in common.

    Args:
        control: The `Control`.
        right: Whether each image is right under every attack on the best trial's network; None
            where that is not known here.
        chosen_among: Number of trials that were measured.
    """
    said = (
        f"control, eta 0 with the best trial's other values: clean "
        f"{control.measured['clean']:.1%}, robust {control.measured['robust']:.1%}"
    )
    if control.measured["failed"]:
        return f"{said}; it has failed, so nothing can be said about the regularizer."
    if right is None or len(right) != len(control.right):
        return f"{said}. Another machine has the best trial's images: the two are not compared."
    test = evaluation.mcnemar(np.asarray(right, bool), np.asarray(control.right, bool))
    p = min(1.0, chosen_among * float(test))
    if p >= ALPHA:
        outcome = "It is not shown that the regularizer makes a difference"
    elif test.only_first > test.only_second:
        outcome = "The regularizer has helped"
    else:
        outcome = "The regularizer has harmed"
    return (
        f"{said}. Of {len(right)} images the best trial alone is robust on {test.only_first}, the "
        f"control alone on {test.only_second}: p = {p:.2g} (McNemar, times {chosen_among} trials). "
        f"{outcome}, by one seed."
    )
