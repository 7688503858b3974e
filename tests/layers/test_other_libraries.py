"""What docs/coming-from.md says: neurons and surrogates of other libraries, by their names here.

Each neuron is held against its published formula in numpy and, where the extra `bench` is
installed, against the library itself; so is each surrogate gradient.
"""

import pathlib
import re

import keras
import numpy as np
import pytest
import scipy.special

from keras_mpdsgr import LIFLayer, surrogates

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "coming-from.md"
STEPS, TAU, BETA = 40, 3.0, 0.8
THRESHOLD = 1.0


def currents(top=0.9):
    return np.random.default_rng(1).uniform(-0.2, top, (STEPS, 50)).astype("float32")


# Neurons: a step gives the potential before the reset and what is kept of it.


def hard(h, s):
    return (1 - s) * h


def soft(h, s):
    return h - THRESHOLD * s


def formula(charge, reset):
    def spikes_of(x):
        v, spikes = np.zeros(x.shape[1:], np.float32), []
        for current in x:
            h = charge(v, current)
            s = (h >= THRESHOLD).astype(np.float32)
            v = reset(h, s)
            spikes.append(s)
        return np.stack(spikes)

    return spikes_of


def delayed(x, beta):
    """SnnTorch's default: the spike of one step lowers the potential of the next."""
    h, spikes = np.zeros(x.shape[1:], np.float32), []
    for current in x:
        h = beta * h + current - THRESHOLD * (h > THRESHOLD)
        spikes.append((h > THRESHOLD).astype(np.float32))
    return np.stack(spikes)


def decayed(v, x):
    return v - v / TAU + x


def averaged(v, x):
    return v + (x - v) / TAU


def leaky(v, x):
    return BETA * v + x


def jelly(**options):
    def spikes_of(x):
        torch, neuron = pytest.importorskip("torch"), jelly_module("neuron")
        kind = neuron.LIFNode if "tau" in options else neuron.IFNode
        return kind(**options, step_mode="m")(torch.from_numpy(x)).detach().numpy()

    return spikes_of


def jelly_module(name):
    return pytest.importorskip(
        f"spikingjelly.activation_based.{name}", reason="needs the extra `bench`"
    )


def snntorch(**options):
    def spikes_of(x):
        library = pytest.importorskip("snntorch", reason="needs the extra `bench`")
        torch = pytest.importorskip("torch")
        cell, membrane, spikes = library.Leaky(**options), None, []
        for current in torch.from_numpy(x):
            s, membrane = cell(current, torch.zeros_like(current) if membrane is None else membrane)
            spikes.append(s.detach().numpy())
        return np.stack(spikes)

    return spikes_of


def norse(reset):
    def spikes_of(x):
        library = pytest.importorskip("norse.torch", reason="needs the extra `bench`")
        torch = pytest.importorskip("torch")
        from norse.torch.functional import reset as resets

        parameters = library.LIFBoxParameters(
            tau_mem_inv=torch.tensor(1 / TAU), reset_method=getattr(resets, reset)
        )
        cell, state, spikes = library.LIFBoxCell(parameters, dt=1.0), None, []
        for current in torch.from_numpy(x):
            s, state = cell(current, state)
            spikes.append(s.detach().numpy())
        return np.stack(spikes)

    return spikes_of


LEAK = 1 - 1 / TAU
# The layer here, the gain of its currents, the formula, the library, the largest current.
NEURONS = {
    "IFNode": ({"tau": 1.0}, 1, formula(np.add, hard), jelly(), 0.9),
    "IFNode soft": (
        {"tau": 1.0, "reset": "soft"}, 1, formula(np.add, soft), jelly(v_reset=None), 0.9,
    ),
    "LIFNode": (
        {"tau": LEAK}, 1, formula(decayed, hard), jelly(tau=TAU, decay_input=False), 0.9,
    ),
    "LIFNode decay_input": (
        {"tau": LEAK}, 1 / TAU, formula(averaged, hard), jelly(tau=TAU), 2.5,
    ),
    "LIFNode soft": (
        {"tau": LEAK, "reset": "soft"}, 1, formula(decayed, soft),
        jelly(tau=TAU, decay_input=False, v_reset=None), 0.9,
    ),
    "Leaky zero": (
        {"tau": BETA}, 1, formula(leaky, hard), snntorch(beta=BETA, reset_mechanism="zero"), 0.9,
    ),
    "Leaky without delay": (
        {"tau": BETA, "reset": "soft"}, 1, formula(leaky, soft),
        snntorch(beta=BETA, reset_delay=False), 0.9,
    ),
    "Leaky beta 1": (
        {"tau": 1.0, "reset": "soft"}, 1, lambda x: delayed(x, 1.0), snntorch(beta=1.0), 0.9,
    ),
    "LIFBoxCell": ({"tau": LEAK}, 1 / TAU, formula(averaged, hard), norse("reset_value"), 2.5),
    "LIFBoxCell soft": (
        {"tau": LEAK, "reset": "soft"}, 1 / TAU, formula(averaged, soft),
        norse("reset_subtract"), 2.5,
    ),
}  # fmt: skip


