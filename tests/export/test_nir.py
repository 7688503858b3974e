"""A NIR graph, simulated by others, fires as the Keras model does."""

import graphlib

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, TDBatchNormalization, dynamics, export, layers, models

nir = pytest.importorskip("nir", reason="needs the extra `nir`")

# Where float32 and another order of summation may decide a spike.
NEAR = 1e-4


# A simulator of NIR graphs, by the formulas of NIR's documentation and forward Euler -----------


def convolved(node, x):
    (sy, sx), (py, px), (dy, dx) = node.stride, node.padding, node.dilation
    x = np.pad(x, [(0, 0), (0, 0), (py, py), (px, px)])
    ky, kx = node.weight.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(
        x, ((ky - 1) * dy + 1, (kx - 1) * dx + 1), axis=(2, 3)
    )[:, :, ::sy, ::sx, ::dy, ::dx]
    weight = node.weight.astype(np.float64)
    return np.einsum("nchwyx,ocyx->nohw", windows, weight) + node.bias[:, None, None]


def pooled(node, x):
    windows = np.lib.stride_tricks.sliding_window_view(x, tuple(node.kernel_size), axis=(2, 3))
    return windows[:, :, :: node.stride[0], :: node.stride[1]].mean(axis=(4, 5))


def neurons(node, x, v, dt):
    if isinstance(node, nir.IF):
        v = v + dt * node.r * x
    else:
        v = v + dt / node.tau * (node.v_leak - v + node.r * x)
    fired = v > node.v_threshold
    return fired.astype(np.float64), np.where(fired, node.v_reset, v)


def simulate(graph, steps):
    """Output of every node at every step, `(batch, time, ...)`, for a list of inputs."""
    before = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        before[target].append(source)
    potentials = {}
    recorded = {name: [] for name in graph.nodes}
    for step in steps:
        out = {}
        for name in graphlib.TopologicalSorter(before).static_order():
            node = graph.nodes[name]
            x = sum(out[source] for source in before[name]) if before[name] else step
            if isinstance(node, nir.Conv2d):
                x = convolved(node, x)
            elif isinstance(node, nir.Affine):
                x = x @ node.weight.astype(np.float64).T + node.bias
            elif isinstance(node, nir.AvgPool2d):
                x = pooled(node, x)
            elif isinstance(node, nir.Flatten):
                x = x.reshape(len(x), -1)
            elif isinstance(node, nir.IF | nir.LIF):
                dt = graph.metadata["dt"]
                x, potentials[name] = neurons(node, x, potentials.get(name, 0.0), dt)
            out[name] = x
            recorded[name].append(x)
    return {name: np.stack(values, axis=1) for name, values in recorded.items()}


# Comparison ------------------------------------------------------------------------------------


def channels_first(x):
    return np.moveaxis(x, -1, -3) if x.ndim >= 4 else x


def captured(model, x):
    """Logits, and spikes and distances from the threshold of each layer, channels first."""
    with dynamics.capture_potentials() as found:
        logits = model(x, training=False).numpy()
    spikes = {layer.name: _channels_first_sequence(layer.spikes) for layer in found}
    distances = {
        layer.name: _channels_first_sequence(layer.membranes) - layer.neuron.v_threshold
        for layer in found
    }
    return logits, spikes, distances


def _channels_first_sequence(x):
    x = np.asarray(x)
    return np.moveaxis(x, -1, 2) if x.ndim == 5 else x


def assert_the_same_spikes(theirs, ours, distances):
    """Equal, or differing first where a potential is next to the threshold.

    Returns:
        How many spikes differ, and how many of these were the first of their sample.
    """
    names = list(ours)
    differs = np.stack(
        [(theirs[n] != ours[n]).reshape(*ours[n].shape[:2], -1).any(axis=2) for n in names], axis=1
    )
    first = 0
    for sample, layer, step in np.argwhere(differs):
        if differs[sample, : layer + 1, : step + 1].sum() == 1:
            name = names[layer]
            where = theirs[name][sample, step] != ours[name][sample, step]
            assert np.abs(distances[name][sample, step][where]).max() < NEAR
            first += where.sum()
    return sum(int((theirs[n] != ours[n]).sum()) for n in names), int(first)


