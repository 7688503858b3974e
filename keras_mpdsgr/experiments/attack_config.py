"""The configuration of an attack on a trained model."""

import dataclasses
import math
import re

from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import fields, kinds
from keras_mpdsgr.experiments import imports as modules
from keras_mpdsgr.experiments.config import (
    DATASET_KIND,
    DATASETS,
    JIT,
    JIT_HELP,
    check_dataset,
    more_datasets,
)
from keras_mpdsgr.experiments.settings import Settings

OUTPUTS = ("auto", "logits", "probabilities", "sigmoids")
# What `AttackConfig.substitute` says in place of a run folder.
TRAINED_NOW = "train"


def _is_shard(text):
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    return found is not None and 1 <= int(found[1]) <= int(found[2])


_SHARD = kinds.text_kind(_is_shard, "K/N, shard K of N with 1 <= K <= N, such as 2/8")


_GRID = kinds.Kind(
    "8, the bits of a pixel", lambda bits: check_integer("grid", bits, least=8, most=8), int
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackConfig(Settings):
    """Everything that defines an attack run; its fields are the flags of `trainers.attack`.

    The model is that of a run (`run_dir`), which knows its data set, or any `.keras` file
    (`model_file`), attacked on the test images of `dataset`.

    Raises:
        SetupError: If a value is not allowed, or two cannot be combined.

    Example:

    >>> AttackConfig(run_dir="runs/a", attacks=("fgsm", "pgd"), checks=True).command()
    ['trainers.attack', '--run_dir=runs/a', '--attacks=fgsm,pgd', '--checks']
    >>> AttackConfig(model_file="net.keras", dataset="digits").command()
    ['trainers.attack', '--model_file=net.keras', '--dataset=digits']
    """

    run_dir: str | None = fields.text(None, "Run folder of a finished training.")
    model_file: str | None = fields.text(
        None, "Attack this .keras file in place of a run; it needs dataset."
    )
    dataset: str | None = fields.choice(
        None, DATASETS, "Data set of model_file; of folder, at its size.", more=more_datasets
    )
    results_dir: str | None = fields.text(
        None, "Folder of the results of model_file; one beside it, named after it."
    )
    attacks: tuple | None = fields.several(
        kinds.TEXT, "Attacks, by name, separated by commas; else the suite.", "names of attacks"
    )
    suite: str = fields.text(
        "paper",
        "Suite of attacks: paper, standard, strongest, backwards, autoattack, autoattack_assg, "
        "autoattack_rand or autoattack_rand_assg.",
    )
    eps: float = fields.fraction(8 / 255, "Radius of the L-infinity ball.")
    eps_l2: float = fields.fraction(0.5, "Radius of the L2 ball.", most=math.inf)
    limit: int = fields.integer(1000, "Test images attacked.")
    batch_size: int = fields.integer(100, "Images attacked at a time.")
    seed: int = fields.integer(0, "Of all that is random.", least=0)
    data_dir: str | None = fields.text(
        None, "Folder of the data sets; the run's own, or that of TFDS."
    )
    imports: tuple = fields.modules()
    drop_broken: bool | None = fields.switch(
        None, "Leave broken samples out of later attacks; on, except for suite paper."
    )
    shard: str | None = fields.of_kind(
        _SHARD, None, "Attack one share of the images only, as 2/8: the second of 8."
    )
    merge: bool = fields.switch(False, "Merge the results of all shards.")
    dry_run: bool = fields.switch(False, "List the attacks and their largest cost; attack nothing.")
    checks: bool = fields.switch(False, "Run the gradient-obfuscation checks too.")
    checks_limit: int = fields.integer(100, "Test images that the checks look at.")
    substitute: str | None = fields.text(
        None,
        "Run folder whose model transfer examples are made on; train: one is trained now.",
    )
    sweep_eps: tuple | None = fields.several(
        kinds.fraction_kind(),
        "Radii of a sweep, as 1/255,2/255,4/255.",
        "numbers >= 0 and <= 1, separated by commas",
    )
    sweep_steps: tuple | None = fields.several(
        kinds.integer_kind(),
        "Numbers of steps of a sweep, as 1,2,4,8.",
        "whole numbers >= 1, separated by commas",
    )
    sweep_attack: str = fields.text("pgd", "Attack of the sweeps.")
    outputs: str = fields.choice(
        "auto",
        OUTPUTS,
        "What the model gives. auto: told from its last layers, else from its outputs.",
    )
    jit: str = fields.choice("auto", JIT, JIT_HELP)
    grid: int | None = fields.of_kind(
        _GRID, None, "Also count what images of so many bits a pixel break, as 8; none."
    )

    def __post_init__(self):
        super().__post_init__()
        self._check_model()
        if not self.shard:
            return
        if self.merge:
            raise SetupError(
                "`shard` and `merge` cannot be combined: `merge` puts all shards together."
            )
        for name in ("checks", "sweep_eps", "sweep_steps"):
            if getattr(self, name):
                raise SetupError(
                    f"`{name}` cannot be combined with `shard`. Run it without `shard`, or with "
                    "`merge`."
                )
        if self.substitute == TRAINED_NOW:
            raise SetupError(
                f"`substitute` {TRAINED_NOW} cannot be combined with `shard`: each shard would "
                "train one of its own. Name the run folder of one that is trained."
            )

    __hash__ = Settings.__hash__

    def _check_model(self):
        if self.model_file is None:
            for name in ("dataset", "results_dir"):
                if getattr(self, name) is not None:
                    raise SetupError(f"`{name}` is used only with `model_file`, which is not set.")
            return
        if self.run_dir is not None:
            raise SetupError(
                "`run_dir` and `model_file` cannot be combined. Received: "
                f"{self.run_dir} and {self.model_file}."
            )
        if self.dataset is None:
            known = ", ".join(DATASET_KIND.known())
            raise SetupError(f"`model_file` needs `dataset`, one of {known}.")
        if not modules.pending(self.imports):
            self.check_names()
        if self.substitute == TRAINED_NOW:
            raise SetupError(
                f"`substitute` {TRAINED_NOW} cannot be combined with `model_file`, of which it is "
                "not known how it was trained. Name the run folder of a substitute."
            )

    def check_names(self):
        """Checks the name of the data set, which a module may have registered.

        Raises:
            SetupError: If it is not known.
        """
        if self.dataset is not None:
            check_dataset(self.dataset)

    @property
    def chosen(self):
        """The attacks by name, or the suite."""
        return list(self.attacks) if self.attacks else self.suite

    def command(self):
        """The words after `python -m` of the command that does this."""
        return ["trainers.attack", *self.words()]
