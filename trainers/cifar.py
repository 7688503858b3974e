"""Trains a spiking network with MPD-SGR on CIFAR-10, CIFAR-100 or digits, and attacks it.

    python -m trainers.cifar --surrogate triangle --eta 0.05
    python -m trainers.cifar --dataset folder --data_dir DIR

DIR holds images of your own: train/<class>/ and test/<class>/, or <class>/.

The defaults are the paper's: VGG11, 8 time steps, 200 epochs. The same command run again goes on
from the last checkpoint, or says that the run is done. Exit status: 0; 2 for what you can fix; 1
for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from keras_mpdsgr.experiments.config import DATASETS, TINY_IMAGENET, ExperimentConfig
from trainers import program, settings_flags

_HERE = [name for name in DATASETS if name != TINY_IMAGENET.dataset]


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    return settings_flags.define(ExperimentConfig(), into, choices={"dataset": _HERE})


def main(names):
    config = ExperimentConfig(**program.values(names))
    # TensorFlow takes seconds to import, which a wrong flag should not cost.
    from keras_mpdsgr import experiments

    experiments.train(config)


if __name__ == "__main__":
    defined = define()
    program.run(lambda: main(defined), __doc__)
