"""Attacks in groups that are run at once, and what identifies a group's result."""

import dataclasses

from trainers.reproduction.runs import PlannedRun

EPS = 8 / 255
# Steps that are not cut any further: the paper's PGD.
_LEAST_STEPS = 7
_SWEPT_EPS_STEPS = 4
_TRANSFERRED = ("fgsm", "pgd", "bim")

_OF_MEASURE = {
    "clean": "clean",
    **dict.fromkeys(("fgsm", "pgd", "bim"), "white_box"),
    **dict.fromkeys(("fgsm_bptr", "pgd_bptr", "bim_bptr", "cw_bptr"), "rate"),
    "cw": "cw",
    **dict.fromkeys(("gaussian", "uniform"), "noise"),
    "worst_case": "strongest",
}
_OF_PREFIX = {"pgd_eps": "eps", "pgd_steps": "steps", "transfer_": "transfer"}


def group_of(measure):
    """The group that a measure comes from; None for what the training's own probe gives."""
    if measure in _OF_MEASURE:
        return _OF_MEASURE[measure]
    return next((group for prefix, group in _OF_PREFIX.items() if measure.startswith(prefix)), None)


@dataclasses.dataclass(frozen=True)
class Task:
    """One group of attacks on one run's model.

    Attributes:
        run: The run.
        group: Name of the group.
        substitute: The run whose model makes the examples of group `"transfer"`.
    """

    run: PlannedRun
    group: str
    substitute: PlannedRun | None = None

    @property
    def file(self):
        """Name of its results, without ending."""
        name = f"reproduce-{self.group}"
        return name if self.substitute is None else f"{name}-{self.substitute.key}"

    def asked(self, scale):
        """What its result depends on besides the model."""
        images = {
            "clean": None,
            "noise": None,
            "strongest": scale.strongest_images,
        }.get(self.group, scale.images)
        asked = {"images": images, "seed": self.run.config.seed, "eps": EPS}
        if self.group in ("strongest", "cw", "rate"):
            asked["share"] = scale.steps_share
        if self.group in ("eps", "steps"):
            asked["values"] = list(scale.swept_eps if self.group == "eps" else scale.swept_steps)
        if self.run.is_random:
            asked["eot"] = scale.eot
        return asked


def tasks(readings):
    """The tasks that readings need, each once, run by run in order of appearance."""
    by_run = {}
    for reading in readings:
        group = group_of(reading.measure)
        for i, run in enumerate(reading.runs):
            substitute = reading.substitutes[i] if reading.substitutes else None
            found = by_run.setdefault(run, {})
            if group is not None:
                found[Task(run, group, substitute)] = None
    return [task for found in by_run.values() for task in found]


def runs(readings):
    """The runs that readings need, each once: all substitutes, then the rest as they appear."""
    # A run is attacked as soon as it is trained, so that what is used for it must come before.
    substitutes = [run for reading in readings for run in reading.substitutes]
    attacked = [run for reading in readings for run in reading.runs]
    return list(dict.fromkeys([*substitutes, *attacked]))


def build(task, scale, jit="auto", substitute=None):
    """The attacks of a task, by label.

    Args:
        task: The `Task`.
        scale: The `Scale`.
        jit: XLA, as of `Attack`.
        substitute: For group `"transfer"`, the Keras model.
    """
    from keras_mpdsgr import attacks, evaluation

    if task.group == "clean":
        return {}
    common = {"jit": jit, "eot": scale.eot if task.run.is_random else 1}
    paper = evaluation.suite("paper", EPS, **common)
    if task.group in ("white_box", "noise"):
        return {label: paper[label] for label, group in _OF_MEASURE.items() if group == task.group}
    if task.group == "cw":
        return {"cw": at_a_share(paper["cw"], scale.steps_share)}
    if task.group == "rate":
        cw = at_a_share(paper["cw"], scale.steps_share)
        paper["cw_bptr"] = cw.replace(gradient="bptr")
        return {label: paper[label] for label, group in _OF_MEASURE.items() if group == "rate"}
    if task.group == "strongest":
        suite = evaluation.suite("strongest", EPS, **common)
        # The worst case is that of the L-infinity ball alone.
        return {
            label: at_a_share(attack, scale.steps_share)
            for label, attack in suite.items()
            if attack.norm == "linf"
        }
    if task.group == "eps":
        return {
            f"pgd_eps{v}": attacks.PGD(eps=v / 255, steps=_SWEPT_EPS_STEPS, **common)
            for v in scale.swept_eps
        }
    if task.group == "steps":
        return {f"pgd_steps{v}": attacks.PGD(eps=EPS, steps=v, **common) for v in scale.swept_steps}
    return {
        f"transfer_{label}": attacks.Transfer(substitute, paper[label]) for label in _TRANSFERRED
    }


def at_a_share(attack, share):
    """The same attack with a share of its steps and queries, but no fewer than the paper's PGD has.

    Args:
        attack: An `Attack`.
        share: In (0, 1].
    """
    from keras_mpdsgr.attacks import Attack

    changes = {}
    for name, value in attack.get_config().items():
        if isinstance(value, Attack):
            changes[name] = at_a_share(value, share)
        elif name == "members":
            changes[name] = [at_a_share(member, share) for member in value]
        elif name in ("steps", "queries"):
            changes[name] = max(min(value, _LEAST_STEPS), round(share * value))
    return attack.replace(**changes)


def what_was_cut(scale):
    """The sentence under a table whose attacks have fewer steps than they should, or none."""
    if scale.steps_share == 1:
        return ()
    return (
        "Iterative attacks of the worst case, hill climbing and CW have "
        f"{scale.steps_share:.0%} of their steps (no fewer than {_LEAST_STEPS}): the worst case "
        "is optimistic.",
    )
