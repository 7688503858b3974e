"""A Keras model as the list of its layers' calls, for whatever reads it layer by layer."""

import dataclasses
import itertools
from typing import Any

import keras

from keras_mpdsgr.layers import (
    DirectEncoder,
    FoldTime,
    FrequencyEncoder,
    PoissonEncoder,
    Recompute,
    SmoothingEncoder,
)

# Of a tensor: the layer's name, the number of its call, the number of its output.
Key = tuple[str, int, int]

ENCODERS = (DirectEncoder, FrequencyEncoder, PoissonEncoder, SmoothingEncoder)
FOLDERS = (FoldTime, keras.layers.TimeDistributed)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of one layer.

    Attributes:
        name: The layer's name, with a number behind it where an earlier call has the same.
        layer: The Keras layer, or the operation of `keras.ops`.
        inputs: Keys of the tensors it takes.
        output: Key of the tensor it gives.
        arguments: `(args, kwargs)` as in the model's config, tensors being descriptions.
    """

    name: str
    layer: Any
    inputs: tuple[Key, ...]
    output: Key
    arguments: tuple[Any, Any]

    @property
    def shapes(self):
        """Shapes of the tensors it takes, with the batch axis."""
        return [tuple(part["config"]["shape"]) for part in _tensors_in(self.arguments)]

    def run(self, layer, values):
        """Calls `layer` as this call calls its own, on `values`, tensors by key."""
        args, kwargs = (_filled(part, values) for part in self.arguments)
        return layer(*args, **kwargs)

    def renamed(self, keys):
        """The same call of tensors that `keys` gives other keys."""
        return dataclasses.replace(
            self,
            inputs=tuple(keys.get(key, key) for key in self.inputs),
            output=keys.get(self.output, self.output),
            arguments=_renamed(self.arguments, keys),
        )


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

    @property
    def encoded(self):
        """Whether it makes sequences of its input, which has no time axis then."""
        return any(isinstance(call.layer, ENCODERS) for call in self.calls)

    def consumers(self, key):
        """How many calls take a tensor, the model's output counting as one."""
        return sum(call.inputs.count(key) for call in self.calls) + (key == self.output)


def calls_of(model):
    """The `Graph` of a functional or Sequential model with one input and one output.

    It is read from `get_config`, which is what a `.keras` file holds. In place of a model inside
    the model, or a `Recompute`, it has the layers they hold.

    Args:
        model: A built Keras model.

    Raises:
        ValueError: If the model, or one inside it, is subclassed, not built, or has several inputs
            or outputs; if a layer has several outputs, or is called with `training=True`.
    """
    if not isinstance(model, keras.Model) or not _is_listed(model):
        raise ValueError(
            "`model` must be a functional or Sequential Keras model, whose layers can be listed. "
            f"Received: {type(model).__name__} {getattr(model, 'name', '')}".rstrip()
            + "."
        )
    # A Sequential of a subclassed model is built and has neither.
    ends = [getattr(model, end, None) for end in ("inputs", "outputs")]
    if not model.built or any(end is None or len(end) != 1 for end in ends):
        raise ValueError(
            "`model` must be built, with one input and one output. "
            f"Received: {model.name}, built={model.built}."
        )
    shape = tuple(model.inputs[0].shape[1:])
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs)
    config = model.get_config()
    (source,), (target,) = (_as_keys(config[end]) for end in ("input_layers", "output_layers"))
    calls, moved = [], {}
    for call in _sorted(_calls_in(model, config), source):
        _check_inference(call)
        call = call.renamed(moved)
        inner = _without_recompute(call.layer)
        if isinstance(inner, keras.Model):
            graph = _inside(calls_of(inner), call)
            calls += graph.calls
            moved[call.output] = graph.output
        else:
            calls.append(dataclasses.replace(call, layer=inner))
    return Graph(tuple(_named_apart(calls)), source, moved.get(target, target), shape)