def randomized(model, seed=0):
    """Other weights for every normalization, so that folding it wrongly shows."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, TDBatchNormalization):
            low, high = np.array([(0.8, 1.5), (-0.3, 0.6), (-0.5, 0.5), (0.3, 2.0)]).T[:, :, None]
            layer.set_weights(rng.uniform(low, high, (4, layer.beta.shape[0])))
    return model


def images(shape, n=6, seed=1):
    return np.random.default_rng(seed).uniform(0, 1, (n, *shape)).astype("float32")


def small_model(tau=1.0, encoder=None, **neuron_options):
    inputs = keras.Input((7, 6, 2))
    x = keras.layers.Normalization(mean=[0.4, 0.6], variance=[0.04, 0.09], name="pixels")(inputs)
    x = keras.layers.Conv2D(5, 3, padding="same", name="conv")(x)
    x = TDBatchNormalization(name="tdbn")(x)
    x = layers.DirectEncoder(4)(x)
    x = LIFLayer(tau=tau, v_threshold=0.7, name="lif1", **neuron_options)(x)
    x = layers.FoldTime(keras.layers.AveragePooling2D(2), name="pool")(x)
    x = layers.FoldTime(keras.layers.Flatten(), name="flatten")(x)
    x = TDBatchNormalization(name="after_flatten")(x)
    x = layers.FoldTime(keras.layers.Dense(8, kernel_initializer="he_normal"), name="dense")(x)
    x = LIFLayer(tau=tau, name="lif2", **neuron_options)(x)
    x = layers.FoldTime(keras.layers.Dense(3), name="readout")(x)
    return randomized(keras.Model(inputs, layers.TemporalMean()(x)))


@pytest.mark.parametrize("tau", [1.0, 0.8, 0.0])
def test_the_graph_fires_as_the_model(tau):
    model, x = small_model(tau), images((7, 6, 2))
    logits, spikes, distances = captured(model, x)
    graph = export.to_nir(model, dt=1e-3)
    simulated = simulate(graph, [channels_first(x)] * 4)
    assert 0.05 < spikes["lif1"].mean() < 0.95
    assert 0.05 < spikes["lif2"].mean() < 0.95
    assert assert_the_same_spikes(simulated, spikes, distances) == (0, 0)
    np.testing.assert_allclose(simulated["output"].mean(axis=1), logits, atol=1e-5)
    kind = nir.IF if tau == 1 else nir.LIF
    assert all(isinstance(graph.nodes[name], kind) for name in ("lif1", "lif2"))


def test_padding_is_exact_at_the_borders():
    # The pixels' offset folded into the convolution's bias would act on the padding too.
    graph = export.to_nir(small_model())
    assert graph.nodes["pixels"].weight.shape == (2, 2, 1, 1)
    assert graph.nodes["pixels"].padding == (0, 0)
    assert "tdbn" not in graph.nodes
    image = np.array([0.4, 0.6])[:, None, None] * np.ones((2, 7, 6))
    (normalized,) = convolved(graph.nodes["pixels"], image[None])
    np.testing.assert_allclose(normalized, 0.0, atol=1e-6)


@pytest.mark.parametrize("branch_weights", [False, True])
def test_a_residual_network_with_strides_fires_as_the_model(branch_weights):
    model = models.wrn16(
        (8, 8, 3), 4, timesteps=2, width=0.05, branch_weights=branch_weights, tau=0.9
    )
    model, x = randomized(model), images((8, 8, 3), n=4)
    logits, spikes, distances = captured(model, x)
    simulated = simulate(export.to_nir(model), [channels_first(x)] * 2)
    assert 0.02 < spikes["final_lif"].mean() < 0.98
    assert assert_the_same_spikes(simulated, spikes, distances) == (0, 0)
    np.testing.assert_allclose(simulated["output"].mean(axis=1), logits, atol=1e-5)


def test_the_digits_model_fires_the_same_spikes(digits_model, digits):
    logits, spikes, distances = captured(digits_model, digits[:16])
    simulated = simulate(export.to_nir(digits_model), [channels_first(digits[:16])] * 4)
    differing, first = assert_the_same_spikes(simulated, spikes, distances)
    print(f"{differing} of {sum(s.size for s in spikes.values())} differ, {first} first")
    assert first <= 2
    classes = simulated["output"].mean(axis=1).argmax(axis=1)
    assert (classes == logits.argmax(axis=1)).mean() >= 15 / 16


def test_a_graph_is_the_same_after_writing_and_reading(tmp_path):
    model, x = small_model(tau=0.8), images((7, 6, 2), n=2)
    graph = export.to_nir(model, tmp_path / "model.nir", dt=1e-3)
    read = nir.read(tmp_path / "model.nir")
    assert float(read.metadata["dt"]) == 1e-3
    again = simulate(read, [channels_first(x)] * 4)
    for name, values in simulate(graph, [channels_first(x)] * 4).items():
        np.testing.assert_allclose(again[name], values, atol=1e-12)


def test_a_potential_at_the_threshold_fires_in_both():
    # 1/4 four times is the threshold exactly: ours fires at it, NIR's above it.
    model = keras.Sequential([keras.Input((4, 1)), LIFLayer(name="lif")])
    x = np.full((1, 4, 1), 0.25, "float32")
    assert model(x).numpy().ravel().tolist() == [0, 0, 0, 1]
    simulated = simulate(export.to_nir(model), list(np.moveaxis(x, 1, 0)))
    assert simulated["lif"].ravel().tolist() == [0, 0, 0, 1]


def test_behind_another_coding_the_graph_takes_the_coded_steps():
    model = models.vgg11((8, 8, 1), 3, timesteps=3, width=0.02, coding="frequency")
    model, x = randomized(model), images((8, 8, 1), n=2)
    logits, spikes, distances = captured(model, x)
    coded = model.get_layer("encoder")(x).numpy()
    simulated = simulate(export.to_nir(model), list(channels_first(np.moveaxis(coded, 1, 0))))
    assert_the_same_spikes(simulated, spikes, distances)
    np.testing.assert_allclose(simulated["output"].mean(axis=1), logits, atol=1e-4)


def sequential(*of_layers, shape=(8, 8, 1)):
    return keras.Sequential([keras.Input(shape), *of_layers])


@pytest.mark.parametrize(
    ("of_layers", "message"),
    [
        ([layers.DirectEncoder(2), LIFLayer(reset="soft")], r"LIFLayer\): its neurons reset to"),
        ([layers.DirectEncoder(2), layers.TemporalGain()], "TemporalGain.: there is no node"),
        ([keras.layers.Conv2D(1, (2, 3)), layers.DirectEncoder(2)], "cannot be made square"),
        ([keras.layers.AveragePooling2D(3, padding="same")], "does not count padded pixels"),
        ([keras.layers.ZeroPadding2D(((0, 1), (0, 1)))], "must be the same on both sides"),
        ([keras.layers.MaxPooling2D(2)], "there is no node for it"),
        ([layers.DirectEncoder(2), keras.layers.Reshape((2, 64)), LIFLayer()], "no node for it"),
        ([layers.DirectEncoder(2), keras.layers.Flatten()], "it flattens time too"),
        (
            [layers.DirectEncoder(2), layers.FoldTime(LIFLayer(), name="inside")],
            "inside .FoldTime.LIFLayer..: it must see the time axis",
        ),
        ([keras.layers.Conv2D(1, 3, activation="relu")], "activation must be linear"),
        ([keras.layers.Dense(2)], "it takes vectors"),
        ([keras.layers.Conv2D(1, 3), layers.PoissonEncoder(2)], "must be the model's first layer"),
        ([keras.layers.ZeroPadding2D(1), keras.layers.AveragePooling2D(2)], "zero padding must be"),
    ],
)
def test_what_nir_cannot_express_is_refused_by_name(of_layers, message):
    if not any(isinstance(layer, layers.DirectEncoder) for layer in of_layers):
        of_layers = [*of_layers, layers.DirectEncoder(2)]
    with pytest.raises(ValueError, match=f"NIR cannot express layer .*{message}"):
        export.to_nir(sequential(*of_layers))


def assert_exported(model, x, path=None, atol=1e-5):
    """The graph fires the model's spikes and gives its outputs, from memory and from a file."""
    logits, spikes, distances = captured(model, x)
    graph = export.to_nir(model, path)
    for read in [graph] if path is None else [graph, nir.read(path)]:
        simulated = simulate(read, [channels_first(x)] * 3)
        assert assert_the_same_spikes(simulated, spikes, distances) == (0, 0)
        np.testing.assert_allclose(simulated["output"].mean(axis=1), logits, atol=atol)
    rates = {name: layer.mean() for name, layer in spikes.items()}
    assert all(0.02 < rate < 0.98 for rate in rates.values()), rates
    return graph


