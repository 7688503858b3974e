"""Whether attacks can be applied to a model and its images, decided before the first one runs."""

import warnings

from keras_mpdsgr import attacks
from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.outputs import classes_of
from keras_mpdsgr.attacks.target import has_spiking_neurons
from keras_mpdsgr.evaluation.identity import attack_key


def admit(chosen, model, x):
    """The attacks that apply to a model and images, adapted where necessary.

    An attack by a backward pass of spiking neurons goes along the model's own gradient where the
    model has none, and is left out if it is then another attack of the suite.

    Args:
        chosen: Dictionary from a label to an `Attack`.
        model: A Keras classifier.
        x: Images, `(n, ...)`.

    Returns:
        The dictionary without what cannot run; what was left out, and why; what was changed, and
        how: both dictionaries from labels to words. A warning says so, too.

    Raises:
        ValueError: If an attack is targeted, or none can run.
    """
    for label, attack in chosen.items():
        if attack.targeted:
            raise ValueError(
                "`attacks` must be untargeted: the labels would be taken for targets. Received: a "
                f"targeted attack for {label!r}. Wrap it in attacks.MultiTargeted, which goes "
                "through the wrong classes."
            )
    spikes, classes = None, classes_of(model)
    admitted, left_out, adapted, known = {}, {}, {}, {}
    for label, attack in chosen.items():
        fitted = attack
        if attack.needs_spikes:
            spikes = has_spiking_neurons(model, x) if spikes is None else spikes
            if not spikes:
                fitted = along_own_gradient(attack)
        reason = fitted.refusal(model, x) if fitted else "the model has no spiking neurons."
        changes = []
        if reason is None and fitted is not attack:
            same = known.get(attack_key(fitted))
            if same is not None:
                reason = f"without spiking neurons it is {same}."
            changes.append("along the model's own gradient, as it has no spiking neurons.")
        if reason is not None:
            left_out[label] = reason
            continue
        needed = _classes_of_ratio(fitted)
        if classes is not None and classes < needed:
            changes.append(
                f"by the difference of logits, as DLR needs {needed} classes and there are "
                f"{classes}."
            )
        if changes:
            adapted[label] = " ".join(changes)
        admitted[label] = fitted
        known.setdefault(attack_key(fitted), label)
    if chosen and not admitted:
        told = " ".join(f"{label}: {reason}" for label, reason in left_out.items())
        raise ValueError(f"`attacks` must hold one that can take the model. Received: {told}")
    for done, labels in (("left out", left_out), ("adapted", adapted)):
        for label, reason in labels.items():
            warnings.warn(f"{label} is {done}: {reason}", stacklevel=3)
    return admitted, left_out, adapted


def _classes_of_ratio(attack):
    """Classes that its difference of logits ratio needs, or an attack's within it; else 0."""
    own = getattr(attack, "loss", None) == "dlr"
    needed = losses.RATIO_CLASSES[attack.targeted] if own else 0
    inner = (value for value in attack.get_config().values())
    flat = (
        one for value in inner for one in (value if isinstance(value, list | tuple) else [value])
    )
    return max(
        [needed, *(_classes_of_ratio(one) for one in flat if isinstance(one, attacks.Attack))]
    )


def along_own_gradient(attack):
    """An attack without backward passes of spiking neurons; None if there is none."""
    arguments = attack.get_config()
    changes = {}
    for name, value in arguments.items():
        if isinstance(value, attacks.Attack):
            changes[name] = along_own_gradient(value)
        elif isinstance(value, list | tuple) and any(isinstance(v, attacks.Attack) for v in value):
            plain = filter(None, map(along_own_gradient, value))
            changes[name] = list({attack_key(one): one for one in plain}.values())
    if any(not value for value in changes.values()):
        return None
    if isinstance(attack, attacks.Ensemble) and len(changes["members"]) == 1:
        return changes["members"][0]
    own = attack.gradient == "bptt" and attack.surrogate is None
    if not own or attack.detach_reset not in ("auto", None):
        if "gradient" not in arguments:
            return None
        changes |= {"gradient": "bptt", "surrogate": None}
        changes |= {"detach_reset": "auto", "sharpness": None}
    return attack.replace(**changes) if changes else attack
