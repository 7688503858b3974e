"""Random small networks do, in every form, what a NumPy simulation of them in float64 does."""

import collections
import contextlib
import pathlib
import runpy

import hypothesis
import keras
import numpy as np
import pytest
import scipy.special

from keras_mpdsgr import export, set_regularization

HERE = pathlib.Path(__file__).resolve().parent
drawn = runpy.run_path(str(HERE / "networks.py"))
networks, built, SAMPLES, LABELS = (
    drawn[name] for name in ("networks", "built", "SAMPLES", "LABELS")
)
synaptic_operations = drawn["numpy_form"]["synaptic_operations"]

TOLERANCE = {"atol": 2e-5, "rtol": 2e-5}


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def check_inference(network, model, spiking):
    images, logits = network.images, network.values[-1]
    found = spiking(images)
    for spikes, (_, expected) in zip(
        found if isinstance(found, list) else [found], network.spikes, strict=True
    ):
        np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_allclose(model.predict(images, verbose=0), logits, **TOLERANCE)
    model.compile(loss=cross_entropy(), metrics=["accuracy"])
    loss, accuracy = model.evaluate(images, LABELS, batch_size=3, verbose=0)
    probabilities = scipy.special.softmax(logits, axis=1)[np.arange(SAMPLES), LABELS]
    np.testing.assert_allclose(loss, -np.log(probabilities).mean(), **TOLERANCE)
    assert accuracy == pytest.approx((logits.argmax(axis=1) == LABELS).mean())


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
            operations = synaptic_operations(node, events)
            assert layer.operations == pytest.approx(operations)
    assert next(layers_counted, None) is None
    rates = [spikes.mean() for _, spikes in network.spikes]
    assert list(report.firing_rates.values()) == pytest.approx(rates)


@contextlib.contextmanager
def in_type(floatx):
    def set_type(floatx):
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(floatx)

    before = keras.config.floatx()
    set_type(floatx)
    try:
        yield
    finally:
        set_type(before)


def check_fit(network, tolerance, **mode):
    """One step of gradient descent, so long that the weight of the largest gradient moves by 1."""
    model, _ = built(network)
    step = network.step
    rate = 1.0 / max(np.abs(part).max() for own in step.gradients.values() for part in own)
    if network.eta:
        set_regularization(model, network.eta)
    model.compile(keras.optimizers.SGD(rate), cross_entropy(), **mode)
    shown = model.fit(network.images, LABELS, batch_size=SAMPLES, verbose=0).history
    assert shown["loss"] == pytest.approx([step.loss], rel=tolerance)
    if network.eta:
        assert shown["omega"] == pytest.approx([step.omega], rel=tolerance)
    rates = collections.defaultdict(list)
    for name, spikes in network.spikes_in_training:
        rates[name].append(spikes.mean())
    mean_rate = np.mean([np.mean(of_calls) for of_calls in rates.values()])
    assert shown["firing_rate"] == pytest.approx([mean_rate])
    for name, before in network.weights.items():
        after = [w - rate * g for w, g in zip(before, step.gradients[name], strict=True)]
        after[2:] = step.moving.get(name, after[2:])
        for found, expected in zip(model.get_layer(name).get_weights(), after, strict=True):
            np.testing.assert_allclose(
                found, expected, rtol=tolerance, atol=tolerance, err_msg=name
            )


def check_fits(network):
    with in_type("float64"):
        check_fit(network, 1e-9, run_eagerly=True)
    # tdBN takes a kernel's scale away: its gradient is what is left of a sum that nearly cancels.
    check_fit(network, 1e-3, **network.mode)


def check(network, folder):
    keras.utils.clear_session(free_memory=False)
    model, spiking = built(network)
    check_inference(network, model, spiking)
    check_copies(network, model, folder)
    check_graph(network, model)
    check_stream(network, model)
    check_energy(network, model)
    check_fits(network)


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
