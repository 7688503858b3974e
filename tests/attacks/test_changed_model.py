"""Compiled functions of a model hold for that model alone: whatever is changed is noticed."""

import gc
import random
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, TDBatchNormalization, analysis, attacks, layers, surrogates
from keras_mpdsgr.attacks import compiled
from keras_mpdsgr.attacks.compiled import CompiledFunctions
from keras_mpdsgr.attacks.snapshot import Snapshot

RANDOM = np.random.default_rng(5)
X = RANDOM.uniform(0.05, 0.95, size=(6, 8)).astype("float32")
Y = np.arange(6) % 3
FGSM = attacks.FGSM(eps=0.05, jit="off")


def network(*middle, encoder=(), readout=None):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            *(encoder or [layers.DirectEncoder(3)]),
            layers.FoldTime(keras.layers.Dense(6, name="hidden")),
            *middle,
            LIFLayer(tau=0.9, surrogate="arctan", gamma=1.0, name="lif"),
            layers.FoldTime(keras.layers.Dense(3, name="output"), name="head"),
            readout or layers.TemporalMean(name="readout"),
        ]
    )
    return model


def fresh_copy(model):
    copy = keras.models.clone_model(model)
    for theirs, ours in zip(copy.weights, model.weights, strict=True):
        theirs.assign(ours)
    return copy


def seen(model):
    """What attacks and evaluations see of a model: its logits, and a step along the gradient."""
    target = attacks.Target(model, jit="off")
    with target.seeded(0, 0):
        logits = target.predict(X)
    return logits, FGSM(model, X, Y)


def traces(model):
    return sum(
        step.experimental_get_tracing_count() for step in CompiledFunctions.of(model).values()
    )


def wrapped(kind):
    return lambda: kind(keras.layers.Activation("relu", name="inner"), name="it")


def gate():
    return layers.StochasticGate(seed=1, name="it")


# Of each layer of ours: how a model with it is made, and each of its arguments with another value.
# None stands for no difference in what is seen: it matters in training alone.
LAYERS = {
    LIFLayer: (
        lambda: network(LIFLayer(tau=0.9, surrogate="arctan", gamma=1.0, name="it")),
        {
            "tau": 0.2,
            "v_threshold": 0.3,
            "reset": "soft",
            "surrogate": surrogates.get("triangle", gamma=0.05),
            "detach_reset": True,
            "eta": 0.5,
            "omega_form": "analytic",
            "half_width": 0.2,
            "track_omega": True,
            "constant_input": True,
            "membrane_regularizer": layers.ThresholdMargin(0.5, 1.0),
        },
    ),
    TDBatchNormalization: (
        lambda: network(TDBatchNormalization(name="it")),
        {"alpha": 0.5, "v_threshold": 2.0, "momentum": 0.5, "epsilon": 0.5},
    ),
    layers.DirectEncoder: (
        lambda: network(encoder=[layers.DirectEncoder(3, name="it")]),
        {"timesteps": 5},
    ),
    layers.PoissonEncoder: (
        lambda: network(encoder=[layers.PoissonEncoder(3, seed=1, name="it")]),
        {"timesteps": 5, "seed": 2},
    ),
    layers.SmoothingEncoder: (
        lambda: network(encoder=[layers.SmoothingEncoder(3, seed=1, name="it")]),
        {"timesteps": 5, "std": 1.0, "seed": 2},
    ),
    layers.FrequencyEncoder: (
        lambda: network(
            encoder=[
                keras.layers.Reshape((2, 4, 1)),
                layers.FrequencyEncoder(3, name="it"),
                layers.FoldTime(keras.layers.Flatten()),
            ]
        ),
        {"timesteps": 5, "half_widths": [1, 1, 2]},
    ),
    layers.FoldTime: (
        lambda: network(wrapped(layers.FoldTime)()),
        {"layer": "tanh"},
    ),
    layers.Recompute: (
        lambda: network(wrapped(layers.Recompute)()),
        {"layer": "tanh"},
    ),
    layers.StochasticGate: (
        lambda: network(gate()),
        {"minimum": 0.5, "temperature": 2.0, "prior": 0.1, "reduction": "sum", "seed": 2},
    ),
    layers.FiringRatePenalty: (
        lambda: network(layers.FiringRatePenalty(0.1, name="it")),
        {"weight": 1.0},
    ),
    layers.TemporalMean: (
        lambda: network(readout=layers.TemporalMean(name="it")),
        {"axis": 2},
    ),
}
# Where the same images must come out otherwise; the rest matters in training alone, or by chance.
VISIBLE = {
    (LIFLayer, "tau"),
    (LIFLayer, "v_threshold"),
    (LIFLayer, "surrogate"),
    (TDBatchNormalization, "alpha"),
    (TDBatchNormalization, "v_threshold"),
    (TDBatchNormalization, "epsilon"),
    (layers.SmoothingEncoder, "std"),
    (layers.FrequencyEncoder, "half_widths"),
    (layers.FoldTime, "layer"),
    (layers.TemporalMean, "axis"),
}
CASES = [(kind, name) for kind, (_, settings) in LAYERS.items() for name in settings]


