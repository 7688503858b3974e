"""The rows of the tables of docs/evaluation.md, as data: which attack on which images."""

import dataclasses
import math
import pathlib
from typing import Any

from keras_mpdsgr.arguments import did_you_mean
from keras_mpdsgr.errors import SetupError

# Of what is measured, a file a row; its page stands beside it.
FOLDER = pathlib.Path(__file__).resolve().parents[2] / "docs" / "evaluation"
EPS = 8 / 255
EPS_L2 = 0.5
MODEL = "digits"
PARTS = ("choice", "leaves", "grid", "published")
# The strongest suite was chosen by the second images and is measured on the first.
_MEASURED_ON, _CHOSEN_BY = (0, 150), (150, 300)


@dataclasses.dataclass(frozen=True)
class Made:
    """An attack as data.

    Attributes:
        kind: Name of the class in `keras_mpdsgr.attacks`.
        arguments: Its arguments, by name; attacks in them as `Made`, or as tuples of `Made`.
    """

    kind: str
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        name: What its file and `--rows` know it by.
        title: What stands in the table.
        part: One of `PARTS`.
        attack: A `Made`, or the name of a suite.
        images: The first test image and the one after the last.
        eps: Radius of the L-infinity ball.
        seed: Of all that is random.
        grid: Bits of a pixel that images are rounded to besides; None for no rounding.
    """

    name: str
    title: str
    part: str
    attack: Made | str
    images: tuple[int, int]
    eps: float = EPS
    seed: int = 0
    grid: int | None = None


def _sapgd(steps=100, **arguments):
    return Made("SAPGD", {"eps": EPS, "steps": steps} | arguments)


def _apgd(steps=100, **arguments):
    return Made("APGD", {"eps": EPS, "steps": steps, "gradient": "assg"} | arguments)


def _fifty(kind="PGD", **arguments):
    common = {"eps": EPS, "steps": 50, "step_size": EPS / 4, "keep": "first"}
    return Made(kind, common | arguments)


def _towards_each(loss, steps=100, targets=9):
    towards = _sapgd(steps, loss=loss, targeted=True)
    return Made("MultiTargeted", {"attack": towards, "targets": targets})


def _climb(start, queries=3000):
    return Made("HillClimbing", {"start": start, "queries": queries})


def sharpness(a):
    """ASSG's constant at which the arctan surrogate holds 2a of its mass within distance 1."""
    return 2 * math.tan(a * math.pi) / math.pi


_BETTER = Made("Ensemble", {"members": (_sapgd(500), _towards_each("margin", 200))})
_ALONE = {
    "targeted_margin_300": (
        "SA-PGD, ASSG, towards each wrong class, 300 steps, on the margin",
        _towards_each("margin", 300),
    ),
    "targeted_margin_100": (
        "SA-PGD, ASSG, towards each wrong class, 100 steps, on the margin",
        _towards_each("margin"),
    ),
    "targeted_100": (
        "SA-PGD, ASSG, towards each wrong class, 100 steps, on cross-entropy",
        _towards_each("cross_entropy"),
    ),
    "climb_500": ("hill climbing, 3,000 queries, from SA-PGD of 500 steps", _climb(_sapgd(500))),
    "climb_100": ("hill climbing, 3,000 queries, from SA-PGD of 100 steps", _climb(_sapgd())),
    "climb_100_short": (
        "hill climbing, 1,000 queries, from SA-PGD of 100 steps",
        _climb(_sapgd(), 1000),
    ),
    "climb_margin": (
        "hill climbing, 3,000 queries, from SA-PGD towards each wrong class on the margin",
        _climb(_towards_each("margin")),
    ),
    "climb_targeted": (
        "hill climbing, 3,000 queries, from SA-PGD towards the 4 likeliest on cross-entropy",
        _climb(_towards_each("cross_entropy", targets=4)),
    ),
    "climb_better": (
        "hill climbing, 3,000 queries, from the better of SA-PGD (500 steps) and the targeted "
        "margin (200)",
        _climb(_BETTER),
    ),
    "sapgd_500": ("SA-PGD, ASSG, 500 steps", _sapgd(500)),
    "sapgd_300": ("SA-PGD, ASSG, 300 steps", _sapgd(300)),
    "sapgd_100": ("SA-PGD, ASSG, 100 steps", _sapgd()),
    "sapgd_300_starts": ("SA-PGD, ASSG, 3 starts of 300 steps", _sapgd(300, restarts=3)),
    "sapgd_100_starts": ("SA-PGD, ASSG, 5 starts of 100 steps", _sapgd(restarts=5)),
    "apgd_300": ("Auto-PGD, ASSG, 300 steps", _apgd(300)),
    "apgd_100": ("Auto-PGD, ASSG, 100 steps", _apgd()),
    "sapgd_margin": ("SA-PGD, ASSG, 100 steps, on the margin", _sapgd(loss="margin")),
    "sapgd_dlr": ("SA-PGD, ASSG, 100 steps, on DLR", _sapgd(loss="dlr")),
    "hart": ("HART, 50 steps, three gammas", _fifty("HART")),
    "hart_narrow": ("HART, 50 steps, gamma 0.5", _fifty("HART", gammas=(0.5,))),
    "hart_one": ("HART, 50 steps, gamma 1", _fifty("HART", gammas=(1.0,))),
    "hart_wide": ("HART, 50 steps, gamma 2", _fifty("HART", gammas=(2.0,))),
    "sapgd_own": ("SA-PGD by the model's own surrogate, 100 steps", _sapgd(gradient="bptt")),
    "pgd50": ("PGD-50 by BPTT", _fifty()),
    "pgd50_pdsg": ("PGD-50 by PDSG", _fifty(gradient="pdsg")),
}
_VARIED = {
    "sapgd_reset": ("SA-PGD, ASSG through the reset, 100 steps", _sapgd(detach_reset=None)),
    "pgd50_cut": ("PGD-50 by BPTT, reset cut", _fifty(detach_reset=True)),
    "pgd50_pdsg_cut": ("PGD-50 by PDSG, reset cut", _fifty(gradient="pdsg", detach_reset=True)),
    "assg_350": ("SA-PGD, ASSG at a = .350, 100 steps", _sapgd(sharpness=sharpness(0.35))),
    "assg_400": ("SA-PGD, ASSG at a = .400, 100 steps", _sapgd(sharpness=sharpness(0.4))),
    "assg_460": ("SA-PGD, ASSG at a = .460, 100 steps", _sapgd(sharpness=sharpness(0.46))),
}
_SUITES = {
    "strongest_8": ("digits, 0-149, 8/255, seed 0", 8 / 255, 0),
    "strongest_8_seed1": ("digits, 0-149, 8/255, seed 1", 8 / 255, 1),
    "strongest_8_seed2": ("digits, 0-149, 8/255, seed 2", 8 / 255, 2),
    "strongest_4": ("digits, 0-149, 4/255, seed 0", 4 / 255, 0),
    "strongest_2": ("digits, 0-149, 2/255, seed 0", 2 / 255, 0),
}
_ROUNDED = {
    "grid_pgd": ("PGD-7", Made("PGD", {"eps": EPS})),
    "grid_sapgd": ("SA-PGD, ASSG, 100 steps", _sapgd()),
    "grid_apgd_l2": ("Auto-PGD, ASSG, in L2 at 0.5", _apgd(eps=EPS_L2, norm="l2")),
}
_PUBLISHED = {
    "autoattack": "digits, 0-149, `autoattack`",
    "autoattack_assg": "digits, 0-149, `autoattack_assg`",
}

