"""A NIR graph becomes a Keras model that fires as NIR's equations say."""

import itertools

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies

from keras_mpdsgr import LIFLayer, TDBatchNormalization, dynamics, export, layers, models

nir = pytest.importorskip("nir", reason="needs the extra `nir`")

DT = 1e-4


def images(shape, n=6, seed=1):
    return np.random.default_rng(seed).uniform(0, 1, (n, *shape)).astype("float32")


def captured(model, x):
    """Outputs, and spikes by layer."""
    with dynamics.capture_potentials() as found:
        outputs = model(x, training=False).numpy()
    return outputs, {layer.name: np.asarray(layer.spikes) for layer in found}


def randomized(model, seed=0):
    """Other weights for everything, so that neurons fire and what is left out shows."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, TDBatchNormalization):
            low, high = np.array([(0.8, 1.5), (-0.3, 0.6), (-0.5, 0.5), (0.3, 2.0)]).T[:, :, None]
            layer.set_weights(rng.uniform(low, high, (4, layer.beta.shape[0])))
    return model


def assert_comes_back(model, x, timesteps):
    """The same spikes and outputs after `to_nir` and `from_nir`, and the same graph again."""
    graph = export.to_nir(model)
    again = export.from_nir(graph, timesteps)
    outputs, spikes = captured(model, x)
    found, theirs = captured(again, x)
    assert set(theirs) == set(spikes)
    for name, values in spikes.items():
        assert 0.01 < values.mean() < 0.99
        np.testing.assert_array_equal(theirs[name], values, err_msg=name)
    np.testing.assert_allclose(found, outputs, atol=2e-5)
    written = export.to_nir(again)
    for name, node in graph.nodes.items():
        if isinstance(node, nir.IF | nir.LIF):
            np.testing.assert_array_equal(written.nodes[name].v_threshold, node.v_threshold)
            assert type(written.nodes[name]) is type(node)
    return again


def convolutional(tau, **options):
    inputs = keras.Input((7, 6, 2))
    x = keras.layers.Normalization(mean=[0.4, 0.6], variance=[0.04, 0.09], name="pixels")(inputs)
    x = keras.layers.Conv2D(6, 3, padding="same", name="conv")(x)
    x = TDBatchNormalization(name="tdbn")(x)
    x = layers.DirectEncoder(4)(x)
    x = LIFLayer(tau=tau, v_threshold=0.7, name="lif1")(x)
    x = layers.FoldTime(keras.layers.Conv2D(4, **options), name="second")(x)
    x = TDBatchNormalization(name="tdbn2")(x)
    x = LIFLayer(tau=tau, v_threshold=0.3, name="lif2")(x)
    x = layers.FoldTime(keras.layers.AveragePooling2D(2), name="pool")(x)
    x = layers.FoldTime(keras.layers.Flatten(), name="flatten")(x)
    x = layers.FoldTime(keras.layers.Dense(8, kernel_initializer="he_normal"), name="dense")(x)
    x = LIFLayer(tau=tau, v_threshold=0.2, name="lif3")(x)
    x = layers.FoldTime(keras.layers.Dense(3), name="readout")(x)
    return randomized(keras.Model(inputs, layers.TemporalMean()(x)))


@pytest.mark.parametrize(
    ("tau", "options"),
    [
        (1.0, {"kernel_size": 3, "padding": "same"}),
        (0.9, {"kernel_size": (3, 1), "groups": 2}),
        (0.5, {"kernel_size": 2, "strides": (2, 1), "padding": "same"}),
        (0.0, {"kernel_size": 2, "dilation_rate": 2}),
    ],
)
def test_a_convolutional_network_comes_back(tau, options):
    assert_comes_back(convolutional(tau, **options), images((7, 6, 2)), 4)


def test_a_residual_network_comes_back():
    model = models.wrn16((8, 8, 3), 4, timesteps=2, width=0.05, tau=0.9)
    assert_comes_back(randomized(model), images((8, 8, 3), n=4), 2)


def test_the_digits_model_comes_back_from_a_file_and_runs_its_first_layer_once(
    digits_model, digits, tmp_path
):
    export.to_nir(digits_model, tmp_path / "digits.nir", dt=1e-3)
    again = export.from_nir(tmp_path / "digits.nir", timesteps=4)
    outputs, spikes = captured(digits_model, digits[:16])
    found, theirs = captured(again, digits[:16])
    # Folded tdBN rounds otherwise, which may decide a spike that is next to the threshold.
    name = next(iter(spikes))
    first = (theirs[name] != spikes[name]).sum()
    print(f"{first} of {spikes[name].size} differ")
    assert (found.argmax(axis=1) == outputs.argmax(axis=1)).mean() >= 15 / 16
    assert first <= 2
    kinds = [type(layer) for layer in again.layers]
    assert kinds.index(keras.layers.Conv2D) < kinds.index(layers.DirectEncoder)


@hypothesis.given(
    tau=strategies.one_of(
        strategies.sampled_from([0.0, 0.25, 0.5, 0.9, 0.99, 1.0]),
        strategies.floats(0.0, 1.0).filter(lambda tau: tau == 0 or 1e-3 < tau < 0.999),
    ),
    threshold=strategies.one_of(
        strategies.sampled_from([0.1, 0.7, 1.0, 15.0]), strategies.floats(1e-3, 1e3)
    ),
    dt=strategies.sampled_from([1e-4, 1e-3, 0.5, 1.0, 2.0]),
)
@hypothesis.settings(max_examples=40)
def test_leak_and_threshold_come_back_to_float32(tau, threshold, dt):
    model = keras.Sequential([keras.Input((2, 1)), LIFLayer(tau, threshold, name="lif")])
    neurons = export.from_nir(export.to_nir(model, dt=dt), 2).get_layer("lif")
    assert neurons.tau == pytest.approx(tau, rel=3e-7, abs=1e-7 if tau > 0 else 0)
    assert neurons.v_threshold == pytest.approx(threshold, rel=5e-7 / (1 - min(tau, 0.999)))
    if len(repr(tau)) < 5 and len(repr(threshold)) < 5:
        assert np.float32(neurons.v_threshold) == np.float32(threshold)
        assert neurons.tau == tau


# Graphs of other origin, against NIR's equations ------------------------------------------------


def lif_by_its_equation(node, currents, dt):
    """Spikes of tau dv/dt = (v_leak - v) + r I by forward Euler, `(time, ...)`, in float64."""
    v, spikes = np.zeros(currents.shape[1:]), []
    for current in currents:
        v = v + dt / node.tau * (node.v_leak - v + node.r * current)
        spikes.append(v > node.v_threshold)
        v = np.where(spikes[-1], node.v_reset, v)
    return np.array(spikes, float)


def graph_of(*nodes, shape, output=None):
    """Nodes one after another."""
    named = {"input": nir.Input(np.array(shape))}
    named |= {f"n{number}": node for number, node in enumerate(nodes)}
    named["output"] = nir.Output(np.array(shape if output is None else output))
    names = list(named)
    edges = list(itertools.pairwise(names))
    return nir.NIRGraph(named, edges, type_check=False)


def lif(shape=(5,), tau=4e-4, r=1.0, v_leak=0.0, v_threshold=0.3, v_reset=0.0):
    values = {"tau": tau, "r": r, "v_leak": v_leak, "v_threshold": v_threshold, "v_reset": v_reset}
    return nir.LIF(**{name: np.broadcast_to(value, shape) * 1.0 for name, value in values.items()})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tau": DT},
        {"r": 2.5, "v_threshold": 0.8},
        {"v_leak": 0.11},
        {"r": np.linspace(0.5, 2.0, 5)},
        {"v_threshold": np.linspace(0.1, 0.5, 5), "v_leak": -0.05},
        {"r": -1.5, "v_leak": 0.9},
        {"r": np.linspace(-1.0, 2.0, 5), "v_threshold": np.linspace(0.1, 0.5, 5)},
    ],
)
def test_a_lif_fires_by_its_equation(options):
    node, x = lif(**options), images((5,), n=8)
    model = export.from_nir(graph_of(node, shape=(5,)), timesteps=12)
    rates, spikes = captured(model, x)
    expected = lif_by_its_equation(node, np.stack([x] * 12).astype(float), DT)
    assert 0.02 < expected.mean() < 0.98
    np.testing.assert_array_equal(np.moveaxis(spikes["n0"], 1, 0), expected)
    np.testing.assert_allclose(rates, expected.mean(axis=0), atol=1e-6)


def test_an_if_integrates_and_fires_above_its_threshold():
    shape = (4,)
    values = {"r": 1 / DT, "v_threshold": 1.0}
    node = nir.IF(**{name: np.full(shape, value) for name, value in values.items()})
    # 1/4 four times is the threshold, which NIR does not fire at.
    x = np.array([[0.25, 0.26, 0.5, 1.5]], "float32")
    _, spikes = captured(export.from_nir(graph_of(node, shape=shape), timesteps=4), x)
    assert spikes["n0"][0].T.tolist() == [
        [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [1, 1, 1, 1]
    ]  # fmt: skip


def test_a_network_as_other_libraries_write_it_fires_by_its_equations():
    rng = np.random.default_rng(2)
    weight = rng.uniform(-0.2, 0.4, (3, 2, 3, 2))
    last = rng.uniform(-0.5, 0.5, (4, 12))
    graph = graph_of(
        nir.Scale(np.array([0.5, 2.0])[:, None, None]),
        nir.Conv2d((6, 5), weight, (1, 2), (1, 0), 1, 1, np.array([0.1, 0.0, -0.1])),
        lif((3, 6, 2), v_threshold=0.2),
        nir.SumPool2d(np.array([3, 3]), np.array([3, 3]), np.array([0, 1])),
        nir.Threshold(np.full((3, 2, 1), 1.0)),
        nir.Flatten({"input": np.array([3, 2, 1])}, 0, -1),
        nir.Linear(rng.uniform(-1, 1, (12, 6))),
        # Parameters of one neuron stand for all, as snnTorch writes them.
        lif((1,), v_threshold=0.1),
        nir.Affine(last, np.arange(4.0)),
        shape=(2, 6, 5),
        output=(4,),
    )
    nodes = list(graph.nodes.values())[1:-1]
    x = images((6, 5, 2), n=5)
    scaled = np.moveaxis(x, -1, 1).astype(float) * np.array([0.5, 2.0])[:, None, None]
    padded = np.pad(scaled, [(0, 0), (0, 0), (1, 1), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 2), (2, 3))[:, :, :, ::2]
    current = np.einsum("nchwyx,ocyx->nohw", windows, weight) + nodes[1].bias[:, None, None]
    first = lif_by_its_equation(nodes[2], np.stack([current] * 6), DT)
    wide = np.pad(first, [(0, 0)] * 4 + [(1, 1)])
    sums = wide[..., :3].reshape(6, 5, 3, 2, 3, 3).sum(axis=(4, 5))
    assert 0.1 < (sums > 1).mean() < 0.95
    hidden = (sums > 1).reshape(6, 5, 6) @ nodes[6].weight.T
    second = lif_by_its_equation(nodes[7], hidden, DT)
    expected = (second @ last.T + np.arange(4.0)).mean(axis=0)
    model = export.from_nir(graph, timesteps=6)
    outputs, spikes = captured(model, x)
    assert 0.05 < second.mean() < 0.95
    np.testing.assert_array_equal(np.moveaxis(spikes["n7"], 1, 0), second)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_a_one_dimensional_convolution_is_that_of_numpy():
    weight = np.random.default_rng(0).uniform(-1, 1, (3, 2, 4))
    node = nir.Conv1d(9, weight, 2, 1, 1, 1, np.array([0.5, 0.0, -0.5]))
    x = images((9, 2))
    model = export.from_nir(graph_of(node, shape=(2, 9), output=(3, 4)), timesteps=1)
    padded = np.pad(np.moveaxis(x, -1, 1), [(0, 0), (0, 0), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 4, 2)[:, :, ::2]
    expected = np.einsum("nclk,ock->nlo", windows, weight) + node.bias
    np.testing.assert_allclose(model(x), expected, atol=1e-5)


def test_another_coding_draws_each_step_and_neurons_get_their_surrogate():
    graph = graph_of(nir.Linear(np.eye(3)), lif((3,)), shape=(3,))
    model = export.from_nir(
        graph, 8, encoder=layers.PoissonEncoder, surrogate="sigmoid", detach_reset=True
    )
    assert isinstance(model.layers[1], layers.PoissonEncoder)
    neurons = model.get_layer("n1")
    assert (type(neurons.surrogate).__name__, neurons.detach_reset) == ("Sigmoid", True)
    x = images((3,))
    assert not np.array_equal(model(x), model(x))


def test_a_model_of_a_graph_is_saved_and_loaded(tmp_path):
    node = lif((3, 4, 4), r=np.random.default_rng(0).uniform(0.5, 2, (3, 4, 4)))
    flat = nir.Flatten({"input": np.array([3, 4, 4])}, 0, -1)
    graph = graph_of(node, flat, nir.Linear(np.ones((2, 48))), shape=(3, 4, 4), output=(2,))
    model, x = export.from_nir(graph, 3), images((4, 4, 3))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(models.load(tmp_path / "model.keras")(x), model(x))


# Other libraries, where the extra `bench` is installed -----------------------------------------


def of_spikingjelly(x, steps):
    torch, exchange, neuron = (
        pytest.importorskip(name, reason="needs the extra `bench`")
        for name in (
            "torch",
            "spikingjelly.activation_based.nir_exchange",
            "spikingjelly.activation_based.neuron",
        )
    )
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), neuron.LIFNode(tau=2.5, v_threshold=0.2),
        torch.nn.AvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(64, 12, bias=False),
        neuron.IFNode(v_threshold=0.7), torch.nn.Linear(12, 3),
    )  # fmt: skip
    graph = exchange.export_to_nir(net, x[:1])
    for module in net:
        if hasattr(module, "reset"):
            module.reset()
    return graph, [net(x) for _ in range(steps)]


def of_snntorch(x, steps):
    torch, snn, export_nir = (
        pytest.importorskip(name, reason="needs the extra `bench`")
        for name in ("torch", "snntorch", "snntorch.export_nir")
    )

    def leaky(beta, threshold, shape):  # of the shape of the neurons, which its exporter needs
        values = {"beta": torch.full(shape, beta), "threshold": torch.full(shape, threshold)}
        return snn.Leaky(**values, init_hidden=True, reset_mechanism="zero")

    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), leaky(0.8, 0.3, (4, 8, 8)), torch.nn.AvgPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(64, 12), leaky(0.9, 0.4, (12,)),
        torch.nn.Linear(12, 3),
    )  # fmt: skip
    graph = export_nir.export_to_nir(net, x[:1], ignore_dims=[0])
    for module in net:
        if hasattr(module, "reset_mem"):
            module.reset_mem()
    return graph, [net(x) for _ in range(steps)]


def of_norse(x, steps):
    torch, norse, export_nir = (
        pytest.importorskip(name, reason="needs the extra `bench`")
        for name in ("torch", "norse.torch", "norse.torch.utils.export_nir")
    )
    constants = {"tau_mem_inv": torch.tensor(150.0), "v_th": torch.tensor(0.1)}
    cell = norse.LIFBoxCell(norse.LIFBoxParameters(**constants), dt=1e-3)
    flat, first = torch.nn.Flatten(), torch.nn.Linear(64, 12)
    net = norse.SequentialState(first, cell, torch.nn.Linear(12, 3))
    graph = export_nir.to_nir(net, flat(x[:1]), dt=1e-3)
    state, outputs = None, []
    for _ in range(steps):
        out, state = net(flat(x), state)
        outputs.append(out)
    return graph, outputs


# Norse 1.1 multiplies time constants by dt where it should not: its step is then dt * dt.
@pytest.mark.parametrize(
    ("made", "dt"), [(of_spikingjelly, None), (of_snntorch, None), (of_norse, 1e-6)]
)
def test_a_network_of_another_library_gives_its_outputs(made, dt):
    torch = pytest.importorskip("torch", reason="needs the extra `bench`")
    torch.manual_seed(0)
    x = images((1, 8, 8))
    with torch.no_grad():
        graph, outputs = made(torch.from_numpy(x), 6)
    expected = torch.stack(outputs).mean(0).numpy()
    model = export.from_nir(graph, timesteps=6, dt=dt)
    ours = np.moveaxis(x, 1, -1) if len(model.input_shape) == 4 else x.reshape(len(x), -1)
    found, spikes = captured(model, ours)
    assert all(0.02 < values.mean() < 0.98 for values in spikes.values())
    np.testing.assert_allclose(found, expected, atol=1e-5)


# Refusals ---------------------------------------------------------------------------------------

CUBA = nir.CubaLIF(*(np.full((5,), value) for value in (2e-4, 4e-4, 1.0, 0.0, 0.3)))
FLAT = nir.Flatten({"input": np.array([2, 3, 3])}, 1, -1)


@pytest.mark.parametrize(
    ("node", "shape", "said"),
    [
        (lif(tau=np.linspace(2e-4, 4e-4, 5)), (5,), r"its tau must be the same"),
        (lif(tau=5e-5), (5,), "its tau must be at least a time step of 0.0001 s"),
        (lif(v_reset=0.1), (5,), "must reset to 0"),
        (lif(v_threshold=0.0), (5,), "thresholds must be positive"),
        (lif(r=np.nan), (5,), "its r must hold finite numbers"),
        (lif((4,)), (5,), r"its r has shape \(4,\)|v_threshold has shape \(4,\)"),
        (CUBA, (5,), r"its synaptic current is a second state"),
        (nir.LI(*np.ones((3, 5))), (5,), "no neurons without spikes"),
        (nir.Linear(np.ones((2, 4))), (5,), "weight has shape .2, 4., which does not fit"),
        (nir.Delay(np.ones(5)), (5,), "there are no delays"),
        (nir.AvgPool2d(2, 2, 1), (2, 4, 4), "padding must be 0"),
        (FLAT, (2, 3, 3), "must flatten all of its input"),
        (nir.Scale(np.ones(4)), (5,), "its scale has shape .4,."),
        (nir.Conv2d(None, np.ones((1, 3, 3, 3)), 1, 0, 1, 1, np.zeros(1)), (2, 4, 4), "not fit"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_exactly_is_refused_by_the_nodes_name(node, shape, said):
    with pytest.raises(ValueError, match=f"Node n0 .*cannot be imported.*{said}") as caught:
        export.from_nir(graph_of(node, shape=shape), timesteps=2)
    assert "\n" not in str(caught.value)


def test_recurrent_edges_and_graphs_of_several_ends_are_refused():
    nodes = {"input": nir.Input(np.array([5])), "a": lif(), "b": nir.Linear(np.eye(5))}
    nodes["output"] = nir.Output(np.array([5]))
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("a", "output")]
    with pytest.raises(ValueError, match="must be feed-forward. Received: a loop, .*(a|b) -> "):
        export.from_nir(nir.NIRGraph(nodes, edges, type_check=False), 2)
    twice = [("input", "a"), ("input", "a"), ("a", "output")]
    with pytest.raises(ValueError, match="an edge twice: input -> a"):
        export.from_nir(nir.NIRGraph(nodes, twice, type_check=False), 2)
    lonely = [("input", "b"), ("a", "output")]
    with pytest.raises(ValueError, match="Node a .*no edge leads to it"):
        export.from_nir(nir.NIRGraph(nodes, lonely, type_check=False), 2)
    nodes["other"] = nir.Input(np.array([5]))
    with pytest.raises(ValueError, match="one Input node. Received: 2 of them"):
        export.from_nir(nir.NIRGraph(nodes, edges[:2], type_check=False), 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        *(({"graph": bad}, "`graph` must be a nir.NIRGraph or the") for bad in (3, None, ["a"])),
        ({"graph": __file__}, "is not a readable NIR graph"),
        *(({"timesteps": bad}, "`timesteps` must be") for bad in (0, 1.5, "2", True, None)),
        *(({"dt": bad}, "`dt` must be") for bad in (0, -1.0, np.nan, np.inf, "1", True)),
        ({"dt": 1e-3}, "`dt` must be that of the graph, 0.0001"),
        *(
            ({"encoder": bad}, "`encoder` must be one of DirectEncoder")
            for bad in (keras.layers.Dense, "direct", None, layers.DirectEncoder(2))
        ),
        ({"tau": 0.5}, "`tau` of the neurons is the graph's own"),
        ({"surrogate": "no such"}, "`surrogate`"),
    ],
)
def test_a_wrong_argument_is_refused(given, said):
    graph = export.to_nir(keras.Sequential([keras.Input((2, 1)), LIFLayer()]))
    with pytest.raises(ValueError, match=said):
        export.from_nir(**{"graph": graph, "timesteps": 2, **given})


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match=r"no NIR graph at no_such\.nir"):
        export.from_nir("no_such.nir", 2)