def unwrapped(layer):
    """The layer inside a `FoldTime` or `TimeDistributed`, or the layer itself."""
    layer = _without_recompute(layer)
    return unwrapped(layer.layer) if isinstance(layer, FOLDERS) else layer


def _without_recompute(layer):
    return _without_recompute(layer.layer) if isinstance(layer, Recompute) else layer


def _is_listed(model):
    # `operations` is what a functional model has and a subclassed one has not; one with a `call` of
    # its own does another thing than its layers.
    own_call = type(model).call.__module__.split(".")[0] != "keras"
    return not own_call and (isinstance(model, keras.Sequential) or hasattr(model, "operations"))


def _calls_in(model, config):
    operations = {operation.name: operation for operation in model.operations}
    for layer in config["layers"]:
        name = layer["name"]
        for index, node in enumerate(layer["inbound_nodes"]):
            arguments = node["args"], node["kwargs"]
            inputs = tuple(_key(part) for part in _tensors_in(arguments))
            yield Call(name, operations[name], inputs, (name, index, 0), arguments)


def _sorted(calls, source):
    """The calls, each behind those it depends on."""
    # The config lists layers by depth, but all calls of a shared layer at its first one.
    waiting, known = list(calls), {source}
    while waiting:
        ready = next((call for call in waiting if known.issuperset(call.inputs)), None)
        if ready is None:
            ((name, *_), *_) = (key for call in waiting for key in call.inputs if key[2] > 0)
            raise ValueError(
                f"`model` must be made of layers with one output each. Received: {name}."
            )
        waiting.remove(ready)
        known.add(ready.output)
        yield ready


def _inside(graph, call):
    """The graph of a model that `call` calls, as a part of the graph around it."""
    keys = {
        inner.output: (f"{call.output[0]}_{call.output[1]}/{inner.output[0]}", *inner.output[1:])
        for inner in graph.calls
    }
    keys[graph.input] = call.inputs[0]
    calls = tuple(inner.renamed(keys) for inner in graph.calls)
    return dataclasses.replace(graph, calls=calls, output=keys[graph.output])


def _named_apart(calls):
    taken = set()
    for call in calls:
        names = itertools.chain([call.name], (f"{call.name}_{i}" for i in itertools.count(1)))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        yield dataclasses.replace(call, name=name)


def _check_inference(call):
    args, kwargs = call.arguments
    if not isinstance(call.layer, keras.layers.Layer):
        return
    if kwargs.get("training") or any(part is True for part in args):
        raise ValueError(
            "`model` must have all its layers in inference to be exported. "
            f"Received: {call.name}, called with training=True."
        )


def _as_keys(described):
    """Keys of a model's ends: `[name, call, output]`, or a list or dictionary of such."""
    if isinstance(described, dict):
        described = list(described.values())
    if isinstance(described[0], str):
        described = [described]
    return [tuple(key) for key in described]


def _is_tensor(part):
    return isinstance(part, dict) and part.get("class_name") == "__keras_tensor__"


def _key(part):
    return tuple(part["config"]["keras_history"])


def _tensors_in(part):
    if _is_tensor(part):
        return [part]
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list | tuple):
        return [tensor for element in part for tensor in _tensors_in(element)]
    return []


def _renamed(part, keys):
    if _is_tensor(part):
        key = keys.get(_key(part), _key(part))
        return {**part, "config": {**part["config"], "keras_history": key}}
    if isinstance(part, dict):
        return {name: _renamed(element, keys) for name, element in part.items()}
    if isinstance(part, list | tuple):
        return type(part)(_renamed(element, keys) for element in part)
    return part


def _filled(part, values):
    if _is_tensor(part):
        return values[_key(part)]
    if isinstance(part, list | tuple):
        return [_filled(element, values) for element in part]
    if isinstance(part, dict):
        if "class_name" in part:
            return keras.saving.deserialize_keras_object(part)
        return {name: _filled(element, values) for name, element in part.items()}
    return part
