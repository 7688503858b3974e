"""Trains a spiking network with MPD-SGR on Tiny-ImageNet, and attacks it.

    python -m trainers.tiny_imagenet --data_dir DIR

DIR holds tiny-imagenet-200/ or tiny-imagenet-200.zip as published, or is one of them. It is checked
and prepared once, into DIR/tiny_imagenet or, where that cannot be written, $TFDS_DATA_DIR. The
validation images are what is tested on. The network is VGG16. The same command resumes
from the last checkpoint, or says that the run is done. Exit status: 0; 2 for what you can fix; 1
for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from keras_mpdsgr.experiments import kinds
from keras_mpdsgr.experiments.config import TINY_IMAGENET
from trainers import cifar, program, settings_flags


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    settings_flags.define_recipe(into)
    only = kinds.choice_kind([TINY_IMAGENET.dataset])
    return settings_flags.define(TINY_IMAGENET, into, {"dataset": only})


def start():
    """Runs the program."""
    defined = define()
    program.run(lambda: cifar.main(defined), __doc__)


if __name__ == "__main__":
    start()
