"""Trains a spiking network with MPD-SGR on CIFAR-10, CIFAR-100 or digits, and attacks it.

    python -m trainers.cifar --surrogate triangle --eta 0.05
    python -m trainers.cifar --dataset folder --data_dir DIR

DIR holds images of your own: train/<class>/ and test/<class>/, or <class>/.

The defaults are the paper's: VGG11, 8 time steps, 200 epochs. The same command run again goes on
from the last checkpoint, or says that the run is done. Exit status: 0; 2 for what you can fix; 1
for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from keras_mpdsgr.experiments import fields
from keras_mpdsgr.experiments.config import DATASETS, TINY_IMAGENET, ExperimentConfig
from keras_mpdsgr.experiments.recipes import PAPER, RECIPES, described
from trainers import program, settings_flags

_HERE = [name for name in DATASETS if name != TINY_IMAGENET.dataset]


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    define_recipe(into)
    return settings_flags.define(ExperimentConfig(), into, choices={"dataset": _HERE})


def define_recipe(into=flags.FLAGS):
    """Defines `--recipe`, which sets the flags that are not given."""
    told = " ".join(f"{name}: {described(name)}." for name in RECIPES)
    kind = fields.choice_kind(RECIPES)
    help = f"Settings that go together; flags given come before them. {told}"
    settings_flags.define_kind("recipe", PAPER, kind, help, into)


def config_of(names, values=flags.FLAGS):
    """The configuration that a command line asks for: its flags, the recipe's, the defaults."""
    recipe = RECIPES[values["recipe"].value]
    chosen = {name: value for name, value in recipe.items() if not values[name].present}
    return ExperimentConfig(**{**{name: values[name].value for name in names}, **chosen})


def main(names):
    config = config_of(names)
    # TensorFlow takes seconds to import, which a wrong flag should not cost.
    from keras_mpdsgr import experiments

    experiments.train(config)


if __name__ == "__main__":
    defined = define()
    program.run(lambda: main(defined), __doc__)
