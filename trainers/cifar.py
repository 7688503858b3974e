"""Trains a spiking network with MPD-SGR on CIFAR-10, CIFAR-100 or digits, and attacks it.

    python -m trainers.cifar --surrogate triangle --eta 0.05
    python -m trainers.cifar --dataset folder --data_dir DIR
    python -m trainers.cifar --import my_module --defense my_defence

DIR holds images of your own: train/<class>/ and test/<class>/, or <class>/. my_module is a Python
module in this folder, or installed, that registers parts of your own.

The defaults are the paper's: VGG11, 8 time steps, 200 epochs. The same command resumes
from the last checkpoint, or says that the run is done. Exit status: 0; 2 for what you can fix; 1
for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from keras_mpdsgr.experiments import kinds, recipes
from keras_mpdsgr.experiments.config import (
    DATASETS,
    TINY_IMAGENET,
    ExperimentConfig,
    more_datasets,
)
from trainers import program, settings_flags

_HERE = [name for name in DATASETS if name != TINY_IMAGENET.dataset]


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    settings_flags.define_recipe(into)
    datasets = kinds.choice_kind(_HERE, more_datasets)
    return settings_flags.define(ExperimentConfig(), into, {"dataset": datasets})


def config_of(names, values=flags.FLAGS):
    """The configuration that a command line asks for: its flags, the recipe's, the defaults."""
    settings = program.values(names, values) | {"imports": settings_flags.imported(values)}
    given = program.values([name for name in names if values[name].present], values)
    return ExperimentConfig(**settings | recipes.beside(values["recipe"].value, given))


def main(names):
    config = config_of(names)
    # TensorFlow takes seconds to import, which a wrong flag should not cost.
    from keras_mpdsgr import experiments

    experiments.train(config)


def start():
    """Runs the program."""
    defined = define()
    program.run(lambda: main(defined), __doc__)


if __name__ == "__main__":
    start()
