"""The rows of the ablation of robust training, as data: what each trains, and what it asks."""

import dataclasses

from keras_mpdsgr.experiments.config import ExperimentConfig
from keras_mpdsgr.experiments.conflicts import OF_SPIKING_NEURONS
from keras_mpdsgr.experiments.recipes import RECIPES
from keras_mpdsgr.experiments.settings import command_line

_AT = {"defense": "none", "eta": 0.0, "adversarial_training": True}
_PAPER = _AT | {"adversarial_eps": 2 / 255}
_SINGLE = _AT | {"adversarial_eps": 8 / 255, "adversarial_method": "n_fgsm"}
_SHARE = {"defense": "mpd_sgr"}
_TWIN = {"neuron": "relu"}
_LAST, _BEST = "last", "best"


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: a training, or another look at one.

    Attributes:
        name: What files and `--rows` know it by.
        title: What stands in the table.
        settings: Fields of `ExperimentConfig` beside those of the step.
        step: `"screen"` or `"final"`.
        judged: Which model is judged: `"best"` or `"last"` epoch's. In the final it is the one
            that the training keeps.
        run: Name of the row whose training it is, where it has none of its own.
        seed: Of the training.
    """

    name: str
    title: str
    settings: dict
    step: str = "screen"
    judged: str = _LAST
    run: str = ""
    seed: int = 42

    @property
    def trained_as(self):
        """Name of the training."""
        return self.run or self.name


@dataclasses.dataclass(frozen=True)
class Study:
    """Rows at one scale.

    Attributes:
        common: Settings of every training.
        screen, final: Settings of each step beside them.
        judged: In the screen, training images judged on, which no training of it sees.
        attacked: In the final, test images attacked; clean accuracy is on all of them.
        suites: In the final, suites of attacks that judge.
    """

    common: dict
    screen: dict
    final: dict
    judged: int
    attacked: int
    suites: tuple


CPU = Study(
    common={
        "dataset": "cifar10",
        "model": "vgg11",
        "width": 0.125,
        "timesteps": 4,
        "mixed_precision": "bfloat16",
        "validation_images": 500,
        "validation_every": 2,
    },
    screen={"limit_train": 20_000, "epochs": 12},
    final={"epochs": 16},
    judged=500,
    attacked=500,
    suites=("strongest", "autoattack"),
)
SMOKE = Study(
    common={
        "dataset": "digits",
        "model": "vgg11",
        "width": 0.06,
        "timesteps": 2,
        "batch_size": 32,
        "validation_images": 50,
    },
    screen={"limit_train": 600, "epochs": 2},
    final={"limit_train": 600, "epochs": 2},
    judged=50,
    attacked=20,
    suites=("standard",),
)
STUDIES = {"cpu": CPU, "smoke": SMOKE}

SCREEN = (
    Row("plain", "no defence", {"defense": "none", "eta": 0.0}),
    Row("mpd_sgr", "MPD-SGR, eta 0.05", _SHARE | {"eta": 0.05}),
    Row("mpd_sgr_1", "MPD-SGR, eta 1", _SHARE | {"eta": 1.0}),
    Row("paper_at", "AT as in the paper: PGD-2 at 2/255", _PAPER),
    Row("fgsm_rs", "FGSM-RS at 8/255", _SINGLE | {"adversarial_method": "fgsm_rs"}),
    Row("n_fgsm", "N-FGSM at 8/255", _SINGLE),
    Row("n_fgsm_stop", "+ robust early stopping", _SINGLE, judged=_BEST, run="n_fgsm"),
    Row("n_fgsm_ema", "+ EMA .995", _SINGLE | {"ema": 0.995}),
    Row("n_fgsm_awp", "+ AWP .01", _SINGLE | {"awp": 0.01}),
    Row("n_fgsm_smooth", "+ label smoothing .1", _SINGLE | {"label_smoothing": 0.1}),
    Row("n_fgsm_assg", "+ examples by ASSG", _SINGLE | {"adversarial_gradient": "assg"}),
    Row("n_fgsm_sr", "+ SR", _SINGLE | {"defense": "sr"}),
    Row(
        "n_fgsm_sr_soft_tau",
        "+ SR, with soft reset, tau .5",
        _SINGLE | {"defense": "sr", "reset": "soft", "tau": 0.5},
    ),
    Row("n_fgsm_long", "N-FGSM, 26 epochs: the cost of SR", _SINGLE | {"epochs": 26}),
    Row("n_fgsm_omega", "+ Omega, eta .05", _SINGLE | _SHARE | {"eta": 0.05}),
    Row("n_fgsm_omega_1", "+ Omega, eta 1", _SINGLE | _SHARE | {"eta": 1.0}),
    Row("n_fgsm_tgo", "+ TGO", _SINGLE | {"defense": "tgo"}),
    Row(
        "n_fgsm_sr_tgo_soft_tau",
        "+ SR and TGO, with soft reset, tau .5",
        _SINGLE | {"defense": "sr,tgo", "reset": "soft", "tau": 0.5},
    ),
    Row(
        "trades",
        "TRADES, beta 6, one step of 10/255 at 8/255",
        _AT
        | {
            "adversarial_loss": "trades",
            "adversarial_eps": 8 / 255,
            "adversarial_steps": 1,
            "adversarial_step_size": 10 / 255,
        },
    ),
    Row("n_fgsm_relu", "N-FGSM, plain twin (ReLU)", _SINGLE | _TWIN),
    Row("n_fgsm_soft", "N-FGSM, soft reset", _SINGLE | {"reset": "soft"}),
    Row("n_fgsm_tau", "N-FGSM, tau .5", _SINGLE | {"tau": 0.5}),
    Row("n_fgsm_soft_tau", "N-FGSM, soft reset, tau .5", _SINGLE | {"reset": "soft", "tau": 0.5}),
    Row("n_fgsm_t8", "N-FGSM, T = 8", _SINGLE | {"timesteps": 8}),
    Row("n_fgsm_narrow", "N-FGSM, gamma .5", _SINGLE | {"gamma": 0.5}),
    Row("n_fgsm_wide", "N-FGSM, gamma 2", _SINGLE | {"gamma": 2.0}),
)

# Without what the study sets for all its trainings.
_ROBUST = {name: value for name, value in RECIPES["robust"].items() if name not in CPU.common}
_OMEGA_TOO = {"defense": "sr,mpd_sgr", "eta": 1.0}
# Barely trained networks resist most: a choice among epochs would keep one where no training for
# robustness makes later ones resist more.
_UNCHOSEN = {"validation_images": None, "validation_every": 1}
_MORE_SEEDS = (43, 44)


def _kept(name, title, settings):
    """A row of the final, of which the model that the training keeps is judged."""
    return Row(name, title, settings, step="final", judged=_BEST)


def _seeded(name, title, settings):
    """A row of the final for each of three seeds."""
    first = _kept(name, title, settings)
    others = (
        dataclasses.replace(first, name=f"{name}_seed{seed}", seed=seed) for seed in _MORE_SEEDS
    )
    return (first, *others)


FINAL = (
    _kept("final_plain", "no defence", _UNCHOSEN | {"defense": "none", "eta": 0.0}),
    _kept("final_mpd_sgr", "MPD-SGR, eta 1", _UNCHOSEN | _SHARE | {"eta": 1.0}),
    *_seeded("final_paper_at", "AT as in the paper: PGD-2 at 2/255", _UNCHOSEN | _PAPER),
    *_seeded("final_robust", "recipe robust", _ROBUST),
    *_seeded("final_robust_omega", "recipe robust + Omega", _ROBUST | _OMEGA_TOO),
    _kept("final_relu", "recipe robust, plain twin (ReLU)", _ROBUST | _TWIN),
)

ROWS = {row.name: row for row in (*SCREEN, *FINAL)}

# The row that each is compared with, of the same step and seed.
BESIDE = {
    "mpd_sgr": "plain",
    "mpd_sgr_1": "plain",
    "paper_at": "plain",
    "n_fgsm": "paper_at",
    **{row.name: "n_fgsm" for row in SCREEN if row.name in ("fgsm_rs", "trades")},
    **{row.name: "n_fgsm" for row in SCREEN if row.name.startswith("n_fgsm_")},
    "n_fgsm_long": "n_fgsm_sr",
    "n_fgsm_sr_soft_tau": "n_fgsm_sr",
    "n_fgsm_sr_tgo_soft_tau": "n_fgsm_sr_soft_tau",
    "final_mpd_sgr": "final_plain",
    "final_paper_at": "final_plain",
    "final_relu": "final_robust",
}
# Pairs of trainings that have three seeds; the first is compared with the second.
SEEDED = (("final_robust", "final_paper_at"), ("final_robust_omega", "final_robust"))
BESIDE |= {
    f"{one}{seed}": f"{other}{seed}"
    for one, other in SEEDED
    for seed in ("", *(f"_seed{number}" for number in _MORE_SEEDS))
}


def config_of(row, study):
    """The `ExperimentConfig` of a row's training, without its folders."""
    step = study.screen if row.step == "screen" else study.final
    settings = {**study.common, **step, **row.settings, "seed": row.seed}
    if settings.get("neuron") == "relu":
        settings = {k: v for k, v in settings.items() if k not in OF_SPIKING_NEURONS}
    return ExperimentConfig(**settings)


def training_command(row, study):
    """The line for a shell that trains it."""
    return command_line(config_of(row, study).command())
