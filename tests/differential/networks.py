"""Random small networks, as hypothesis draws them, and as Keras models."""

import dataclasses
import pathlib
import runpy

import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np

from keras_mpdsgr import LIFLayer, TDBatchNormalization, layers, models

HERE = pathlib.Path(__file__).resolve().parent
numpy_form = runpy.run_path(str(HERE / "simulator.py"))
training_step = runpy.run_path(str(HERE / "training.py"))["training_step"]

# Sooner, float32 and another order of summation may decide a spike.
NEAR = 1e-5
SAMPLES = 4
LABELS = np.arange(SAMPLES) % 3


@dataclasses.dataclass
class Network:
    nodes: list
    timesteps: int
    weights: dict = dataclasses.field(repr=False)
    images: np.ndarray = dataclasses.field(repr=False)
    values: list = dataclasses.field(repr=False)  # simulated, of the input and of all nodes
    eta: float  # of the training step
    mode: dict  # of compiling
    step: object = dataclasses.field(repr=False)  # simulated

    @property
    def encoded(self):
        return any(node["op"] == "encode" for node in self.nodes)

    @property
    def spikes(self):
        """Names and simulated spikes of all calls of neurons."""
        return self._of_neurons(self.values)

    @property
    def spikes_in_training(self):
        return self._of_neurons(self.step.values)

    def _of_neurons(self, values):
        pairs = zip(self.nodes, values[1:], strict=True)
        return [(node["name"], value) for node, value in pairs if node["op"] == "neurons"]


