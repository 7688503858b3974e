"""Attacks a model, prints its robustness and, if asked, checks its gradients.

    python -m trainers.attack --run_dir RUN_DIR --attacks fgsm,pgd,bim --eps 8/255
    python -m trainers.attack --run_dir RUN_DIR --suite strongest --limit 200 --checks
    python -m trainers.attack --run_dir RUN_DIR --suite strongest --shard 2/8
    python -m trainers.attack --run_dir RUN_DIR --suite strongest --merge
    python -m trainers.attack --model_file net.keras --dataset cifar10 --suite strongest

The model is that of a run folder, or any .keras file, attacked on the test images of a data set.
Results go to RUN_DIR/results/, or to a folder beside the file and named after it, sample by sample
as they come: the same command resumes where it stopped. Several processes or machines
share the images by --shard 1/8 to 8/8; the same command with --merge puts their results together.
Exit status: 0; 2 for what you can fix; 1 for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from keras_mpdsgr.experiments.attack_config import AttackConfig
from trainers import program, settings_flags


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    return settings_flags.define(AttackConfig(), into)


def main(names):
    config = AttackConfig(**program.values(names))
    if not config.run_dir and not config.model_file:
        raise program.SetupError(
            "`run_dir` must name the folder of a finished training, or `model_file` a .keras file."
        )
    from keras_mpdsgr import experiments

    experiments.attack(config)


def start():
    """Runs the program."""
    defined = define()
    program.run(lambda: main(defined), __doc__)


if __name__ == "__main__":
    start()