def image_network(*between, shape=(9, 8, 4), tau=0.9):
    """The layers under test between neurons; biases, so that padding shows."""
    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(4, 3, padding="same", name="first"),
            TDBatchNormalization(name="tdbn"),
            layers.DirectEncoder(3),
            LIFLayer(tau=tau, v_threshold=0.5, name="lif1"),
            *(layers.FoldTime(layer, name=f"{layer.name}_time") for layer in between),
            LIFLayer(tau=tau, v_threshold=0.5, name="lif2"),
            layers.FoldTime(keras.layers.Flatten()),
            layers.FoldTime(keras.layers.Dense(3), name="readout"),
            layers.TemporalMean(),
        ]
    )
    rng = np.random.default_rng(3)
    for weight in model.weights:
        if weight.name == "bias":
            weight.assign(rng.uniform(0.1, 0.3, weight.shape))
    return randomized(model)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": (3, 1)},
        {"kernel_size": (1, 5)},
        {"kernel_size": (5, 3), "padding": "same"},
        {"kernel_size": (4, 2), "strides": (2, 1)},
        {"kernel_size": (2, 3), "padding": "same"},
        {"kernel_size": 2, "padding": "same"},
        {"kernel_size": 2, "padding": "same", "dilation_rate": 2},
        {"kernel_size": 3, "strides": 2, "padding": "same"},
        {"kernel_size": (3, 2), "strides": (2, 3), "padding": "same"},
        {"kernel_size": 3, "groups": 2},
        {"kernel_size": (1, 3), "groups": 4, "padding": "same"},
        {"kernel_size": 3, "dilation_rate": (2, 1)},
        {"kernel_size": (3, 1), "dilation_rate": 2, "padding": "same", "groups": 2},
        {"kernel_size": 1, "strides": (3, 2)},
    ],
)
def test_kernels_of_all_shapes_fire_as_the_model(options, tmp_path):
    conv = keras.layers.Conv2D(8, kernel_initializer="he_normal", name="conv", **options)
    model, x = image_network(conv), images((9, 8, 4))
    graph = assert_exported(model, x, tmp_path / "model.nir")
    weight = graph.nodes["conv_time"].weight
    assert weight.shape[2] == weight.shape[3]
    if options in (
        {"kernel_size": 3, "dilation_rate": (2, 1)},
        {"kernel_size": 1, "strides": (3, 2)},
    ):
        np.testing.assert_array_equal(weight, np.asarray(conv.kernel).transpose(3, 2, 0, 1))