@pytest.mark.parametrize("kind, name", CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_setting_of_a_layer_that_is_changed_holds_from_the_next_use_on(kind, name):
    make, settings = LAYERS[kind]
    model = make()
    before = seen(model)
    layer = model.get_layer("it")
    if name == "layer":  # which Keras keeps as it was built
        layer.layer.activation = keras.activations.get(settings[name])
    else:
        setattr(layer, name, settings[name])
    changed, expected = seen(model), seen(fresh_copy(model))
    for found, right in zip(changed, expected, strict=True):
        np.testing.assert_array_equal(found, right)
    if (kind, name) in VISIBLE:
        assert any(not np.array_equal(x, y) for x, y in zip(before, changed, strict=True))


def test_every_argument_of_every_layer_of_ours_is_in_the_table():
    built_in = {"learn_tau", "learn_gamma", "stateful"}  # weights and variables are made by them
    for name in layers.__all__:
        kind = getattr(layers, name)
        if not issubclass(kind, keras.layers.Layer):
            continue
        arguments = set(kind.__init__.__code__.co_varnames[: kind.__init__.__code__.co_argcount])
        arguments -= {"self", "gamma", *built_in}
        if arguments:
            assert set(LAYERS[kind][1]) == arguments, name


def new_head(model):
    model.pop()
    model.pop()
    model.add(layers.FoldTime(keras.layers.Dense(3)))
    model.add(layers.TemporalMean())


def lora(model):
    hidden = model.layers[1].layer
    hidden.enable_lora(2)
    hidden.lora_kernel_b.assign(tf.ones_like(hidden.lora_kernel_b))


def by_another_policy(model):
    model.get_layer("head").layer.dtype_policy = "mixed_float16"


CHANGES = {
    "new head": new_head,
    "lora": lora,
    "quantized": lambda model: model.get_layer("head").layer.quantize("int8"),
    "activation": lambda model: setattr(model.layers[1].layer, "activation", keras.ops.tanh),
    "gamma": lambda model: setattr(
        model.get_layer("lif"),
        "surrogate",
        model.get_layer("lif").surrogate.with_numbers({"gamma": 0.05}),
    ),
    "dtype": by_another_policy,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_model_that_is_rebuilt_or_adapted_is_another(name):
    model = network()
    seen(model)
    CHANGES[name](model)
    uncompiled, (logits, _) = model(X, training=False), seen(model)
    np.testing.assert_allclose(logits, uncompiled, atol=1e-5)
    known = CompiledFunctions.of(model)
    images = seen(model)
    known.clear()
    for found, right in zip(images, seen(model), strict=True):
        np.testing.assert_array_equal(found, right)
    if name != "gamma":  # of the gradient alone
        assert not np.array_equal(network()(X, training=False), logits)


class Settings:
    """What a layer may keep its numbers in."""

    __slots__ = ("factor",)

    def __init__(self):
        self.factor = 1.0


class Scale(keras.layers.Layer):
    """A layer of a user's: numbers in every place that comes to mind; counts its traces."""

    offset = 0.0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        numbers = {"factor": 1.0}
        self.plain, self.array, self._hidden = 1.0, np.ones(6, "float32"), [1.0, {"a": 1.0}]
        self.settings, self.numbers = Settings(), numbers
        self.function = lambda x: x * numbers["factor"]
        self.count, self.calls = 0, {True: 0, False: 0}

    def call(self, inputs, training=None):
        self.count += 1
        self.calls[bool(training)] += 1
        factor = self.plain * self._hidden[0] * self._hidden[1]["a"] * self.settings.factor
        return self.function(inputs * factor * self.array) + self.offset


def in_a_closure(layer):
    layer.function.__closure__[0].cell_contents["factor"] = 3.0


EDITS = {
    "attribute": lambda layer: setattr(layer, "plain", 3.0),
    "element of a list": lambda layer: layer._hidden.__setitem__(0, 3.0),
    "nested value": lambda layer: layer._hidden[1].__setitem__("a", 3.0),
    "array in place": lambda layer: layer.array.__setitem__(2, 3.0),
    "slot of an object": lambda layer: setattr(layer.settings, "factor", 3.0),
    "closure": in_a_closure,
}


@pytest.mark.parametrize("name", EDITS)
def test_a_change_anywhere_in_a_users_layer_is_noticed(name):
    model = network(Scale(name="it"))
    before = seen(model)[0]
    EDITS[name](model.get_layer("it"))
    logits = seen(model)[0]
    np.testing.assert_allclose(logits, model(X, training=False), atol=1e-6)
    assert not np.array_equal(logits, before)


def test_a_change_of_a_users_class_is_noticed(monkeypatch):
    model = network(Scale(name="it"))
    before = seen(model)[0]
    monkeypatch.setattr(Scale, "offset", 5.0)
    logits = seen(model)[0]
    np.testing.assert_allclose(logits, model(X, training=False), atol=1e-6)
    assert not np.array_equal(logits, before)


def test_a_second_use_of_an_unchanged_network_traces_nothing_even_after_training():
    model = network(Scale(name="it"))
    first = seen(model)
    known = traces(model), model.get_layer("it").calls[False]
    seen(model)
    assert (traces(model), model.get_layer("it").calls[False]) == known
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, validation_data=(X, Y), epochs=2, verbose=0)
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    model.layers[1].layer.kernel.assign_add(tf.ones((8, 6)))
    after = model.get_layer("it").calls[False]
    trained = seen(model)
    assert (traces(model), model.get_layer("it").calls[False]) == (known[0], after)
    assert not np.array_equal(first[0], trained[0])
    np.testing.assert_allclose(trained[0], model(X, training=False), atol=1e-5)


class Attacking(keras.callbacks.Callback):
    """Looks at the model after each epoch; counts the traces so far."""

    def __init__(self):
        super().__init__()
        self.traces = []

    def on_epoch_end(self, epoch, logs=None):
        seen(self.model)
        self.traces.append(traces(self.model))


def test_an_attack_after_each_epoch_of_a_training_is_traced_in_the_first_alone():
    model, attacking = network(TDBatchNormalization()), Attacking()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, validation_data=(X, Y), epochs=4, verbose=0, callbacks=[attacking])
    assert attacking.traces == [2] * 4


