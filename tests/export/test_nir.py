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
        ([keras.layers.Conv2D(1, 2, padding="same"), layers.DirectEncoder(2)], "more zeros on one"),
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


def test_a_subclassed_or_nested_model_is_refused():
    class Subclassed(keras.Model):
        pass

    with pytest.raises(ValueError, match="functional or Sequential.* Received: Subclassed"):
        export.to_nir(Subclassed())
    inner = sequential(keras.layers.Conv2D(1, 3))
    with pytest.raises(ValueError, match="a model inside the model"):
        export.to_nir(sequential(inner))


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
