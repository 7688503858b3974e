"""Accuracy against the strength of an attack: over eps, or over steps (paper, Figure 2)."""

import dataclasses
import time

import numpy as np

from keras_mpdsgr import attacks
from keras_mpdsgr.arguments import check_choice, check_number, check_whole
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.evaluation.robustness import evaluate
from keras_mpdsgr.files import read_json, write_json


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

    @staticmethod
    def holds(content):
        """Whether the content of a JSON file is a sweep."""
        return isinstance(content, dict) and {"name", "values", "counts", "total"} <= set(content)

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
        return cls.from_dict(read_json(path), path)

    @classmethod
    def from_dict(cls, content, source):
        """The sweep in a JSON file's content; `source` is what messages call the file."""
        if not cls.holds(content):
            raise SetupError(f"{source} holds no sweep.")
        try:
            seconds = check_number("seconds", content.get("seconds", 0.0), least=0)
            name, total = content["name"], content["total"]
            values = tuple(check_number("values", value, least=0) for value in content["values"])
            counts = tuple(check_whole("counts", n, "of images") for n in content["counts"])
            if not isinstance(name, str) or check_whole("total", total, "of images") < 1:
                raise ValueError("its `name` or `total` is wrong.")
            if not values or len(values) != len(counts) or max(counts) > total:
                raise ValueError("its counts do not fit.")
        except (TypeError, ValueError) as error:
            raise SetupError(f"{source} is a damaged sweep: {error}") from None
        return cls(name, tuple(content["values"]), counts, total, seconds)


def sweep(model, x, y, name, values, attack="pgd", **options):
    """Attacks a model at several strengths; every image is attacked at each.

    Args:
        model: A Keras classifier of pixels in [0, 1].
        x: Images, `(n, ...)`.
        y: True labels, `(n,)`.
        name: The argument that is varied: `"eps"` or `"steps"`.
        values: Its values.
        attack: Name of an attack.
        **options: Of `evaluate` (`batch_size`, `seed`, `progress`, `jit`), and `arguments`, a
            dictionary of the attack's other arguments.

    Returns:
        A `Sweep`.

    Raises:
        ValueError: If `name` is another, there are no values, or the attack refuses one.
    """
    check_choice("name", name, ("eps", "steps"))
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
