"""Trains a spiking network with MPD-SGR on Tiny-ImageNet, and attacks it.

    python -m trainers.tiny_imagenet --data_dir DIR

DIR holds tiny-imagenet-200/ or tiny-imagenet-200.zip as published, or is one of them. It is checked
and prepared once, into DIR/tiny_imagenet or, where that cannot be written, $TFDS_DATA_DIR. The
validation images are what is tested on. The network is VGG16. The same command run again goes on
from the last checkpoint, or says that the run is done. Exit status: 0; 2 for what you can mend; 1
for a failure while running; 130 after Ctrl-C.
"""

from absl import flags

from trainers import experiment_flags, program


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    return experiment_flags.define("tiny_imagenet", ["tiny_imagenet"], "vgg16", into=into)


def main(names):
    # TensorFlow takes seconds to import, which a wrong flag should not cost.
    from keras_mpdsgr.experiments import training

    training.train(program.values(names))


if __name__ == "__main__":
    defined = define()
    program.run(lambda: main(defined), __doc__)
