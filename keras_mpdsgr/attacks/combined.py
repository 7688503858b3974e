"""Attacks made of others: ensembles, all wrong classes in turn, and transfer from a substitute."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_mpdsgr.arguments import check_integer, check_model
from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.base import Attack
from keras_mpdsgr.attacks.cohort import filled_batches, rows_of
from keras_mpdsgr.attacks.fields import derived, fixed, outside
from keras_mpdsgr.attacks.gradient_free import GradientFreeAttack
from keras_mpdsgr.inputs import check_fits


def _check_attack(name, attack):
    if not isinstance(attack, Attack):
        raise ValueError(f"`{name}` must be an `Attack`, or several. Received: {attack!r}.")
    return attack


def _check_members(name, members):
    members = members if isinstance(members, list | tuple) else [members]
    members = tuple(_check_attack(name, member) for member in members)
    norms = {member.norm for member in members}
    if len(norms) != 1:
        raise ValueError(
            f"`{name}` must be at least one attack, all of one norm. "
            f"Received: norms {sorted(norms)}."
        )
    radii = {getattr(member, "eps", None) for member in members}
    if len(radii) != 1:
        told = ", ".join(sorted("none" if radius is None else f"{radius:g}" for radius in radii))
        raise ValueError(f"`{name}` must be attacks of one radius. Received: eps {told}.")
    if len({member.targeted for member in members}) != 1:
        raise ValueError(
            f"`{name}` must be all targeted or none. Received: some with targeted=True."
        )
    return members


@dataclasses.dataclass(frozen=True, repr=False)
class _Combined(GradientFreeAttack):
    """Base of the attacks made of others, whose norm and radius are those of their members."""

    _: dataclasses.KW_ONLY
    jit: str = fixed("auto")
    eps: float | None = derived()

    def __post_init__(self):
        super().__post_init__()
        parts = self.parts()
        self._set("norm", parts[0].norm)
        self._set("eps", getattr(parts[0], "eps", None))
        self._set("targeted", parts[0].targeted)

    def parts(self):
        """The attacks it is made of."""
        return [self.attack]

    def passes(self):
        return [one for part in self.parts() for one in part.passes()]

    @property
    def needs_spikes(self):
        return any(part.needs_spikes for part in self.parts())

    def refusal(self, model, x):
        reasons = (part.refusal(model, x) for part in self.parts())
        return next((reason for reason in reasons if reason is not None), None)

    def _first_success(self, target, x, y, draws, batch_size, attempts):
        """Yields each sample's first image that breaks it, else that of the highest margin.

        Args:
            target, x, y, draws, batch_size: As of `attack_all`.
            attempts: Pairs of an attack and the labels it is given, `(n,)`.
        """
        left, found = np.arange(len(x)), np.array(x)
        best = np.full(len(x), -np.inf, np.float32)
        for number, (attack, labels) in enumerate(attempts):
            own, broken = target.beside(attack), np.zeros(len(x), bool)
            streams = draws.of(number).take(left)
            given = rows_of(labels, left)
            runs = attack.attack_all(own, x[left], given, streams, batch_size)
            for rows, images in target.counting(own, runs):
                rows = left[rows]
                judged = images, y[rows], draws.take(rows)
                reached, margin = self.judge(target, *judged, batch_size)
                broken[rows] = reached
                better = reached | (margin > best[rows])
                found[rows[better]], best[rows[better]] = images[better], margin[better]
                yield rows[reached], images[reached]
            left = left[~broken[left]]
            if not len(left):
                return
        yield left, found[left]


@dataclasses.dataclass(frozen=True, repr=False)
class Ensemble(_Combined):
    """Runs attacks one after the other; a sample survives only if it survives all.

    Returns each sample's first image that misclassifies, else that of the highest margin.

    Args:
        members: `Attack`s of one norm and one radius.

    Raises:
        ValueError: If there is none, or their norms or radii differ.
    """

    members: Sequence[Attack] = outside(check=_check_members)

    def parts(self):
        return self.members

    def attack_all(self, target, x, y, draws, batch_size):
        attempts = [(member, y) for member in self.members]
        yield from self._first_success(target, x, y, draws, batch_size, attempts)


@dataclasses.dataclass(frozen=True, repr=False)
class MultiTargeted(_Combined):
    """Runs a targeted attack towards each of the likeliest wrong classes (Gowal et al., 2019).

    Any misclassification is a success, whichever class it was steered towards. With an `APGD` on
    `"dlr"` it is AutoAttack's APGD-T.

    Args:
        attack: An attack made with `targeted=True`.
        targets: Number of wrong classes, the likeliest by the model's logits of the clean image
            first; at most all of them are tried.

    Raises:
        ValueError: If the attack is not targeted.
    """

    attack: Attack = outside(check=_check_attack)
    targets: int = outside(9, check_integer, "wrong classes tried", least=1)

    def __post_init__(self):
        super().__post_init__()
        if not self.attack.targeted:
            raise ValueError(
                f"`attack` must be made with targeted=True. Received: {self.attack!r}."
            )
        self._set("targeted", False)

    def passes(self):
        return [(backward, self.targets * number) for backward, number in self.attack.passes()]

    def attack_all(self, target, x, y, draws, batch_size):
        wrong = np.concatenate(
            [
                target.call(
                    self.wrong_classes, tf.constant(x[filled]), tf.constant(y[filled])
                ).numpy()[: len(rows)]
                for rows, filled in filled_batches(len(x), batch_size)
            ]
        )
        attempts = [
            (self.attack, losses.Goal(y, towards)) for towards in wrong[:, : self.targets].T
        ]
        yield from self._first_success(target, x, y, draws, batch_size, attempts)


@dataclasses.dataclass(frozen=True, repr=False)
class Transfer(_Combined):
    """A black-box attack: examples made on a substitute, shown to the model under attack.

    Args:
        substitute: A Keras model, such as one of the same architecture trained without defence.
        attack: The attack on the substitute.

    Raises:
        ValueError: If an argument is not a Keras model or not an `Attack`.
    """

    substitute: keras.Model = outside(check=check_model)
    attack: Attack = outside(check=_check_attack)

    @property
    def needs_spikes(self):
        return False  # of the model under attack

    def refusal(self, model, x):
        try:
            check_fits(self.substitute, x)
        except ValueError as error:
            return f"its substitute cannot take the images: {error}"
        return self.attack.refusal(self.substitute, x)

    def attack_all(self, target, x, y, draws, batch_size):
        own = self.attack.target(self.substitute)
        own.look(x)
        yield from target.counting(own, self.attack.attack_all(own, x, y, draws, batch_size))

    def __repr__(self):
        return f"Transfer({self.attack!r} on {self.substitute.name!r})"