def ours(options, x):
    return np.asarray(LIFLayer(**options)(x[None]))[0]


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("by", ["formula", "library"])
def test_neurons_fire_the_same_spikes(name, by):
    options, gain, formula, library, top = NEURONS[name]
    x = currents(top)
    theirs = (formula if by == "formula" else library)(x)
    assert 0.1 < theirs.mean() < 0.6
    np.testing.assert_array_equal(ours(options, np.float32(gain) * x), theirs)


@pytest.mark.parametrize("by", ["formula", "library"])
def test_a_subtraction_that_does_not_decay_is_another_neuron(by):
    x = currents()
    run = {"formula": lambda x: delayed(x, BETA), "library": snntorch(beta=BETA)}[by]
    assert (ours({"tau": BETA, "reset": "soft"}, x) != run(x)).mean() > 0.02


# Surrogates.

V = np.linspace(-1.5, 1.5, 61).astype("float32") + np.float32(0.007)
SIG = scipy.special.expit
SURROGATES = {
    "arctan": ({"alpha": 3.0}, lambda v: 1.5 / (1 + (np.pi * 1.5 * v) ** 2)),
    "sigmoid": ({"sharpness": 5.0}, lambda v: 5 * SIG(5 * v) * (1 - SIG(5 * v))),
    "superspike": ({"beta": 25.0}, lambda v: 1 / (1 + 25 * np.abs(v)) ** 2),
    "triangle": ({"gamma": 0.5}, lambda v: np.maximum(0.5 - np.abs(v), 0) / 0.25),
    "rectangular": ({"gamma": 0.5}, lambda v: (np.abs(v) < 0.5) / (2 * 0.5)),
}
COUNTERPARTS = [
    # name here, its parameters, library, name there, its parameters, factor
    ("arctan", {"alpha": 3.0}, "spikingjelly", "ATan", {"alpha": 3.0}, 1),
    ("arctan", {"alpha": 3.0}, "snntorch", "atan", {"alpha": 3.0}, 1),
    ("sigmoid", {"sharpness": 5.0}, "spikingjelly", "Sigmoid", {"alpha": 5.0}, 1),
    ("sigmoid", {"sharpness": 5.0}, "snntorch", "sigmoid", {"slope": 5}, 1),
    ("superspike", {"beta": 25.0}, "snntorch", "fast_sigmoid", {"slope": 25}, 1),
    ("superspike", {"beta": 4.0}, "spikingjelly", "SoftSign", {"alpha": 4.0}, 2),
    ("superspike", {"beta": 1.0}, "spikingjelly", "SuperSpike", {}, 1),
    ("superspike", {"beta": 1.0}, "norse", "super", {"alpha": 100.0}, 1),
    ("triangle", {"gamma": 0.5}, "spikingjelly", "PiecewiseQuadratic", {"alpha": 2.0}, 1),
    ("triangle", {"gamma": 1.0}, "norse", "triangle", {"alpha": 1.0}, 1),
    ("rectangular", {"gamma": 0.25}, "spikingjelly", "Rect", {"alpha": 2.0}, 1),
]


def derivative(name, parameters):
    return np.asarray(surrogates.get(name, **parameters).derivative(keras.ops.array(V)))


@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_is_its_formula(name):
    parameters, formula = SURROGATES[name]
    np.testing.assert_allclose(derivative(name, parameters), formula(V), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name, parameters, library, there, options, factor", COUNTERPARTS)
def test_a_surrogate_is_its_counterpart(name, parameters, library, there, options, factor):
    if library == "spikingjelly":
        function = getattr(jelly_module("surrogate"), there)(**options)
    elif library == "snntorch":
        module = pytest.importorskip("snntorch.surrogate", reason="needs the extra `bench`")
        function = getattr(module, there)(**options)
    else:
        module = pytest.importorskip(
            "norse.torch.functional.threshold", reason="needs the extra `bench`"
        )
        function = lambda v: module.threshold(v, there, **options)  # noqa: E731
    torch = pytest.importorskip("torch")
    v = torch.tensor(V, requires_grad=True)
    (theirs,) = torch.autograd.grad(function(v).sum(), v)
    expected = factor * derivative(name, parameters)
    np.testing.assert_allclose(theirs.numpy(), expected, rtol=2e-5, atol=1e-6)


# The page's network.


def examples(language):
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert found
    return "\n".join(found)


@pytest.fixture(scope="module")
def network():
    namespace = {}
    exec(compile(examples("python"), str(PAGE), "exec"), namespace)
    assert 0.1 < namespace["spikes"].mean() < 0.6
    return namespace


def test_the_pages_network_fires_by_the_formula(network):
    fired = network["currents"]
    run = formula(lambda v, x: v - v / 2 + x, hard)
    for weight in network["weights"]:
        fired = run(fired @ weight.T)
    np.testing.assert_array_equal(network["spikes"], fired)


def test_the_pages_network_fires_spikingjellys_spikes(network):
    jelly_module("neuron")
    exec(compile(examples("py"), str(PAGE), "exec"), network)
    np.testing.assert_array_equal(network["spikes"], network["theirs"])
