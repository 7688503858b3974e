"""A training run of a reproduction, known by its settings, and how the paper's words become one."""

import dataclasses
import functools
import hashlib
import json

from trainers.experiment_flags import PLACE_FLAGS
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

# Flags of the machine, which change how fast a run is but not which run it is.
_MACHINE_FLAGS = ("jit", "recompute")


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A training run.

    Attributes:
        settings: The trainers' flags, by name.
        size: Training images, height and channels, for estimates of time.
        usual: Every training flag with its default.
    """

    settings: dict
    size: tuple[int, int, int]
    usual: dict = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def key(self):
        """Digest of the settings: equal for equal runs, whichever table asks.

        Flags at their default are left out, so that a flag that is new makes no run another.
        """
        skipped = {*PLACE_FLAGS, *_MACHINE_FLAGS}
        asked = {
            name: value
            for name, value in self.settings.items()
            if name not in skipped and not (name in self.usual and self.usual[name] == value)
        }
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:10]

    @property
    def folder(self):
        """Name of its folder."""
        s = self.settings
        trained = "-at" if s["adversarial_training"] else ""
        others = "".join(
            f"-{s[name]}"
            for name, usual in (("surrogate", "triangle"), ("coding", "direct"))
            if s[name] != usual
        )
        return (
            f"{s['dataset']}-{s['model']}{others}-{s['defense']}{trained}-T{s['timesteps']}"
            f"-seed{s['seed']}-{self.key}"
        )

    @property
    def is_random(self):
        """Whether its network draws at inference."""
        return self.settings["coding"] in RANDOM_CODINGS

    def __eq__(self, other):
        return isinstance(other, Run) and self.key == other.key

    def __hash__(self):
        return hash(self.key)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Makes runs of one scale.

    Attributes:
        scale: The `Scale`.
        defaults: Every training flag with its default.
        seeds: Each run is done once by each.
        changes: Flags that the user has set for all runs; `eta` for those of MPD-SGR.
    """

    scale: Scale
    defaults: dict
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
            **others: More training flags.
        """
        scale, data = self.scale, self.scale.data[dataset]
        network = model.lower()
        settings = {
            **self.defaults,
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
            Run(
                {**settings, "seed": seed + data.seed_offset + seed_offset},
                data.size,
                self.defaults,
            )
            for seed in self.seeds
        )

    def substitutes(self, dataset, model, timesteps):
        """Runs without any regularizer, by other seeds, for black-box attacks."""
        return self.runs(dataset, model, "none", timesteps, seed_offset=1)
