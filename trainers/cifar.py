"""Trains a spiking network with MPD-SGR on CIFAR-10, CIFAR-100 or digits, and attacks it.

    python -m trainers.cifar --surrogate triangle --eta 0.05
    python -m trainers.cifar --dataset folder --data_dir DIR

DIR holds images of your own: train/<class>/ and test/<class>/, or <class>/.

The defaults are the paper's: VGG11, 8 time steps, 200 epochs. The same command run again goes on
from the last checkpoint, or says that the run is done. Exit status: 0; 2 for what you can mend; 1
for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from trainers import experiment_flags, program

experiment_flags.define(dataset="cifar10", datasets=["cifar10", "cifar100", "digits", "folder"])
flags.adopt_module_key_flags(experiment_flags)


def main():
    # TensorFlow takes seconds to import, which a wrong flag should not cost.
    from trainers import experiment

    experiment.train(experiment_flags.values())


if __name__ == "__main__":
    program.run(main, __doc__)
