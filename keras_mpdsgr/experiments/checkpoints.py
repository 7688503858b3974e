"""Checkpoints: one file an epoch, moved into place whole, the last two kept."""

import io
import re

import keras
import numpy as np

from keras_mpdsgr import keras_internals
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.files import replacing

_LONGEST_REASON = 200
_NAME = re.compile(r"epoch-(\d+)\.weights\.h5")


def restore(model, folder, say):
    """Loads the newest checkpoint that can be read.

    Args:
        model: The compiled model.
        folder: Where the checkpoints are.
        say: Function that shows a line.

    Returns:
        The epochs done; 0 where there is no checkpoint.

    Raises:
        SetupError: If there are checkpoints and none can be read.
    """
    unreadable = []
    for epochs, path in reversed(_found(folder)):
        model.optimizer.build(model.trainable_variables)
        try:
            model.load_weights(path)
        except Exception as error:  # a damaged file: of HDF5 and of Keras, a dozen types
            reason = " ".join(str(error).split()) or type(error).__name__
            unreadable.append(f"{path.name} cannot be read ({reason[:_LONGEST_REASON]})")
            continue
        if unreadable:
            say(f"warning: {'; '.join(unreadable)}: {path.name} is used.")
        return epochs
    if unreadable:
        raise SetupError(
            f"no checkpoint in {folder} can be read: {'; '.join(unreadable)}. Give another "
            "`run_dir`, or delete them to train from the beginning."
        )
    return 0


def _found(folder):
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.glob("epoch-*.weights.h5"))
    return sorted((int(match[1]), path) for match, path in matches if match)


def save_weights(model, path):
    """Writes weights, optimizer and metrics' state to a file, whole or not at all.

    Args:
        model: The compiled model.
        path: The file; its name ends in `.weights.h5`.

    Raises:
        OSError: If it cannot be written.
    """
    # HDF5 must not meet a full disk: it cannot close the file then, and h5py's destructors try
    # again when the interpreter ends, which crashes it. Python's own write fails cleanly.
    content = _Named(path)
    model.save_weights(content)
    with replacing(path) as beside:
        beside.write_bytes(content.getbuffer())


def save(model, path):
    """Writes a model to a `.keras` file, whole or not at all."""
    with replacing(path) as beside:
        model.save(beside)


class _Named(io.BytesIO):
    """Memory that Keras takes for the file it has the name of."""

    def __init__(self, path):
        super().__init__()
        self._path = path

    def __str__(self):
        return str(self._path)


class Checkpoint(keras.callbacks.Callback):
    """Saves weights, optimizer and metrics' state after each epoch.

    Args:
        folder: Where to.
        keep: How many of the newest are kept.
    """

    def __init__(self, folder, keep=2):
        super().__init__()
        self._folder = folder
        self._keep = keep

    def on_epoch_end(self, epoch, logs=None):
        path = self._folder / f"epoch-{epoch + 1:04d}.weights.h5"
        save_weights(self.model, path)
        for _, old in _found(self._folder)[: -self._keep]:
            old.unlink()


class EpochSeeds(keras.callbacks.Callback):
    """Sets every seed generator of the model from the seed and the epoch.

    So a resumed run draws what the unbroken one does.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed):
        super().__init__()
        self._seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        for number, generator in enumerate(keras_internals.seed_generators(self.model)):
            # A draw adds 1 to a state, so that states next to each other draw the same numbers.
            apart = np.random.SeedSequence([self._seed, number, epoch]).generate_state(2) % 2**31
            generator.state.assign(keras.ops.cast(apart.tolist(), generator.state.dtype))
