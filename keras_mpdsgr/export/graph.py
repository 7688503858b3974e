"""A Keras model as the list of its layers' calls, for whatever reads it layer by layer."""

import dataclasses
from typing import Any

import keras

from keras_mpdsgr.layers import FoldTime

# Of a tensor: the layer's name, the number of its call, the number of its output.
Key = tuple[str, int, int]


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of one layer.

    Attributes:
        name: The layer's name; with the number of the call from the second one on.
        layer: The Keras layer, or the operation of `keras.ops`.
        inputs: Keys of the tensors it takes.
        output: Key of the tensor it gives.
        arguments: `(args, kwargs)` as in the model's config, tensors being descriptions.
    """

    name: str
    layer: Any
    inputs: tuple[Key, ...]
    output: Key
    arguments: tuple[Any, Any] = ((), {})

    def run(self, layer, values):
        """Calls `layer` as this call calls its own, on `values`, tensors by key."""
        args, kwargs = (_filled(part, values) for part in self.arguments)
        return layer(*args, **kwargs)


@dataclasses.dataclass(frozen=True)
class Graph:
    """The calls of a model, each behind those it depends on.

    Attributes:
        calls: The `Call`s.
        input, output: Keys of the model's input and output.
        input_shape: Shape of the input without the batch axis.
    """

    calls: tuple[Call, ...]
    input: Key
    output: Key
    input_shape: tuple[int | None, ...]

    def consumers(self, key):
        """How many calls take a tensor, the model's output counting as one."""
        return sum(call.inputs.count(key) for call in self.calls) + (key == self.output)


def calls_of(model):
    """The `Graph` of a functional or Sequential model with one input and one output.

    It is read from `get_config`, which is what a `.keras` file holds.

    Args:
        model: A built Keras model.

    Raises:
        ValueError: If the model is subclassed, not built, nested, or has several inputs or outputs.
    """
    if not isinstance(model, keras.Model) or not _is_listed(model):
        raise ValueError(
            "`model` must be a functional or Sequential Keras model, whose layers can be listed. "
            f"Received: {type(model).__name__}."
        )
    nested = [layer.name for layer in model.layers if isinstance(layer, keras.Model)]
    if nested:
        raise ValueError(
            "`model` must be made of layers, not of models. Received a model inside the model: "
            f"{nested[0]}."
        )
    if not model.built or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "`model` must be built, with one input and one output. "
            f"Received: {model.name}, built={model.built}."
        )
    shape = tuple(model.inputs[0].shape[1:])
    if isinstance(model, keras.Sequential):
        return _chain(model.layers, shape)
    return _functional(model, model.get_config(), shape)


def unwrapped(layer):
    """The layer inside a `FoldTime`, or the layer itself."""
    return layer.layer if isinstance(layer, FoldTime) else layer


def _is_listed(model):
    # `operations` is what a functional model has and a subclassed one has not.
    return isinstance(model, keras.Sequential) or hasattr(model, "operations")


def _chain(layers, shape):
    key = first = ("input", 0, 0)
    calls = []
    for layer in layers:
        described = ((_tensor(key),), {})
        calls.append(Call(layer.name, layer, (key,), (layer.name, 0, 0), described))
        key = calls[-1].output
    return Graph(tuple(calls), first, key, shape)


def _functional(model, config, shape):
    operations = {operation.name: operation for operation in model.operations}
    waiting = []
    for layer in config["layers"]:
        name = layer["name"]
        for index, node in enumerate(layer["inbound_nodes"]):
            arguments = node["args"], node["kwargs"]
            waiting.append(
                Call(
                    name if index == 0 else f"{name}_{index}",
                    operations[name],
                    tuple(_keys_in(arguments)),
                    (name, index, 0),
                    arguments,
                )
            )
    (source,), (target,) = (_as_keys(config[end]) for end in ("input_layers", "output_layers"))
    known, calls = {source}, []
    while waiting:
        # The config lists layers by depth, but all calls of a shared layer at its first one.
        ready = next(call for call in waiting if known.issuperset(call.inputs))
        waiting.remove(ready)
        calls.append(ready)
        known.add(ready.output)
    return Graph(tuple(calls), source, target, shape)


def _as_keys(described):
    """Keys of a model's ends: `[name, call, output]`, or a list or dictionary of such."""
    if isinstance(described, dict):
        described = list(described.values())
    if isinstance(described[0], str):
        described = [described]
    return [tuple(key) for key in described]


def _tensor(key):
    return {"class_name": "__keras_tensor__", "config": {"keras_history": list(key)}}


def _is_tensor(part):
    return isinstance(part, dict) and part.get("class_name") == "__keras_tensor__"


def _keys_in(part):
    if _is_tensor(part):
        return [tuple(part["config"]["keras_history"])]
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list | tuple):
        return [key for element in part for key in _keys_in(element)]
    return []


def _filled(part, values):
    if _is_tensor(part):
        return values[tuple(part["config"]["keras_history"])]
    if isinstance(part, list | tuple):
        return [_filled(element, values) for element in part]
    if isinstance(part, dict):
        if "class_name" in part:
            return keras.saving.deserialize_keras_object(part)
        return {name: _filled(element, values) for name, element in part.items()}
    return part
