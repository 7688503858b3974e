"""What the results of an evaluation depend on, as text that is the same in every process."""

import hashlib
import json

import keras
import numpy as np
import tensorflow as tf

import keras_mpdsgr
from keras_mpdsgr import keras_internals
from keras_mpdsgr.evaluation.records import describe

# Settings of layers of these packages are all in their configuration.
_TOLD = ("keras", "keras_mpdsgr")
# Keras names layers by how many there were before; these are where a configuration names them.
_LAYER_NAMES = ("name", "keras_history", "input_layers", "output_layers")
# Records of how a model was made, which change no answer.
_LEFT_OUT = ("build_config", "class_names", "compile_config", "trainable", "shared_object_id")
_PROBED = 16


def versions():
    """Versions that results depend on, by name."""
    return {
        "keras_mpdsgr": keras_mpdsgr.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }


def model_digest(model, answers=None):
    """A digest of a model: its configuration as it is saved, and its weights.

    The names of its layers and what it is trained by are left out. Where it holds layers or
    functions of other packages than Keras and this one, which may not tell all their settings, what
    they hold as plain values and what the model answers count too.

    Args:
        model: A Keras model.
        answers: Function without arguments that gives the model's outputs for some images, an
            array; None for those to seeded noise, where the model says which shape it takes.

    Returns:
        Text of 64 digits.
    """
    layers = list(keras_internals.all_layers(model))
    told = [_layer(layer) for layer in layers]
    names = {layer.name: f"layer {number}" for number, layer in enumerate(layers)}
    content = [_renamed(one, names) for one in told]
    if not all(map(_is_told, told)):
        content += [_own(layer) for layer in layers]
        content.append(_coarse((answers or (lambda: _answers_to_noise(model)))()))
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for array in model.get_weights():
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def attack_key(attack):
    """An attack with all its settings, as JSON; models in it by their digests."""
    return json.dumps(describe(attack, model_digest), sort_keys=True)


def probed(x):
    """The images whose outputs identify a model, where they are needed."""
    return x[:_PROBED]


def _layer(layer):
    try:
        config = _plain(layer.get_config())
    except Exception:  # of a class that cannot be saved, whatever it raises
        config = None
    kind = type(layer)
    return {"module": kind.__module__, "class_name": kind.__qualname__, "config": config}


def _is_told(value):
    """Whether a configuration holds all that a layer computes by."""
    if isinstance(value, list):
        return all(map(_is_told, value))
    if not isinstance(value, dict):
        return True
    if "class_name" in value and value.get("config", ...) is None:
        return False
    module, kind = value.get("module"), value.get("class_name")
    foreign = isinstance(module, str) and module.partition(".")[0] not in _TOLD
    return not foreign and kind != "function" and all(map(_is_told, value.values()))


def _own(layer):
    """The plain values that a layer of another package holds, by name."""
    if type(layer).__module__.partition(".")[0] in _TOLD:
        return {}
    records = vars(keras.layers.Layer(name="layer"))
    held = {name: value for name, value in vars(layer).items() if name not in records}
    plain = (bool, int, float, str, tuple, np.ndarray, np.generic)
    return {name: _plain(value) for name, value in held.items() if isinstance(value, plain)}


def _renamed(value, names, inside=False):
    """A configuration without Keras' names of layers and records of how it was made."""
    if isinstance(value, dict):
        return {
            name: _renamed(entry, names, name in _LAYER_NAMES)
            for name, entry in value.items()
            if name not in _LEFT_OUT
        }
    if isinstance(value, list):
        return [_renamed(entry, names, inside) for entry in value]
    return names.get(value, value) if inside and isinstance(value, str) else value


def _plain(value):
    """A value as JSON holds it; of an object that JSON has no form for, its class."""
    if isinstance(value, dict):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        entries = [_plain(entry) for entry in value]
        return sorted(entries, key=repr) if isinstance(value, set | frozenset) else entries
    if isinstance(value, np.ndarray | np.generic | tf.Tensor):
        return _plain(np.asarray(value).tolist())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _coarse(outputs):
    """Outputs to two digits of the largest: other machines' rounding seldom shows in them."""
    outputs = np.asarray(outputs, np.float64)
    largest = float(f"{np.abs(outputs).max(initial=0):.1e}")
    return [largest, np.round(100 * outputs / (largest or 1.0)).astype(int).tolist()]


def _answers_to_noise(model):
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or None in shape[1:]:
        return np.zeros(0)
    noise = np.random.default_rng(0).random((_PROBED, *shape[1:]), np.float32)
    return model(tf.constant(noise), training=False)
