"""Attacks the model of a run folder, prints its robustness and, if asked, checks its gradients.

    python -m trainers.attack --run_dir RUN_DIR --attacks fgsm,pgd,bim --eps 8/255
    python -m trainers.attack --run_dir RUN_DIR --suite strongest --limit 200 --checks
    python -m trainers.attack --run_dir RUN_DIR --suite strongest --shard 2/8
    python -m trainers.attack --run_dir RUN_DIR --suite strongest --merge

Results go to RUN_DIR/results/, sample by sample as they come: the same command run again goes on
where it was cut off. Several processes or machines share the images by --shard 1/8 to 8/8; the
same command with --merge puts their results together. Exit status: 0; 2 for what you can mend; 1
for a failure while running; 130 after Ctrl-C.
"""

import math

from absl import flags

from keras_mpdsgr.experiments.shards import ShardParser
from trainers import program
from trainers.experiment_flags import define_fraction, define_fractions


def define(into=flags.FLAGS):
    """Defines the program's flags.

    Args:
        into: Where to; the program's own flags.

    Returns:
        Their names.
    """
    own = {"flag_values": into}
    before = set(into)
    flags.DEFINE_string("run_dir", None, "Run folder of a finished training.", **own)
    flags.DEFINE_list(
        "attacks", None, "Attacks, by name, separated by commas; else --suite.", **own
    )
    flags.DEFINE_string("suite", "paper", "Suite of attacks: paper, standard or strongest.", **own)
    define_fraction("eps", 8 / 255, "Radius of the L-infinity ball.", **own)
    define_fraction("eps_l2", 0.5, "Radius of the L2 ball.", most=math.inf, **own)
    flags.DEFINE_integer("limit", 1000, "Test images attacked.", lower_bound=1, **own)
    flags.DEFINE_integer("batch_size", 100, "Images attacked at a time.", lower_bound=1, **own)
    flags.DEFINE_integer("seed", 0, "Of all that is random.", lower_bound=0, **own)
    flags.DEFINE_string("data_dir", None, "Folder of the data sets; the run's own.", **own)
    flags.DEFINE_bool(
        "drop_broken",
        None,
        "Spare broken samples the dearer attacks; on, but for --suite paper.",
        **own,
    )
    flags.DEFINE(
        ShardParser(),
        "shard",
        None,
        "Attack one share of the images only, as 2/8: the second of 8.",
        into,
        flags.ArgumentSerializer(),
    )
    flags.DEFINE_bool("merge", False, "Put the results of all shards together.", **own)
    flags.DEFINE_bool(
        "dry_run", False, "List the attacks and the most they take; attack nothing.", **own
    )
    flags.DEFINE_bool("checks", False, "Run the gradient-obfuscation checks too.", **own)
    flags.DEFINE_integer(
        "checks_limit", 100, "Test images that the checks look at.", lower_bound=1, **own
    )
    flags.DEFINE_string(
        "substitute",
        None,
        "Run folder whose model transfer examples are made on; train: one is trained now.",
        **own,
    )
    define_fractions("sweep_eps", "Radii of a sweep, as 1/255,2/255,4/255.", **own)
    flags.DEFINE_list("sweep_steps", None, "Numbers of steps of a sweep, as 1,2,4,8.", **own)
    flags.DEFINE_string("sweep_attack", "pgd", "Attack of the sweeps.", **own)
    flags.DEFINE_enum(
        "jit",
        "auto",
        ["auto", "on", "off"],
        "XLA. auto: a GPU's whole steps, a CPU's neurons alone.",
        **own,
    )
    return [name for name in into if name not in before]


def main(names):
    settings = program.values(names)
    if not settings["run_dir"]:
        raise program.SetupError("--run_dir must name the folder of a finished training.")
    from keras_mpdsgr.experiments import attacking

    attacking.attack_run(settings)


if __name__ == "__main__":
    defined = define()
    program.run(lambda: main(defined), __doc__)