def test_pools_with_sides_of_their_own_fire_as_the_model(tmp_path):
    pool = keras.layers.AveragePooling2D((3, 2), strides=(1, 2), name="pool")
    conv = keras.layers.Conv2D(8, (1, 3), kernel_initializer="he_normal", name="conv")
    assert_exported(image_network(pool, conv), images((9, 8, 4)), tmp_path / "model.nir")


def dense_network(shape=(4, 4, 2)):
    model = keras.Sequential(
        [
            keras.Input(shape),
            layers.DirectEncoder(3),
            layers.FoldTime(keras.layers.Flatten()),
            layers.FoldTime(keras.layers.Dense(16, name="hidden"), name="hidden_time"),
            LIFLayer(tau=0.9, name="lif1"),
            keras.layers.Dense(9, name="second"),
            LIFLayer(tau=0.9, v_threshold=0.3, name="lif2"),
            keras.layers.Dense(3, name="readout"),
            layers.TemporalMean(),
        ]
    )
    rng = np.random.default_rng(4)
    for weight in model.weights:
        weight.assign(rng.uniform(-0.25, 0.3, weight.shape))
    return model


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("lora", [False, True])
def test_quantized_kernels_are_written_as_the_numbers_they_stand_for(mode, lora, tmp_path):
    model = dense_network()
    before = export.to_nir(model)
    model.quantize(mode)
    second = model.get_layer("second")
    delta = np.zeros((16, 9), "float32")
    if lora:
        second.enable_lora(2)
        rng = np.random.default_rng(5)
        factors = [rng.uniform(-0.5, 0.5, shape).astype("float32") for shape in ((16, 2), (2, 9))]
        second.lora_kernel_a.assign(factors[0])
        second.lora_kernel_b.assign(factors[1])
        delta = second.lora_alpha / second.lora_rank * factors[0] @ factors[1]
    # Zeros and ones are not rounded by int8, so that the graph is exact on black and white images.
    x = (images((4, 4, 2)) > 0.5).astype("float32")
    graph = assert_exported(model, x, tmp_path / "model.nir")
    levels = {"int8": 127, "int4": 7}[mode]
    for name in ("hidden_time", "second", "readout"):
        exact = before.nodes[name].weight + (delta.T if name == "second" else 0.0)
        step = np.abs(before.nodes[name].weight).max() / levels
        assert 0 < np.abs(graph.nodes[name].weight - exact).max() <= step


