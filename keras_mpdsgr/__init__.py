"""Adversarially robust spiking neural networks in Keras: MPD-SGR, its attacks and its proof."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "keras_mpdsgr needs Keras' TensorFlow backend, as surrogate gradients are "
        f"`tf.custom_gradient`s. Received: KERAS_BACKEND={keras.backend.backend()}. Set "
        "KERAS_BACKEND=tensorflow."
    )

from keras_mpdsgr import (
    attacks,
    data,
    defenses,
    dynamics,
    evaluation,
    export,
    layers,
    models,
    overlap,
    surrogates,
)
from keras_mpdsgr.defenses import set_regularization
from keras_mpdsgr.dynamics import gradient_mode
from keras_mpdsgr.layers import LIFLayer, TDBatchNormalization

__version__ = "0.1.0"

__all__ = [
    "LIFLayer",
    "TDBatchNormalization",
    "attacks",
    "data",
    "defenses",
    "dynamics",
    "evaluation",
    "export",
    "gradient_mode",
    "layers",
    "models",
    "overlap",
    "set_regularization",
    "surrogates",
]
