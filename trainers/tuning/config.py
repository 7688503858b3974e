"""The configuration of a search: that of its trials, and how values are chosen and judged."""

import dataclasses

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import fields, kinds
from keras_mpdsgr.experiments.config import ExperimentConfig
from keras_mpdsgr.experiments.settings import Settings

# Searched, so that their values say nothing of a search.
SEARCHED = ("eta", "gamma")
# Of one training alone.
_APART = (
    "distribute", "replicas", "worker_timeout", "validation_images", "validation_every", "patience",
)  # fmt: skip
# Flags that are known, for a message that says what to do, and not taken.
REFUSED = (*SEARCHED, *_APART)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig(ExperimentConfig):
    """Everything that defines a search; its fields are the flags of `trainers.tune`.

    Raises:
        SetupError: If a value is not allowed, or two cannot be combined.
    """

    width: float = fields.number(0.125, "Multiplier of all layer widths.", above=0)
    timesteps: int = fields.integer(4, "Length T of the window.")
    epochs: int = fields.integer(8, "Epochs.")

    algorithm: str = fields.choice(
        "random", ("random", "hyperband", "bayesian"), "How values are chosen."
    )
    objective: str = fields.choice(
        "robust",
        ("robust", "weighted", "constrained"),
        "Robust accuracy; a mean of clean and robust by clean_weight; or robust accuracy where the "
        "clean one reaches clean_floor.",
    )
    clean_weight: float = fields.number(
        0.5, "Weight of clean accuracy in objective weighted.", least=0, most=1
    )
    clean_floor: float = fields.number(
        0.8, "Least clean accuracy in objective constrained.", least=0, most=1
    )
    eta_range: tuple = fields.span((0.001, 1.0), "Lowest and highest eta, logarithmic.")
    gamma_range: tuple = fields.span((0.25, 4.0), "Lowest and highest gamma, logarithmic.")
    tau_range: tuple | None = fields.span(
        None, "Lowest and highest tau; tau is kept without it.", most=1.0
    )
    surrogates: tuple | None = fields.several(
        kinds.TEXT,
        "Surrogates to choose from, as triangle,arctan; else surrogate.",
        "names of surrogates",
    )
    validation_share: float = fields.number(
        0.2, "Share of the training images kept out of it.", above=0, most=1
    )
    search_images: int = fields.integer(100, "Images of these that a trial is judged on.")
    search_steps: int = fields.integer(20, "Gradient steps of the attacks that judge it.")
    max_trials: int = fields.integer(8, "Trials, at most.", apart=True)
    chief_address: str | None = fields.text(
        None, "HOST:PORT of the chief of a shared search.", apart=True
    )
    worker_id: str | None = fields.text(
        None, "Name of this process in a shared search: chief, or one of its own.", apart=True
    )

    def __post_init__(self):
        super().__post_init__()
        if self.neuron != "lif":
            raise SetupError(
                "`neuron` must be lif: a search is for what spiking neurons have. "
                f"Received: {self.neuron}."
            )
        if self.distribute != "none":
            raise SetupError(
                "`distribute` is for one training. Several processes share a search by "
                "`chief_address`."
            )
        if self.mixed_precision == "auto":
            raise SetupError(
                "`mixed_precision` auto is for one training: trials of a shared search could "
                "differ. Give off, float16 or bfloat16."
            )
        if self.patience is not None:
            raise SetupError("`patience` is for one training. A dead trial counts as failed.")
        if self.validation_images is not None:
            raise SetupError(
                "`validation_images` is for one training. A search sets images apart by "
                "`validation_share`."
            )

    __hash__ = Settings.__hash__

    def identity(self):
        return {k: v for k, v in super().identity().items() if k not in SEARCHED}

    def title(self):
        told = f"{self.dataset}-{self.model}-{self.algorithm}-{self.objective}"
        return f"tune-{told}-seed{self.seed}"

    def training(self, **changes):
        """The `ExperimentConfig` of a trial, or of the training of what was found."""
        names = [field.name for field in dataclasses.fields(ExperimentConfig)]
        return ExperimentConfig(**{**{name: getattr(self, name) for name in names}, **changes})

    def command(self):
        return ["trainers.tune", *self.words()]
