"""Checkpoints: one file an epoch, moved into place whole, the last two kept."""

import os
import re

import keras

_NAME = re.compile(r"epoch-(\d+)\.weights\.h5")


def latest(folder):
    """Epochs done and file of the newest checkpoint; (0, None) where there is none."""
    found = _found(folder)
    return found[-1] if found else (0, None)


def _found(folder):
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.glob("epoch-*.weights.h5"))
    return sorted((int(match[1]), path) for match, path in matches if match)


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
        beside = path.with_name("part-" + path.name)
        self.model.save_weights(beside)
        os.replace(beside, path)
        for _, old in _found(self._folder)[: -self._keep]:
            old.unlink()


class EpochSeeds(keras.callbacks.Callback):
    """Sets every seed generator of the model from the seed and the epoch, so that a resumed run
    draws what the unbroken one does.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed):
        super().__init__()
        self._seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        generators = []
        for layer in self.model._flatten_layers():
            generators.extend(getattr(layer, "_seed_generators", ()))
        for number, generator in enumerate(generators):
            state = keras.ops.cast([self._seed + number, epoch], generator.state.dtype)
            generator.state.assign(state)
