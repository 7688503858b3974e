"""Accuracy against the strength of an attack: over eps, or over steps (paper, Figure 2)."""

import dataclasses

import numpy as np

from keras_mpdsgr import attacks
from keras_mpdsgr.arguments import check_choice
from keras_mpdsgr.evaluation.robustness import evaluate


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Accuracy at each value of one argument of an attack.

    Attributes:
        name: The argument: `"eps"` or `"steps"`.
        values: Its values.
        counts: Images classified right at each.
        total: Images attacked.
    """

    name: str
    values: tuple
    counts: tuple
    total: int

    @property
    def accuracy(self):
        """Share classified right at each value."""
        return [count / self.total for count in self.counts]


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
    counts = []
    for one, value in zip(made, values, strict=True):
        label = f"{attack} at {name} {value:.4g}"
        report = evaluate(model, x, y, {label: one}, drop_broken=False, **options)
        counts.append(int(np.sum(report.correct(label))))
    return Sweep(name, tuple(values), tuple(counts), len(y))