@st.composite
def networks(draw):
    """A `Network` that fires."""
    one_of = lambda *values: draw(st.sampled_from(values))  # noqa: E731
    threshold = {"v_threshold": one_of(1.0, 0.7)}
    tdbn = {"alpha": one_of(1.0, 0.7), **threshold}
    options = {
        "reset": one_of("hard", "soft"),
        "tau": one_of(1.0, 0.9, 0.5, 0.0),
        "surrogate": one_of("triangle", "arctan", "sigmoid"),
        "gamma": one_of(1.0, 0.6),
        "detach_reset": one_of(False, True),
        **threshold,
    }
    timesteps, coded = one_of(3, 4, 5), one_of(True, False)
    shape = one_of((5, 7, 1), (6, 5, 2), (5, 5, 2), (9,))
    nodes, names = [], iter(range(1000))

    def add(op, *takes, name=None, **options):
        label = name or f"{op.replace(' ', '_')}{next(names)}"
        nodes.append({"op": op, "name": label, "takes": takes, **options})
        return len(nodes)

    def synapses(x, name=None, filters=None, **fixed):
        if len(sizes[x]) == 1:
            units = filters or one_of(4, 7)
            y = add("dense", x, name=name, units=units)
            sizes[y] = (units,)
            return y
        channels = sizes[x][-1]
        own = {
            "filters": filters or one_of(2, 4),
            "size": one_of((3, 3), (1, 3), (3, 1), (2, 2), (1, 1)),
            "strides": one_of((1, 1), (1, 1), (2, 1), (2, 2)),
            "padding": one_of("same", "valid"),
            "groups": one_of(1, 2) if channels % 2 == 0 else 1,
            **fixed,
        }
        y = add("convolution", x, name=name, **own)
        sides = [
            -(-n // s) if own["padding"] == "same" else (n - k) // s + 1
            for n, k, s in zip(sizes[x], own["size"], own["strides"], strict=False)
        ]
        sizes[y] = (*sides, own["filters"])
        return y

    def same(x, op, *others, **options):
        y = add(op, x, *others, **options)
        sizes[y] = sizes[x]
        return y

    sizes = {0: shape}
    x = 0
    if coded and one_of(True, False):
        x = synapses(x)  # once, before the encoder
        x = same(same(x, "normalization", **tdbn), "encode")
    elif coded:
        x = synapses(same(x, "encode"))
    else:
        x = synapses(x)
    x = same(x, "neurons", **options)
    keeps = {"size": (3, 3), "strides": (1, 1), "padding": "same", "groups": 1}
    for _ in range(one_of(2, 1, 3, 0)):
        block = one_of("shared", "pool", "weighted", "residual", "plain")
        if min(sizes[x][:2], default=0) < 3 and len(sizes[x]) == 3 and block in ("pool", "plain"):
            block = "residual"
        width = sizes[x][-1]
        if block == "plain":
            x = synapses(x)
            if one_of(True, False):
                x = same(x, "normalization", **tdbn)
        elif block in ("residual", "weighted"):
            branch = synapses(x, filters=width, **keeps)
            x = same(x, "sum" if block == "residual" else "weighted sum", branch)
        elif block == "shared":  # weights and neurons
            first = f"synapses{next(names)}"
            shared = f"neurons{next(names)}"
            normalized = f"normalization{next(names)}" if one_of(True, False) else None
            for _ in range(one_of(2, 3)):
                x = synapses(x, name=first, filters=width, **keeps)
                if normalized:
                    x = same(x, "normalization", name=normalized, **tdbn)
                x = same(x, "neurons", name=shared, **options)
            continue
        elif len(sizes[x]) == 3:
            pooled = add(one_of("average pool", "maximum pool"), x, size=2)
            sizes[pooled] = (sizes[x][0] // 2, sizes[x][1] // 2, width)
            x = synapses(pooled, **keeps)
        else:
            x = synapses(x)
        x = same(x, "neurons", **options)
    if len(sizes[x]) == 3:
        y = add("flatten", x)
        sizes[y] = (int(np.prod(sizes[x])),)
        x = y
    add("mean", synapses(x, filters=3))

    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    images = rng.random((SAMPLES, *shape)) if coded else rng.random((SAMPLES, timesteps, *shape))
    if one_of(True, False):
        images = images < 0.3
    images = images.astype("float32")
    timed, weights = images[:, None] if coded else images, {}
    numpy_form["simulate"](nodes, timed, timesteps, weights, calibrate=rng)
    values, distance = numpy_form["simulate"](nodes, timed, timesteps, weights)
    eta, mode = one_of(0.5, 0.0), one_of({}, {"run_eagerly": True})
    step = training_step(nodes, timed, timesteps, weights, LABELS, eta)
    network = Network(nodes, timesteps, weights, images, values, eta, mode, step)
    hypothesis.assume(min(distance, step.distance) > NEAR)
    rates = [spikes.mean() for _, spikes in network.spikes + network.spikes_in_training]
    hypothesis.assume(min(rates) > 0.02 and max(rates) < 0.98)
    return network


def layer_of(node, timesteps):
    op, name = node["op"], node["name"]
    if op == "neurons":
        options = {key: node[key] for key in node if key not in ("op", "name", "takes")}
        return LIFLayer(name=name, **options)
    if op == "normalization":
        return TDBatchNormalization(node["alpha"], node["v_threshold"], name=name)
    if op == "encode":
        return layers.DirectEncoder(timesteps, name=name)
    if op == "mean":
        return layers.TemporalMean(name=name)
    if op in ("sum", "weighted sum"):
        return (keras.layers.Add if op == "sum" else layers.WeightedSum)(name=name)
    return {
        "convolution": lambda: keras.layers.Conv2D(
            node["filters"],
            node["size"],
            strides=node["strides"],
            padding=node["padding"],
            groups=node["groups"],
            name=name,
        ),
        "dense": lambda: keras.layers.Dense(node["units"], name=name),
        "average pool": lambda: keras.layers.AveragePooling2D(node["size"], name=name),
        "maximum pool": lambda: keras.layers.MaxPooling2D(node["size"], name=name),
        "flatten": lambda: keras.layers.Flatten(name=name),
    }[op]()


def built(network):
    """The Keras model, and a second one of all its spikes."""
    folded = ("convolution", "dense", "average pool", "maximum pool", "flatten")
    tensors, made = [keras.Input(network.images.shape[1:])], {}
    timed = [not network.encoded]
    for node in network.nodes:
        taken = [tensors[i] for i in node["takes"]]
        timed.append(node["op"] == "encode" or timed[node["takes"][0]])
        if node["name"] not in made:
            layer = layer_of(node, network.timesteps)
            wrapped = timed[-1] and node["op"] in folded
            made[node["name"]] = layers.FoldTime(layer, name=layer.name) if wrapped else layer
        tensors.append(made[node["name"]](taken if len(taken) > 1 else taken[0]))
    for name, layer in made.items():
        if network.weights[name]:
            layer.set_weights(network.weights[name])
    pairs = zip(network.nodes, tensors[1:], strict=True)
    spikes = [tensor for node, tensor in pairs if node["op"] == "neurons"]
    return models.SpikingModel(tensors[0], tensors[-1]), keras.Model(tensors[0], spikes)
