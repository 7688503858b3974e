"""Data sets in memory, and batches of them that are a pure function of (seed, step)."""

from keras_mpdsgr.data.datasets import DataNotFoundError, ImageData, load, names, register
from keras_mpdsgr.data.held_out import hold_out
from keras_mpdsgr.data.image_files import image_paths, read_images
from keras_mpdsgr.data.pipeline import (
    evaluation_batches,
    steps_per_epoch,
    to_pixels,
    training_batches,
)

__all__ = [
    "DataNotFoundError",
    "ImageData",
    "evaluation_batches",
    "hold_out",
    "image_paths",
    "load",
    "names",
    "read_images",
    "register",
    "steps_per_epoch",
    "to_pixels",
    "training_batches",
]