def test_low_rank_adapted_layers_are_written_with_their_adaptation():
    conv = keras.layers.Conv2D(8, 3, kernel_initializer="he_normal", name="conv")
    model = image_network(conv)
    head = model.get_layer("readout").layer
    before = export.to_nir(model)
    rng = np.random.default_rng(6)
    for layer in (conv, head):
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(rng.normal(0, 0.5, layer.lora_kernel_b.shape))
    graph = assert_exported(model, images((9, 8, 4)))
    for name in ("conv_time", "readout"):
        assert np.abs(graph.nodes[name].weight - before.nodes[name].weight).max() > 0.1


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_a_large_quantized_kernel_is_asked_for_in_parts():
    dense = keras.layers.Dense(4, name="dense")
    model = keras.Sequential([keras.Input((2, 2500)), dense, LIFLayer()])
    kernel = export.to_nir(model).nodes["dense"].weight
    model.quantize("int8")
    quantized = export.to_nir(model).nodes["dense"].weight
    assert np.abs(quantized - kernel).max() <= np.abs(kernel).max() / 127
    np.testing.assert_allclose(
        quantized, (np.asarray(dense.kernel) / np.asarray(dense.kernel_scale)).T, atol=1e-6
    )


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_a_kernel_that_rounds_its_inputs_to_float8_is_refused():
    model = dense_network()
    model.quantize("float8")
    with pytest.raises(ValueError, match="hidden_time .*: its inputs are rounded to float8"):
        export.to_nir(model)


@pytest.mark.parametrize("builder", [models.vgg11, models.wrn16])
def test_a_network_with_recomputation_gives_the_graph_of_one_without(builder):
    plain = randomized(builder((16, 16, 1), 4, timesteps=2, width=0.05))
    recomputed = builder((16, 16, 1), 4, timesteps=2, width=0.05, recompute=True)
    recomputed.set_weights(plain.get_weights())
    graphs = [export.to_nir(model) for model in (plain, recomputed)]
    assert set(graphs[0].nodes) == set(graphs[1].nodes)
    assert set(graphs[0].edges) == set(graphs[1].edges)
    for name, node in graphs[0].nodes.items():
        if isinstance(node, nir.Conv2d | nir.Affine):
            np.testing.assert_array_equal(node.weight, graphs[1].nodes[name].weight)


