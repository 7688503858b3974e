"""Spiking networks as Keras models: pixels in [0, 1] in, logits out."""

import os
import pathlib
import zipfile

import keras

from keras_mpdsgr.fitting.spiking_model import SpikingModel
from keras_mpdsgr.models.vgg import vgg11, vgg16
from keras_mpdsgr.models.wide_resnet import wrn16

__all__ = ["SpikingModel", "get", "load", "names", "vgg11", "vgg16", "wrn16"]

_builders = {"vgg11": vgg11, "vgg16": vgg16, "wrn16": wrn16}

# Keras quotes whole configurations.
_LONGEST_REASON = 300


def names():
    """Names that `get` knows."""
    return sorted(_builders)


def get(name):
    """The builder of a network, by name.

    Raises:
        ValueError: If there is none of that name.

    Example:

    >>> get("vgg11") is vgg11
    True
    """
    if not isinstance(name, str) or name not in _builders:
        raise ValueError(f"`model` must be one of {', '.join(names())}. Received: {name!r}.")
    return _builders[name]


def load(path):
    """Loads a `.keras` model under Keras' safe mode, with this library's layers registered.

    Args:
        path: Path of a `.keras` file.

    Returns:
        The Keras model.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no Keras model, or one that safe mode refuses.
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"`path` must be the path of a .keras file. Received: {path!r}.")
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no model at {path}.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a .keras model (or is cut short).")
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # a damaged or hostile file: zip, JSON, HDF5 and Keras' own errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} is not a .keras model that can be loaded: {reason[:_LONGEST_REASON]}"
        ) from error
