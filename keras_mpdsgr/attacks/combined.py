"""Attacks made of others: ensembles, all wrong classes in turn, and transfer from a substitute."""

import numpy as np
import tensorflow as tf

from keras_mpdsgr.arguments import check_integer, check_model
from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.ball import per_image
from keras_mpdsgr.attacks.base import Attack


class Ensemble(Attack):
    """Runs attacks one after the other; a sample survives only if it survives all.

    Returns each sample's first image that misclassifies, else the last attack's.

    Args:
        members: `Attack`s of one norm.

    Raises:
        ValueError: If there is none, or their norms differ.
    """

    def __init__(self, members):
        super().__init__()
        self.members = [_checked("members", member) for member in _listed(members)]
        norms = {member.norm for member in self.members}
        if len(norms) != 1:
            raise ValueError(
                "`members` must be at least one attack, all of one norm. "
                f"Received: norms {sorted(norms)}."
            )
        self.norm = norms.pop()
        if self.norm == "linf":
            self.eps = max(member.eps for member in self.members)

    def passes(self):
        return [one for member in self.members for one in member.passes()]

    def perturb(self, target, x, y, draws):
        found, broken = x, tf.zeros(tf.shape(y), tf.bool)
        for member in self.members:
            own = member.target(target.model)
            tried = member.perturb(own, x, y, draws)
            target.gradient_calls += own.gradient_calls
            found = tf.where(per_image(broken, x), found, tried)
            broken = target.call(self, "breaks", found, y)
            if bool(tf.reduce_all(broken)):
                break
        return found

    def breaks(self, target, x, y):
        return ~losses.correct(target.logits(x), y)

    def static_key(self):
        return ()


class MultiTargeted(Attack):
    """Runs a targeted attack towards each of the likeliest wrong classes (Gowal et al., 2019).

    Args:
        attack: An attack made with `targeted=True`.
        targets: Number of wrong classes, the likeliest first; at most all of them are tried.

    Raises:
        ValueError: If the attack is not targeted.
    """

    outside_the_step = ("attack", "targets")

    def __init__(self, attack, targets=9):
        super().__init__()
        if not getattr(_checked("attack", attack), "targeted", False):
            raise ValueError(f"`attack` must be made with targeted=True. Received: {attack!r}.")
        self.attack = attack
        self.targets = check_integer("targets", targets, "wrong classes tried", least=1)
        self.norm = attack.norm
        if self.norm == "linf":
            self.eps = attack.eps

    def passes(self):
        return [(backward, self.targets * number) for backward, number in self.attack.passes()]

    def perturb(self, target, x, y, draws):
        logits = np.array(target.call(self, "scores", x))
        logits[np.arange(len(logits)), y.numpy()] = -np.inf
        wrong = np.argsort(-logits, axis=1)[:, : min(self.targets, logits.shape[1] - 1)]
        own = self.attack.target(target.model)
        found, broken = x, tf.zeros(tf.shape(y), tf.bool)
        for classes in wrong.T:
            tried = self.attack.perturb(own, x, tf.constant(classes, y.dtype), draws)
            found = tf.where(per_image(broken, x), found, tried)
            broken = target.call(self, "breaks", found, y)
            if bool(tf.reduce_all(broken)):
                break
        target.gradient_calls += own.gradient_calls
        return found

    def scores(self, target, x):
        return target.logits(x)

    def breaks(self, target, x, y):
        return ~losses.correct(target.logits(x), y)


class Transfer(Attack):
    """A black-box attack: examples made on a substitute, shown to the model under attack.

    Args:
        substitute: A Keras model, such as one of the same architecture trained without defence.
        attack: The attack on the substitute.

    Raises:
        ValueError: If an argument is no Keras model or no `Attack`.
    """

    outside_the_step = ("attack", "substitute")

    def __init__(self, substitute, attack):
        super().__init__()
        self.substitute = check_model("substitute", substitute)
        self.attack = _checked("attack", attack)
        self.norm = attack.norm
        if self.norm == "linf":
            self.eps = attack.eps

    def passes(self):
        return self.attack.passes()

    def perturb(self, target, x, y, draws):
        own = self.attack.target(self.substitute)
        found = self.attack.perturb(own, x, y, draws)
        target.gradient_calls += own.gradient_calls
        return found

    def __repr__(self):
        return f"Transfer({self.attack!r} on {self.substitute.name!r})"


def _checked(name, attack):
    if not isinstance(attack, Attack):
        raise ValueError(f"`{name}` must be an `Attack`, or several. Received: {attack!r}.")
    return attack


def _listed(members):
    return members if isinstance(members, list | tuple) else [members]