def test_models_inside_the_model_are_written_layer_by_layer():
    shared = keras.Sequential(
        [layers.FoldTime(keras.layers.Dense(6, name="dense")), LIFLayer(tau=0.9, name="lif")]
    )
    inner = keras.Sequential([keras.layers.Dense(6, name="dense"), LIFLayer(name="lif")])
    inputs = keras.Input((6,))
    x = inner(layers.DirectEncoder(3)(inputs))
    x = keras.layers.Dense(3, name="output")(shared(shared(x)))
    model = keras.Model(inputs, layers.TemporalMean()(x))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0, 0.5, weight.shape))
    x = images((6,))
    graph = export.to_nir(model)
    neurons_ = [name for name, node in graph.nodes.items() if isinstance(node, nir.IF | nir.LIF)]
    assert neurons_ == ["lif", "lif_1", "lif_2"]
    simulated = simulate(graph, [x] * 3)
    assert all(0.02 < simulated[name].mean() < 0.98 for name in neurons_)
    np.testing.assert_allclose(simulated["output"].mean(axis=1), model(x), atol=1e-5)


@pytest.mark.parametrize("last", [keras.layers.Flatten(), keras.layers.ZeroPadding2D(1)])
def test_a_graph_cannot_end_in_another_order_or_in_padding(last):
    with pytest.raises(ValueError, match="must not end in a Flatten or ZeroPadding2D"):
        export.to_nir(sequential(layers.DirectEncoder(2), layers.FoldTime(last)))


def test_leaks_that_differ_by_step_are_refused_and_a_learned_one_is_taken():
    layer = LIFLayer(tau=0.5, learn_tau="time", name="lif")
    model = keras.Sequential([keras.Input((2, 1)), layer])
    assert export.to_nir(model).nodes["lif"].tau == pytest.approx(2e-4)
    layer.leak.assign([0.5, 0.6])
    with pytest.raises(ValueError, match="its leak must be the same at all time steps"):
        export.to_nir(model)


def test_a_subclassed_model_is_refused_inside_another_too():
    @keras.saving.register_keras_serializable("tests")
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    @keras.saving.register_keras_serializable("tests")
    class Doubled(keras.Sequential):
        def call(self, inputs, training=None, mask=None):
            return 2.0 * super().call(inputs)

    doubled = Doubled([keras.Input((4, 3)), LIFLayer()])
    with pytest.raises(ValueError, match="whose layers can be listed.* Received: .*Doubled"):
        export.to_nir(doubled)
    for model in (Subclassed(name="mine"), sequential(Subclassed(name="mine"))):
        with pytest.raises(
            ValueError, match="functional or Sequential.* Received: Subclassed mine"
        ):
            export.to_nir(model)


def test_a_layer_called_in_training_mode_or_with_several_outputs_is_refused():
    inputs = keras.Input((4, 3))
    dropped = keras.layers.Dropout(0.5, name="bad")(inputs, training=True)
    with pytest.raises(ValueError, match="Received: bad, called with training=True"):
        export.to_nir(keras.Model(inputs, dropped))
    _, state = keras.layers.SimpleRNN(2, return_state=True, name="bad")(inputs)
    with pytest.raises(ValueError, match="one output each. Received: bad"):
        export.to_nir(keras.Model(inputs, keras.layers.Dense(2)(state)))


# Other libraries -------------------------------------------------------------------------------


def run_spikingjelly(graph, steps, dt):
    nir_exchange = pytest.importorskip(
        "spikingjelly.activation_based.nir_exchange", reason="needs the extra `bench`"
    )
    return _run_torch(nir_exchange.import_from_nir(graph, dt=dt), graph, steps)


