"""Keras' dtype policies: a scope of one, and saved models loaded in another than their own."""

import contextlib
import json
import pathlib
import tempfile
import zipfile

import keras

from keras_mpdsgr.models.saved import find

_HALF = ("float16", "bfloat16")


@contextlib.contextmanager
def policy_scope(policy=None):
    """A scope at whose end Keras' global dtype policy is what it was before.

    Args:
        policy: Name or `keras.DTypePolicy` that layers made inside get; None for the one in force,
            where code inside sets another.

    Example:

    >>> with policy_scope("float64"):
    ...     keras.layers.Layer().compute_dtype, keras.config.dtype_policy().name
    ('float64', 'float64')
    >>> keras.config.dtype_policy().name
    'float32'
    """
    before = keras.config.dtype_policy()
    try:
        if policy is not None:
            keras.config.set_dtype_policy(policy)
        yield
    finally:
        keras.config.set_dtype_policy(before)


def is_half(path):
    """Whether a layer of a model computes in half precision; False where none can be read.

    Args:
        path: As of `find`.
    """
    try:
        with zipfile.ZipFile(find(path)) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return False  # `load` says what is wrong with it
    return any(name.endswith(_HALF) for name in _policies(config))


def load_as(path, dtype):
    """Loads a copy of a file whose configuration has another dtype policy in every layer.

    Args:
        path: The `.keras` file.
        dtype: Name of the policy.
    """
    with tempfile.TemporaryDirectory() as folder:
        changed = pathlib.Path(folder) / "model.keras"
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w") as target:
            for entry in source.infolist():
                content = source.read(entry)
                if entry.filename == "config.json":
                    content = json.dumps(_with_policy(json.loads(content), dtype)).encode()
                target.writestr(entry, content)
        with policy_scope(dtype):  # for layers that others make in their `__init__`
            return keras.saving.load_model(changed, compile=False, safe_mode=True)


def _policies(config):
    """Names of the dtype policies in a configuration."""
    if isinstance(config, list):
        for value in config:
            yield from _policies(value)
    elif isinstance(config, dict):
        if _is_policy(config):
            yield config["config"]["name"]
            return
        for value in config.values():
            yield from _policies(value)


def _with_policy(config, dtype):
    """A configuration in which every dtype policy has another name."""
    if isinstance(config, list):
        return [_with_policy(value, dtype) for value in config]
    if not isinstance(config, dict):
        return config
    if _is_policy(config):
        return {**config, "config": {**config["config"], "name": dtype}}
    return {key: _with_policy(value, dtype) for key, value in config.items()}


def _is_policy(config):
    return config.get("class_name") == "DTypePolicy" and config.get("module") == "keras"
