"""A training run of a reproduction, known by its settings, and how the paper's words become one."""

import dataclasses
import functools

from keras_mpdsgr.experiments.config import ExperimentConfig
from trainers.reproduction.scales import SUPERSPIKE, Scale

# What the paper's tables call a method, and the defence that it is.
METHODS = {
    "REG": "reg",
    "RAT": "reg",
    "StoG": "stog",
    "DLIF": "dlif",
    "FEEL": "feel",
    "SR": "sr",
    "Ours": "mpd_sgr",
    "none": "none",
}
CODINGS = {"DIR": "direct", "POS": "poisson", "RSC": "smoothing"}
SURROGATES = {"Rec": "rectangular", "Sig": "sigmoid", "Sup": "superspike"}
RANDOM_CODINGS = ("poisson", "smoothing")


@dataclasses.dataclass(frozen=True, eq=False)
class PlannedRun:
    """A training that a table or figure needs.

    Attributes:
        config: Its `ExperimentConfig`.
        size: Training images, height and channels, for estimates of time.
    """

    config: ExperimentConfig
    size: tuple[int, int, int]

    @functools.cached_property
    def key(self):
        """Digest of the configuration: equal for equal runs, whichever table asks."""
        return self.config.key()

    @property
    def folder(self):
        """Name of its folder."""
        c = self.config
        trained = "-at" if c.adversarial_training else ""
        others = "".join(
            f"-{value}"
            for value, usual in ((c.surrogate, "triangle"), (c.coding, "direct"))
            if value != usual
        )
        return (
            f"{c.dataset}-{c.model}{others}-{c.defense}{trained}-T{c.timesteps}-seed{c.seed}"
            f"-{self.key}"
        )

    @property
    def is_random(self):
        """Whether its network draws at inference."""
        return self.config.coding in RANDOM_CODINGS

    def __eq__(self, other):
        return isinstance(other, PlannedRun) and self.key == other.key

    def __hash__(self):
        return hash(self.key)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Makes runs of one scale.

    Attributes:
        scale: The `Scale`.
        seeds: Each run is done once by each.
        changes: Flags that the user has set for all runs; `eta` for those of MPD-SGR.
    """

    scale: Scale
    seeds: tuple = (42,)
    changes: dict = dataclasses.field(default_factory=dict)

    @property
    def eta(self):
        return self.changes.get("eta", self.scale.eta)

    def runs(self, dataset, model, method, timesteps, at=False, seed_offset=0, **others):
        """One run for each seed.

        Args:
            dataset: The paper's name of it.
            model: The paper's name of the network.
            method: A name of `METHODS`.
            timesteps: T, as this scale has it.
            at: Adversarial training.
            seed_offset: Added to the seed.
            **others: More settings.
        """
        scale, data = self.scale, self.scale.data[dataset]
        network = model.lower()
        settings = {
            **scale.settings,
            **data.settings,
            "dataset": data.flag,
            "model": network,
            "width": scale.widths[network],
            "timesteps": timesteps,
            "defense": METHODS[method],
            "adversarial_training": at,
            "coding": "direct",
            "surrogate": "triangle",
            **scale.model_settings.get(network, {}),
            **scale.method_settings.get(method, {}),
            **(SUPERSPIKE if others.get("surrogate") == "superspike" else {}),
            **self.changes,
            "eta": self.eta if method == "Ours" else 0.0,
            **others,
        }
        return tuple(
            PlannedRun(
                ExperimentConfig(**{**settings, "seed": seed + data.seed_offset + seed_offset}),
                data.size,
            )
            for seed in self.seeds
        )

    def substitutes(self, dataset, model, timesteps):
        """Runs without any regularizer, by other seeds, for black-box attacks."""
        return self.runs(dataset, model, "none", timesteps, seed_offset=1)
