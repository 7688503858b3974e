"""The figures as data: panels, curves, and what each point is read from."""

import dataclasses

from trainers.reproduction.plan import Reading

_ATTACKS = {"FGSM": "fgsm", "PGD": "pgd", "BIM": "bim"}


@dataclasses.dataclass(frozen=True)
class Curve:
    """Figures along an axis: a label, the places, and a `Reading` at each."""

    label: str
    values: tuple
    readings: tuple


@dataclasses.dataclass(frozen=True)
class Panel:
    """Curves that share their axes.

    Attributes:
        title, axis: Above it, and below.
        curves: The `Curve`s.
        bars: Whether the places are names, drawn as bars.
        unit: Axis at the left.
    """

    title: str
    axis: str
    curves: tuple
    bars: bool = False
    unit: str = "accuracy, %"


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: Value of --figure.
        caption: What it shows.
        datasets: The paper's data sets in it.
        panels: The `Panel`s, row by row.
        across: Panels in a row.
        pair: For figures that look into the models: runs by label, vanilla first.
        notes: What the paper left open and was chosen here.
    """

    name: str
    caption: str
    datasets: tuple = ("CIFAR-10",)
    panels: tuple = ()
    across: int = 2
    pair: dict = dataclasses.field(default_factory=dict)
    notes: tuple = ()

    def readings(self):
        """Every reading."""
        return [one for panel in self.panels for curve in panel.curves for one in curve.readings]


def figure(name, recipe):
    """The plan of one figure.

    Args:
        name: One of `NAMES`.
        recipe: The `Recipe` that makes its runs.
    """
    return _FIGURES[name](recipe)


def _four(recipe, model, timesteps):
    """The four models of Figure 2, by label."""
    return {
        label: recipe.runs("CIFAR-10", model, method, timesteps, at=at)
        for label, method, at in (
            ("vanilla", "REG", False),
            ("ours", "Ours", False),
            ("vanilla, AT", "RAT", True),
            ("ours, AT", "Ours", True),
        )
    }


def _figure2(recipe):
    scale, timesteps = recipe.scale, recipe.scale.timesteps[4]
    panels = []
    for axis, title, values, measure in (
        ("eps, /255", "PGD, 4 steps", scale.swept_eps, "pgd_eps{}"),
        ("steps", "PGD, eps 8/255", scale.swept_steps, "pgd_steps{}"),
    ):
        for model in ("VGG11", "WRN16"):
            curves = [
                Curve(label, values, tuple(Reading(runs, measure.format(v)) for v in values))
                for label, runs in _four(recipe, model, timesteps).items()
            ]
            panels.append(Panel(f"{model}: {title}", axis, tuple(curves)))
    return Figure(
        name="2",
        caption=f"Figure 2: PGD of growing strength (CIFAR-10, T = {timesteps})",
        panels=tuple(panels),
        notes=("Steps of 0.01; vanilla is REG, with AT it is RAT.",),
    )


def _figure3(recipe):
    timesteps = recipe.scale.timesteps[4]
    panels = []
    for model in ("VGG11", "WRN16"):
        substitutes = recipe.substitutes("CIFAR-10", model, timesteps)
        curves = []
        for label, method in (("vanilla", "REG"), ("ours", "Ours")):
            runs = recipe.runs("CIFAR-10", model, method, timesteps)
            white = tuple(Reading(runs, measure) for measure in _ATTACKS.values())
            black = tuple(
                Reading(runs, f"transfer_{measure}", substitutes) for measure in _ATTACKS.values()
            )
            curves.append(Curve(f"{label}, white-box", tuple(_ATTACKS), white))
            curves.append(Curve(f"{label}, black-box", tuple(_ATTACKS), black))
        panels.append(Panel(model, "attack", tuple(curves), bars=True))
    return Figure(
        name="3",
        caption=f"Figure 3: black-box attacks beside white-box (CIFAR-10, T = {timesteps})",
        panels=tuple(panels),
        notes=(
            "The substitute is of the same architecture, trained by another seed and without any "
            "regularizer but weight decay. Vanilla is REG.",
        ),
    )


def _pair(recipe, timesteps):
    return {
        "vanilla": recipe.runs("CIFAR-10", "VGG11", "REG", timesteps),
        "ours": recipe.runs("CIFAR-10", "VGG11", "Ours", timesteps),
    }


def _omega(recipe):
    timesteps = recipe.scale.timesteps[8]
    return Figure(
        name="omega",
        caption=f"Omega and the potentials' moments over training (CIFAR-10, VGG11, "
        f"T = {timesteps})",
        pair=_pair(recipe, timesteps),
        notes=("Vanilla is REG. Of v = u - v_th on one fixed batch of training images.",),
    )


def _mpd(recipe):
    timesteps = recipe.scale.timesteps[8]
    return Figure(
        name="mpd",
        caption=f"Membrane potentials before (vanilla) and after (ours) (CIFAR-10, VGG11, "
        f"T = {timesteps})",
        pair=_pair(recipe, timesteps),
        notes=("Vanilla is REG.",),
    )


def _eta(recipe):
    timesteps, values = recipe.scale.timesteps[8], recipe.scale.swept_eta
    swept = {
        eta: recipe.runs("CIFAR-10", "VGG11", "Ours", timesteps, eta=eta)
        if eta
        else recipe.runs("CIFAR-10", "VGG11", "none", timesteps)
        for eta in values
    }
    measures = {"clean": "clean", "PGD": "pgd", "worst case": "worst_case"}
    curves = tuple(
        Curve(label, values, tuple(Reading(swept[eta], measure) for eta in values))
        for label, measure in measures.items()
    )
    omega = Curve("Omega", values, tuple(Reading(swept[eta], "omega") for eta in values))
    return Figure(
        name="eta",
        caption=f"The weight eta of Omega (CIFAR-10, VGG11, T = {timesteps})",
        panels=(
            Panel("accuracy", "eta", curves),
            Panel("share of potentials in the window", "eta", (omega,), unit="Omega"),
        ),
        notes=("All with weight decay, so that eta alone differs.",),
    )


def _timesteps(recipe):
    values = recipe.scale.swept_timesteps
    panels = []
    for title, measure in (
        ("clean", "clean"),
        ("FGSM", "fgsm"),
        ("PGD", "pgd"),
        ("worst case", "worst_case"),
    ):
        curves = [
            Curve(
                label,
                values,
                tuple(
                    Reading(recipe.runs("CIFAR-10", "VGG11", method, t), measure) for t in values
                ),
            )
            for label, method in (("vanilla", "REG"), ("ours", "Ours"))
        ]
        panels.append(Panel(title, "T", tuple(curves)))
    return Figure(
        name="timesteps",
        caption="The number of time steps T (CIFAR-10, VGG11)",
        panels=tuple(panels),
        notes=("Vanilla is REG.",),
    )


_FIGURES = {
    "2": _figure2,
    "3": _figure3,
    "omega": _omega,
    "eta": _eta,
    "mpd": _mpd,
    "timesteps": _timesteps,
}
NAMES = tuple(_FIGURES)
