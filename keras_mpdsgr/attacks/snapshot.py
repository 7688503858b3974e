"""A snapshot of all that a trace of a model builds in, to tell whether the model has changed."""

import collections
import functools
import types

import keras
import numpy as np

from keras_mpdsgr.keras_internals import is_iterator_of_fit

# Values that never change and are compared by what they are.
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
# What a model is trained by: no part of what it computes.
_TRAINERS = (keras.Optimizer, keras.Loss, keras.Metric, keras.callbacks.Callback)
_LIBRARIES = ("builtins", "keras", "numpy", "tensorflow")
# Of these an object is the same only if it is the very same.
_OPAQUE = (types.ModuleType, types.BuiltinFunctionType, keras.Variable, keras.KerasTensor)


class Snapshot:
    """What a model is made of: its layers, their settings, its variables, but not their values.

    Recursively: attributes of layers and of the objects they hold (surrogates, initializers, ...),
    elements of containers, arrays by content, functions with what they close over, and the
    attributes of classes that are not Keras' own. Variables and tensors count by identity, as a
    trace reads the variables' values when it runs. Not seen: global variables, and what objects
    written in C hold. What compiling and fitting write into a model is left out.

    Args:
        model: A Keras model.

    Attributes:
        found: For each object that was met: a dictionary from the names of its attributes to
            values that can be compared.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.ReLU(), keras.layers.Dense(2)])
    >>> before = Snapshot(model)
    >>> model.set_weights([w + 1 for w in model.get_weights()])
    >>> Snapshot(model).differences(before)
    set()
    >>> model.layers[0].max_value = 6.0
    >>> [name for _, name in Snapshot(model).differences(before)]
    ['max_value']
    """

    def __init__(self, model):
        self.found = {}
        self._held = []  # an object's id is its own only as long as the object lives
        self._value(model)

    def differences(self, other, of_both=False):
        """Where two snapshots differ: pairs of an object's id and the name of its attribute.

        Args:
            other: Another `Snapshot`.
            of_both: Whether to leave out attributes that one of the two does not have.
        """
        if self.found == other.found:
            return set()
        ours, others = (
            {(key, name): value for key, own in one.found.items() for name, value in own.items()}
            for one in (self, other)
        )
        places = ours.keys() & others.keys() if of_both else ours.keys() | others.keys()
        return {place for place in places if ours.get(place) != others.get(place)}

    def _value(self, value):
        kind = type(value)
        if kind in _PLAIN or isinstance(value, np.generic):
            return kind, value
        if isinstance(value, list | tuple | collections.deque):
            return kind, tuple([self._value(one) for one in value])
        if isinstance(value, dict):
            return kind, tuple([(self._value(k), self._value(v)) for k, v in value.items()])
        if isinstance(value, set | frozenset):
            return kind, frozenset([self._value(one) for one in value])
        if isinstance(value, np.ndarray):
            return kind, value.dtype.str, value.shape, hash(value.tobytes())
        if isinstance(value, types.MethodType):
            return kind, self._value(value.__func__), self._value(value.__self__)
        key = id(value)
        if key not in self.found:
            self._held.append(value)
            found = self.found[key] = {}  # before its attributes, which may lead back to it
            for name, own in _attributes(value).items():
                if not _is_of_training(own):
                    found[name] = self._value(own)
        return key


def _attributes(value):
    """What an object, a function or a class holds, by name."""
    if isinstance(value, types.FunctionType):
        cells = map(_contents, value.__closure__ or ())
        return {"closure": list(cells), "defaults": (value.__defaults__, value.__kwdefaults__)}
    if isinstance(value, functools.partial):
        return {"partial": (value.func, value.args, value.keywords)}
    if isinstance(value, type):
        if _library(value) in _LIBRARIES:
            return {}
        # `copy` notes `__slotnames__` on a class whose object it copies.
        own = {name: held for name, held in vars(value).items() if name != "__slotnames__"}
        return {**own, "bases": value.__bases__}
    if isinstance(value, _OPAQUE) or _library(type(value)) == "tensorflow":
        return {}
    if not isinstance(value, keras.layers.Layer):
        return {"class": type(value), **getattr(value, "__dict__", {}), **_slots(value)}
    records = _bookkeeping()
    settings = {name: own for name, own in vars(value).items() if name not in records}
    settings |= {"dtype": value.dtype_policy, "trainable": value.trainable, "class": type(value)}
    settings["autocast"] = value.autocast
    if isinstance(value, keras.Model):
        settings["operations"] = getattr(value, "operations", value.layers)
        settings |= {"layers": value.layers, "variables": value.variables}
    return settings


def _slots(value):
    names = []
    for kind in type(value).__mro__:
        own = vars(kind).get("__slots__", ())
        names += [own] if isinstance(own, str) else own
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _library(kind):
    return kind.__module__.partition(".")[0]


def _contents(cell):
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _is_of_training(value):
    return value is None or isinstance(value, _TRAINERS) or is_iterator_of_fit(value)


@functools.cache
def _bookkeeping():
    """Names of the attributes that hold Keras' own records of a layer, not its settings."""
    # Named, and without an initializer: neither Keras' names nor a stream of random numbers move.
    layers = [keras.Input((1,), name="input"), keras.layers.Rescaling(1.0, name="rescaling")]
    sequential = keras.Sequential(layers, name="sequential")
    functional = keras.Model(sequential.inputs, sequential.outputs, name="functional")
    names = {"_keras_mpdsgr_compiled", "history", "stop_evaluating", "stop_predicting"}
    for model in (sequential, functional):
        model.compile(loss="mse")
        names |= vars(model).keys()
    return names | vars(keras.layers.Layer(name="layer")).keys()