ROWS = {
    row.name: row
    for row in (
        *(
            Row(name, title, "choice", attack, _CHOSEN_BY)
            for name, (title, attack) in (_ALONE | _VARIED).items()
        ),
        *(
            Row(name, title, "leaves", "strongest", _MEASURED_ON, eps, seed)
            for name, (title, eps, seed) in _SUITES.items()
        ),
        *(
            Row(name, title, "grid", attack, _MEASURED_ON, grid=8)
            for name, (title, attack) in _ROUNDED.items()
        ),
        *(Row(name, title, "published", name, _MEASURED_ON) for name, title in _PUBLISHED.items()),
    )
}

ALONE = tuple(_ALONE)
SUITES = tuple(_SUITES)
ROUNDED = tuple(_ROUNDED)
PUBLISHED = tuple(_PUBLISHED)
# Attack: its row with the reset cut, and as the neurons train.
RESETS = {
    "SA-PGD, ASSG, 100 steps": ("sapgd_100", "sapgd_reset"),
    "PGD-50 by BPTT": ("pgd50_cut", "pgd50"),
    "PGD-50 by PDSG": ("pgd50_pdsg_cut", "pgd50_pdsg"),
}
# a: its row.
SHARPNESS = {0.35: "assg_350", 0.4: "assg_400", 0.425: "sapgd_100", 0.46: "assg_460"}
# What is added to the two runs of SA-PGD: one climb, or three from other images.
BEFORE = ("sapgd_100", "sapgd_500")
ADDED = {
    "and one climb, from the better of SA-PGD (500 steps) and the targeted margin (200)": (
        "climb_better",
    ),
    "and three climbs: from SA-PGD (500 steps), from the targeted margin (100), from targeted "
    "cross-entropy (100)": ("climb_500", "climb_margin", "climb_targeted"),
}
# What is asked whether it breaks an image that no targeted run and no climb has broken.
TARGETED_AND_CLIMBS = tuple(name for name in _ALONE if name.startswith(("targeted", "climb")))
OTHERS = ("apgd_100", "apgd_300", "sapgd_dlr", "hart", "pgd50", "pgd50_pdsg")


def chosen_rows(part, names):
    """The rows of a part and of these names; all where there are none.

    Raises:
        SetupError: If there is no row of a name, or none of it in the part.
    """
    own = [name for name, row in ROWS.items() if part in (None, row.part)]
    for name in names:
        if name not in own:
            raise SetupError(
                f"--rows must be of {', '.join(own)}. Received: {name}.{did_you_mean(name, own)}"
            )
    return [ROWS[name] for name in own if not names or name in names]