def run_norse(graph, steps, dt):
    norse = pytest.importorskip("norse.torch", reason="needs the extra `bench`")
    return _run_torch(norse.from_nir(graph, dt=dt), graph, steps)


def run_snntorch(graph, steps, dt):
    module = pytest.importorskip("snntorch.import_nir", reason="needs the extra `bench`")
    assert dt == 1e-4  # snnTorch knows no other
    return _run_torch(module.import_from_nir(graph), graph, steps)


def _run_torch(network, graph, steps):
    """Output of each neuron and of the network, by hooks: state is threaded or inside."""
    torch = pytest.importorskip("torch")
    recorded = {name: [] for name, n in graph.nodes.items() if isinstance(n, nir.IF | nir.LIF)}
    for name in recorded:
        network.get_submodule(name).register_forward_hook(
            lambda module, args, out, name=name: recorded[name].append(
                (out[0] if isinstance(out, tuple) else out).numpy()
            )
        )
    state, outputs = None, []
    with torch.no_grad():
        for step in steps:
            out, state = network(torch.from_numpy(np.ascontiguousarray(step)), state)
            outputs.append(out.numpy())
    recorded["output"] = outputs
    return {name: np.stack(values, axis=1) for name, values in recorded.items()}


def test_spikingjelly_fires_the_digits_models_spikes(digits_model, digits):
    pytest.importorskip("spikingjelly", reason="needs the extra `bench`")
    logits, spikes, distances = captured(digits_model, digits)
    graph = export.to_nir(digits_model)
    theirs = run_spikingjelly(graph, [channels_first(digits)] * 4, dt=1e-4)
    differing, first = assert_the_same_spikes(theirs, spikes, distances)
    print(f"{differing} of {sum(s.size for s in spikes.values())} differ, {first} first")
    classes = theirs["output"].mean(axis=1).argmax(axis=1)
    assert (classes == logits.argmax(axis=1)).mean() >= 0.98


def test_spikingjelly_fires_a_residual_networks_spikes():
    pytest.importorskip("spikingjelly", reason="needs the extra `bench`")
    model = randomized(models.wrn16((8, 8, 3), 4, timesteps=2, width=0.05, tau=0.9))
    x = images((8, 8, 3), n=4)
    _, spikes, distances = captured(model, x)
    theirs = run_spikingjelly(export.to_nir(model), [channels_first(x)] * 2, dt=1e-4)
    assert_the_same_spikes(theirs, spikes, distances)


@pytest.mark.parametrize(
    ("run", "tau"),
    [
        (run_spikingjelly, 1.0),
        (run_spikingjelly, 0.8),
        (run_norse, 1.0),
        (run_norse, 0.8),
        # Its importer gives a nir.IF a leak of 0.9.
        (run_snntorch, 0.8),
    ],
)
def test_other_libraries_fire_a_dense_networks_spikes_on_digits(run, tau, digits):
    pixels = digits.reshape(len(digits), -1)
    x = np.repeat(pixels[:, None], 6, axis=1)
    inputs = keras.Input(x.shape[1:])
    y = inputs
    for i, units in enumerate((32, 24)):
        y = layers.FoldTime(keras.layers.Dense(units, use_bias=False, name=f"dense{i}"))(y)
        y = TDBatchNormalization(momentum=0.0, name=f"tdbn{i}")(y)
        y = LIFLayer(tau=tau, name=f"lif{i}")(y)
    model = keras.Model(inputs, layers.FoldTime(keras.layers.Dense(10), name="readout")(y))
    model(x, training=True)  # tdBN's statistics are then those of the digits
    outputs, spikes, distances = captured(model, x)
    theirs = run(export.to_nir(model), list(np.moveaxis(x, 1, 0)), dt=1e-4)
    assert 0.05 < spikes["lif1"].mean() < 0.95
    assert assert_the_same_spikes(theirs, spikes, distances) == (0, 0)
    np.testing.assert_allclose(theirs["output"], outputs, atol=1e-4)
