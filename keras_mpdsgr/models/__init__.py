"""Spiking networks as Keras models: pixels in [0, 1] in, logits out."""

import os
import zipfile

import keras

from keras_mpdsgr.arguments import check_choice
from keras_mpdsgr.fitting.spiking_model import SpikingModel
from keras_mpdsgr.models import policies
from keras_mpdsgr.models.saved import available, find
from keras_mpdsgr.models.vgg import vgg11, vgg16
from keras_mpdsgr.models.wide_resnet import wrn16

__all__ = ["SpikingModel", "available", "get", "load", "names", "vgg11", "vgg16", "wrn16"]

_builders = {"vgg11": vgg11, "vgg16": vgg16, "wrn16": wrn16}

# Dtype policies that a model may be loaded in.
DTYPES = ("float32", "float64", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16")

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
    return _builders[check_choice("model", name, names())]


def load(path, dtype=None, folder=None):
    """Loads a `.keras` model under Keras' safe mode, with this library's layers registered.

    Args:
        path: Path of a `.keras` file or of a folder with a model.keras, such as a run folder; or
            the name of a saved model, one of `available()`. What exists as a path is one.
        dtype: Name of the dtype policy that all layers get, those inside others too, whatever they
            were trained in, such as `"float32"`; the model is then not compiled. None keeps each
            layer's own.
        folder: Folder of the saved models; None for the usual one, see `available`.

    Returns:
        The Keras model. One that a trainer has saved tells its classes by `class_names`.

    Raises:
        FileNotFoundError: If there is no such file, and no saved model of that name.
        ValueError: If it is not a Keras model, safe mode refuses it, or `dtype` is unknown.

    Example:

    >>> load("digits").class_names[:3]
    ('0', '1', '2')
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(
            f"`path` must be the path of a .keras file or the name of a saved model. "
            f"Received: {path!r}."
        )
    path = find(path, folder)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a .keras model (or is cut short).")
    check_choice("dtype", dtype, (None, *DTYPES))
    try:
        if dtype is not None:
            return policies.load_as(path, dtype)
        return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # a damaged or hostile file: zip, JSON, HDF5 and Keras' own errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} is not a .keras model that can be loaded: {reason[:_LONGEST_REASON]}"
        ) from error


def load_to_judge(path):
    """Loads a model as `load` does; in float32 where a layer of it was trained in half precision.

    What half precision rounds differs from machine to machine, and with it which spikes fire at the
    threshold: what is measured of a model is therefore measured in float32.

    Args:
        path: As of `load`.

    Raises:
        FileNotFoundError, ValueError: As `load`.
    """
    return load(path, dtype="float32" if policies.is_half(path) else None)
