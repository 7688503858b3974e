"""Random small networks do, in every form, what a NumPy simulation of them in float64 does."""

import collections
import dataclasses
import pathlib
import runpy

import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import scipy.special

from keras_mpdsgr import LIFLayer, TDBatchNormalization, export, layers

HERE = pathlib.Path(__file__).resolve().parent
numpy_form = runpy.run_path(str(HERE / "simulator.py"))

# Sooner, float32 and another order of summation may decide a spike.
NEAR = 1e-5
TOLERANCE = {"atol": 2e-5, "rtol": 2e-5}
SAMPLES = 4


# Networks --------------------------------------------------------------------------------------


@dataclasses.dataclass
class Network:
    nodes: list
    timesteps: int
    weights: dict = dataclasses.field(repr=False)
    images: np.ndarray = dataclasses.field(repr=False)
    values: list = dataclasses.field(repr=False)  # simulated, of the input and of all nodes

    @property
    def encoded(self):
        return any(node["op"] == "encode" for node in self.nodes)

    @property
    def spikes(self):
        """Names and simulated spikes of all calls of neurons."""
        pairs = zip(self.nodes, self.values[1:], strict=True)
        return [(node["name"], value) for node, value in pairs if node["op"] == "neurons"]


@st.composite
def networks(draw):
    """A `Network` that fires."""
    one_of = lambda *values: draw(st.sampled_from(values))  # noqa: E731
    threshold = {"v_threshold": one_of(1.0, 0.7)}
    options = {"reset": one_of("hard", "soft"), "tau": one_of(1.0, 0.9, 0.5, 0.0), **threshold}
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
        x = same(same(x, "normalization", **threshold), "encode")
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
                x = same(x, "normalization", **threshold)
        elif block in ("residual", "weighted"):
            branch = synapses(x, filters=width, **keeps)
            x = same(x, "sum" if block == "residual" else "weighted sum", branch)
        elif block == "shared":  # weights and neurons
            first = f"synapses{next(names)}"
            shared = f"neurons{next(names)}"
            x = synapses(x, name=first, filters=width, **keeps)
            x = same(x, "neurons", name=shared, **options)
            x = synapses(x, name=first, filters=width, **keeps)
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
    network = Network(nodes, timesteps, weights, images, values)
    rates = [spikes.mean() for _, spikes in network.spikes]
    hypothesis.assume(distance > NEAR and min(rates) > 0.02 and max(rates) < 0.98)
    return network


def layer_of(node, timesteps):
    op, name = node["op"], node["name"]
    if op == "neurons":
        options = {key: node[key] for key in ("tau", "v_threshold", "reset")}
        return LIFLayer(name=name, **options)
    if op == "normalization":
        return TDBatchNormalization(v_threshold=node["v_threshold"], name=name)
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
    return keras.Model(tensors[0], tensors[-1]), keras.Model(tensors[0], spikes)


# What has to agree -----------------------------------------------------------------------------


def check_inference(network, model, spiking):
    images, logits = network.images, network.values[-1]
    found = spiking(images)
    for spikes, (_, expected) in zip(
        found if isinstance(found, list) else [found], network.spikes, strict=True
    ):
        np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_allclose(model.predict(images, verbose=0), logits, **TOLERANCE)
    labels = np.arange(SAMPLES) % 3
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    loss, accuracy = model.evaluate(images, labels, batch_size=3, verbose=0)
    probabilities = scipy.special.softmax(logits, axis=1)[np.arange(SAMPLES), labels]
    np.testing.assert_allclose(loss, -np.log(probabilities).mean(), **TOLERANCE)
    assert accuracy == pytest.approx((logits.argmax(axis=1) == labels).mean())


def check_copies(network, model, folder):
    model.save(folder / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for copy in (keras.models.load_model(folder / "model.keras", compile=False), clone):
        np.testing.assert_allclose(copy(network.images), network.values[-1], **TOLERANCE)


def check_graph(network, model):
    expressible = not any(
        node["op"] == "maximum pool" or node.get("reset") == "soft" for node in network.nodes
    )
    try:
        graph = export.to_nir(model)
    except ValueError as refusal:
        assert "\n" not in str(refusal)
        assert str(refusal).startswith("NIR cannot express layer ")
        assert not expressible or "made square" in str(refusal)
        return
    assert expressible
    form, images = runpy.run_path(str(HERE.parent / "export" / "test_nir.py")), network.images
    steps = [images] * network.timesteps if network.encoded else np.moveaxis(images, 1, 0)
    recorded = form["simulate"](graph, [form["channels_first"](step) for step in steps])
    calls = collections.Counter()
    for name, spikes in network.spikes:
        node = name + (f"_{calls[name]}" if calls[name] else "")
        calls[name] += 1
        expected = np.moveaxis(spikes, -1, 2) if spikes.ndim == 5 else spikes
        np.testing.assert_array_equal(recorded[node], expected)
    np.testing.assert_allclose(recorded["output"].mean(axis=1), network.values[-1], **TOLERANCE)


def check_stream(network, model):
    images, readout = network.images, network.values[-2]
    stream = export.streaming(model, batch_size=SAMPLES)
    for _ in range(2):
        for t in range(network.timesteps):
            step = stream(images if network.encoded else images[:, t : t + 1])
            np.testing.assert_allclose(step, readout[:, t : t + 1], **TOLERANCE)
        stream.reset_state()


def check_energy(network, model):
    report = export.energy(model, network.images, batch_size=3)
    layers_counted, per_value = iter(report.layers), []
    for value, node in zip(network.values, [None, *network.nodes], strict=True):
        unit = 1.0 if np.isin(value, (0, 1)).all() else None
        before = per_value[node["takes"][0]] if node else None
        if before and node["op"] in ("average pool", "flatten", "encode"):
            unit = before * (node["size"] ** 2 if "size" in node else 1)
        per_value.append(unit)
        if node and node["op"] in ("convolution", "dense"):
            layer, taken = next(layers_counted), network.values[node["takes"][0]]
            source = {None: "analog", 1.0: "spikes"}.get(before, "averaged spikes")
            assert layer.name.startswith(node["name"]) and layer.source == source
            events = np.ones_like(taken) if before is None else taken * before
            operations = numpy_form["synaptic_operations"](node, events)
            assert layer.operations == pytest.approx(operations)
    assert next(layers_counted, None) is None
    rates = [spikes.mean() for _, spikes in network.spikes]
    assert list(report.firing_rates.values()) == pytest.approx(rates)


def check(network, folder):
    keras.utils.clear_session(free_memory=False)
    model, spiking = built(network)
    check_inference(network, model, spiking)
    check_copies(network, model, folder)
    check_graph(network, model)
    check_stream(network, model)
    check_energy(network, model)


def settings(examples):
    return hypothesis.settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate, hypothesis.Phase.shrink],
        database=None,
    )


@settings(3)
@hypothesis.given(network=networks())
def test_a_few_random_networks_agree_with_their_simulation(network, tmp_path_factory):
    pytest.importorskip("nir", reason="needs the extra `nir`")
    check(network, tmp_path_factory.mktemp("network"))


@pytest.mark.slow
@settings(40)
@hypothesis.given(network=networks())
def test_random_networks_agree_with_their_simulation(network, tmp_path_factory):
    pytest.importorskip("nir", reason="needs the extra `nir`")
    check(network, tmp_path_factory.mktemp("network"))
