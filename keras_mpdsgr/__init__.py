"""Adversarially robust spiking neural networks in Keras: MPD-SGR, attacks and their evaluation.

Importing it registers its layers with Keras. With KERAS_MPDSGR_IMPORT=lazy in the environment, as
the programs have it, that waits until something of it is used: TensorFlow takes seconds to import,
which `--help` should not cost.
"""

import importlib
import os
import sys

__version__ = "0.1.0"

_ROOMS = (
    "analysis",
    "attacks",
    "data",
    "defenses",
    "dynamics",
    "evaluation",
    "experiments",
    "export",
    "layers",
    "models",
    "overlap",
    "surrogates",
)
_HOME = {
    "LIFLayer": "layers",
    "TDBatchNormalization": "layers",
    "gradient_mode": "dynamics",
    "set_regularization": "defenses",
}

__all__ = [*_HOME, *_ROOMS]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if "loading" not in _state:
        _load()
    room = importlib.import_module(f"{__name__}.{_HOME.get(name, name)}")
    return getattr(room, name) if name in _HOME else room


def _load():
    """Imports every subpackage, so that everything is registered with Keras."""
    _state.add("loading")
    import keras

    if keras.backend.backend() != "tensorflow":
        _state.clear()
        raise ImportError(
            "keras_mpdsgr needs Keras' TensorFlow backend, as surrogate gradients are "
            f"`tf.custom_gradient`s. Received: KERAS_BACKEND={keras.backend.backend()}. Set "
            "KERAS_BACKEND=tensorflow."
        )
    for name in __all__:
        globals()[name] = __getattr__(name)


_state: set[str] = set()

if os.environ.get("KERAS_MPDSGR_IMPORT") != "lazy" or "keras" in sys.modules:
    _load()
