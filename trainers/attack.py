"""Attacks the model of a run folder and prints its robustness.

    python -m trainers.attack --run_dir RUN_DIR --attacks fgsm,pgd,bim --eps 8/255

Exit status: 0; 2 for what you can mend; 1 for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from trainers import program
from trainers.experiment_flags import define_fraction

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Run folder of a finished training.")
_ATTACKS = flags.DEFINE_list("attacks", None, "Attacks, by name, separated by commas.")
_SUITE = flags.DEFINE_string("suite", "paper", "Suite of attacks, if --attacks names none.")
_EPS = define_fraction("eps", 8 / 255, "Radius of the L-infinity ball.")
_LIMIT = flags.DEFINE_integer("limit", 1000, "Test images attacked.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch_size", 100, "Images attacked at a time.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of all that is random.", lower_bound=0)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data sets; the run's own.")
_DROP = flags.DEFINE_bool("drop_broken", True, "Spare broken samples the dearer attacks.")


def main():
    if not _RUN_DIR.value:
        raise program.UsageError("--run_dir must name the folder of a finished training.")
    from trainers import attacking

    attacking.attack_run(
        run_dir=_RUN_DIR.value,
        chosen=_ATTACKS.value or _SUITE.value,
        eps=_EPS.value,
        limit=_LIMIT.value,
        batch_size=_BATCH.value,
        seed=_SEED.value,
        data_dir=_DATA_DIR.value,
        drop_broken=_DROP.value,
    )


if __name__ == "__main__":
    program.run(main, __doc__)
