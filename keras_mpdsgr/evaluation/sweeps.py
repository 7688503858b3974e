"""Accuracy against the strength of an attack: over eps, or over steps (paper, Figure 2)."""

import dataclasses
import math
import time

import numpy as np

from keras_mpdsgr import attacks
from keras_mpdsgr.arguments import check_choice, check_integer, check_number
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.evaluation.robustness import evaluate
from keras_mpdsgr.files import read_json, write_json

_VARIED = ("eps", "steps")


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Accuracy at each value of one argument of an attack.

    Attributes:
        name: The argument: `"eps"` or `"steps"`.
        values: Its values.
        counts: Images classified right at each.
        total: Images attacked.
        seconds: Time taken.
    """

    name: str
    values: tuple
    counts: tuple
    total: int
    seconds: float = 0.0

    @property
    def accuracy(self):
        """Share classified right at each value."""
        return [count / self.total for count in self.counts]

    def to_json(self, path):
        """Writes the sweep as JSON, whole or not at all."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def from_json(cls, path):
        """Reads the sweep that `to_json` has written.

        Args:
            path: The file.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        held = read_json(path)
        try:
            values, counts = tuple(held["values"]), tuple(held["counts"])
            found = cls(held["name"], values, counts, held["total"], held.get("seconds", 0.0))
            check_choice("name", found.name, _VARIED)
            for value in (*values, found.seconds):
                check_number("values", value, least=0)
            for count in (*counts, check_integer("total", found.total, "images attacked", least=1)):
                check_integer("counts", count, "images classified right", least=0)
            if len(values) != len(counts) or max(counts, default=math.inf) > found.total:
                raise ValueError("`counts` must hold one number up to `total` for each value.")
        except (KeyError, TypeError, ValueError) as error:
            raise SetupError(f"{path} is a damaged sweep: {error}") from None
        return found


def sweep(model, x, y, name, values, attack="pgd", **options):
    """Attacks a model at several strengths; every image is attacked at each.

    Args:
        model: A Keras classifier of pixels in [0, 1].
        x: Images, `(n, ...)`.
        y: True labels, `(n,)`.
        name: The argument that is varied: `"eps"` or `"steps"`.
        values: Its values.
        attack: Name of an attack.
        **options: Of `evaluate` (`batch_size`, `seed`, `progress`, `outputs`), and `arguments`, a
            dictionary of the attack's other arguments.

    Returns:
        A `Sweep`.

    Raises:
        ValueError: If `name` is another, there are no values, or the attack refuses one.
    """
    check_choice("name", name, _VARIED)
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"`values` must be a list of at least one value. Received: {values!r}.")
    arguments = options.pop("arguments", {})
    made = [attacks.get(attack, **{**arguments, name: value}) for value in values]
    counts, began = [], time.monotonic()
    for one, value in zip(made, values, strict=True):
        label = f"{attack} at {name} {value:.4g}"
        report = evaluate(model, x, y, {label: one}, drop_broken=False, **options)
        counts.append(int(np.sum(report.correct(label))))
    seconds = round(time.monotonic() - began, 3)
    return Sweep(name, tuple(values), tuple(counts), len(y), seconds)