def test_functions_of_a_changed_model_are_freed():
    model = network()
    seen(model)
    old = [weakref.ref(step) for step in CompiledFunctions.of(model).values()]
    model.get_layer("lif").v_threshold = 2.0
    seen(model)
    gc.collect()
    assert len(old) == 2 and [step() for step in old] == [None] * 2


def test_a_model_is_freed_with_its_functions():
    model = network()
    seen(model)
    held = weakref.ref(model)
    del model
    gc.collect()
    assert held() is None


def test_a_probe_of_potentials_notices_a_change_too():
    model = network()
    probe = analysis.PotentialProbe(model, X, Y)
    probe.layers(), probe.input_gradient_norm()
    model.get_layer("lif").v_threshold = 0.3
    model.get_layer("lif").surrogate = surrogates.get("triangle", gamma=2.0)
    other = analysis.PotentialProbe(model, X, Y)
    assert probe.layers()[0].firing_rate == pytest.approx(other.layers()[0].firing_rate)
    assert probe.layers()[0].omega == pytest.approx(other.layers()[0].omega)
    assert probe.input_gradient_norm() == pytest.approx(other.input_gradient_norm())


def test_a_snapshot_draws_no_random_number():
    keras.utils.set_random_seed(1)
    expected = random.random()
    keras.utils.set_random_seed(1)
    Snapshot(keras.Sequential([keras.Input((1,)), keras.layers.ReLU()]))
    assert random.random() == expected


def sure_of_some():
    """Two classes by the sum of the pixels, and images of which the first half is easily broken."""
    image = keras.Input((6,))
    total = keras.layers.Rescaling(1.0, name="scaled")(image)
    logits = keras.layers.Dense(2, kernel_initializer=keras.initializers.Zeros())
    model = keras.Model(image, logits(total))
    logits.set_weights([np.float32([[1, -1]] * 6), np.float32([-3, 3])])
    return model, np.repeat(np.float32([0.505, 0.8]), 4)[:, None] * np.ones(6, np.float32)


def test_a_run_looks_at_its_model_once_and_again_after_each_turn_of_the_caller(monkeypatch):
    looks = []

    class Counted(Snapshot):
        def __init__(self, model):
            looks.append(model)
            super().__init__(model)

    monkeypatch.setattr(compiled, "Snapshot", Counted)
    model, x = sure_of_some()
    y = np.zeros(8, int)

    def looked(attack):
        attack(model, x, y)
        before = len(looks)
        attack(model, x, y)
        return len(looks) - before

    last, wagner = attacks.PGD(eps=0.01, steps=3), attacks.CarliniWagnerL2(steps=3)
    assert looked(last) == looked(last.replace(steps=30)) == 1
    assert looked(wagner) == looked(wagner.replace(steps=30))
    # The first half leaves early; what its receiver changes holds for the second half.
    first = attacks.BIM(eps=0.01, steps=30, step_size=0.002, keep="first")
    run = first.chunks(first.target(model), x, y)
    rows, _ = next(run)
    assert rows.tolist() == [0, 1, 2, 3]
    model.get_layer("scaled").offset = -0.31
    (rows, found), *_ = run
    assert rows.tolist() == [4, 5, 6, 7]
    assert (np.argmax(model(found), axis=-1) == 1).all()
