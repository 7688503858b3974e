"""Whatever is passed wrongly is refused in one line: the argument, what is allowed, what came."""

import dataclasses
import importlib
import inspect
import pathlib
import pkgutil
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from absl import flags

import keras_mpdsgr
from keras_mpdsgr import (
    LIFLayer,
    TDBatchNormalization,
    analysis,
    attacks,
    data,
    defenses,
    dynamics,
    evaluation,
    experiments,
    export,
    fitting,
    gradient_mode,
    layers,
    models,
    overlap,
    set_regularization,
    surrogates,
    tuning,
)
from keras_mpdsgr.attacks.compiled import jit_compile
from keras_mpdsgr.experiments import theory_report
from trainers import program
from trainers.reproduction import command
from trainers.tuning import search
from trainers.tuning.config import SearchConfig

NAN, INF = float("nan"), float("inf")
POSITIVE = (0, -1, NAN, INF, -INF, "1", True, [1.0], None)
NON_NEGATIVE = (-1, NAN, INF, "1", True, [1.0], None)
# A list of numbers is an array to the formulas of `overlap`.
NOT_POSITIVE = (*(value for value in POSITIVE if value != [1.0]), [-1.0], ["1"])
SHARE = (-0.1, 1.1, NAN, INF, "1", True, None)
COUNT = (0, -1, 1.5, 2.0, NAN, "3", True, None, [3])
WHOLE = (-1, 1.5, NAN, "3", True, None)
RADIUS = (-0.1, 1.1, NAN, INF, "8/255", True, None)
LENGTH = (-0.1, NAN, INF, "0.5", True)
FLAG = (1, "yes", None)
CHOICE = ("no such", 3, ["a"], {"a": 1})
MODEL = ("vgg11", None, 3)
ATTACK = ("fgsm", None, 3)
OPTIONAL = None  # taken out of a tuple of bad values where None means "the default"


def optional(values):
    return tuple(value for value in values if value is not OPTIONAL)


SAVED = pathlib.Path(__file__).parents[1] / "saved_models/digits/model.keras"
NETWORK = {"input_shape": (8, 8, 1), "num_classes": 10, "timesteps": 2, "width": 0.02}
X = np.full((4, 8, 8, 1), 0.5, "float32")
Y = np.zeros(4, int)
SURROGATE_PARAMETERS = [
    (name, parameter)
    for name in surrogates.names()
    for parameter in ("gamma", "half_width", *surrogates.get(name).parameters)
]
ENCODERS = (layers.DirectEncoder, layers.PoissonEncoder, layers.SmoothingEncoder)
NEEDS = {
    attacks.Ensemble: {"members": [attacks.FGSM()]},
    attacks.MultiTargeted: {"attack": attacks.PGD(targeted=True)},
}
SHAPES = ((8, 8), (8, 8, -1), (8, 8, 0), (8, 8.0, 1), (4, 8, 1), "888", None, 8)
HALF_WIDTHS = ((1,), (1, 0), (1, 1.5), 3, "ab")

# What is made, with which good arguments, and the bad values of each other one.
CONSTRUCTORS = [
    (LIFLayer, {}, {
        "tau": SHARE, "v_threshold": POSITIVE, "reset": CHOICE, "surrogate": CHOICE,
        "gamma": optional(POSITIVE), "detach_reset": FLAG, "eta": NON_NEGATIVE,
        "omega_form": CHOICE, "half_width": optional(POSITIVE), "track_omega": FLAG,
        "stateful": FLAG, "constant_input": FLAG, "learn_tau": CHOICE, "learn_gamma": FLAG,
        "membrane_regularizer": ("margin", 3, len),
    }),
    (TDBatchNormalization, {}, {
        "alpha": POSITIVE, "v_threshold": POSITIVE, "momentum": SHARE, "epsilon": POSITIVE,
    }),
    (layers.FoldTime, {}, {"layer": ("Dense", None, keras.layers.Dense)}),
    (layers.Recompute, {}, {"layer": ("Dense", None, keras.layers.Dense)}),
    (layers.TemporalMean, {}, {"axis": (1.5, "1", True, None)}),
    *((encoder, {}, {"timesteps": COUNT}) for encoder in (*ENCODERS, layers.FrequencyEncoder)),
    (layers.PoissonEncoder, {"timesteps": 2}, {"seed": optional(WHOLE)}),
    (layers.SmoothingEncoder, {"timesteps": 2}, {"std": NON_NEGATIVE, "seed": optional(WHOLE)}),
    (layers.FrequencyEncoder, {"timesteps": 2}, {"half_widths": HALF_WIDTHS}),
    (layers.StochasticGate, {}, {
        "minimum": (0, *SHARE), "temperature": POSITIVE, "prior": NON_NEGATIVE,
        "reduction": CHOICE, "seed": optional(WHOLE),
    }),
    (layers.FiringRatePenalty, {}, {"weight": NON_NEGATIVE}),
    (layers.ThresholdMargin, {"margin": 1.0, "weight": 1.0}, {
        "margin": POSITIVE, "weight": NON_NEGATIVE,
    }),
    (surrogates.get, {}, {"identifier": CHOICE}),
    *(
        (surrogates.get, {"identifier": name}, {parameter: optional(POSITIVE)})
        for name, parameter in SURROGATE_PARAMETERS
    ),
    (surrogates.register("triangle"), {}, {"cls": (LIFLayer,)}),
    (overlap.overlap, {"mean": 0.0, "std": 1.0, "gamma": 1.0}, {
        "mean": (NAN, INF, "0", None, True, [NAN], np.array(["a"])), "std": NON_NEGATIVE[:-2],
        "gamma": NOT_POSITIVE,
    }),
    (overlap.overlap_gradients, {"mean": 0.0, "std": 1.0, "gamma": 1.0}, {
        "mean": (NAN, "0", None), "std": (-1.0, NAN, "1"), "gamma": NOT_POSITIVE,
    }),
    (overlap.scale_free_overlap, {"mean": 0.0, "std": 1.0, "kappa": 1.0}, {
        "mean": (NAN, "0", None), "std": (-1.0, NAN, "1"), "kappa": NOT_POSITIVE,
    }),
    (overlap.membrane_moments, {"beta": 0.0, "scale": 1.0, "tau": 0.5, "timesteps": 2}, {
        "beta": (NAN, "0", None, np.zeros((2, 2))), "scale": (INF, "1", None), "tau": SHARE,
        "timesteps": COUNT, "reset": ("no such", 3), "v_threshold": NOT_POSITIVE,
        "constant_input": FLAG,
    }),
    (dynamics.get_mode, {}, {"mode": CHOICE}),
    (models.get, {}, {"name": (*CHOICE, None)}),
    (models.load, {}, {"path": (3, None, ["a"])}),
    (models.load, {"path": SAVED}, {"dtype": (*CHOICE, "int8", "half")}),
    (models.vgg11, NETWORK, {
        "input_shape": SHAPES, "num_classes": COUNT, "timesteps": COUNT, "width": POSITIVE,
        "coding": CHOICE, "surrogate": CHOICE, "gamma": optional(POSITIVE), "tau": SHARE,
        "eta": NON_NEGATIVE, "mean": ((0.5, 0.5), ("a",), (NAN,), 0.5), "std": ((0.0,), (-1,), 1),
        "coding_options": ("abc", 3, {"no_such": 1}, {"timesteps": 3}),
        "before_neurons": (3, "layer"), "after_neurons": (3, lambda name: None),
        "v_threshold": POSITIVE, "reset": CHOICE, "learn_tau": CHOICE,
    }),
    (models.vgg16, NETWORK, {"input_shape": SHAPES, "width": POSITIVE, "coding": CHOICE}),
    (models.wrn16, NETWORK, {
        "input_shape": SHAPES, "width": POSITIVE, "coding": CHOICE, "branch_weights": FLAG,
    }),
    (attacks.get, {}, {"attacks": (*CHOICE, None)}),
    *(
        (kind, {}, {
            "eps": RADIUS, "gradient": CHOICE, "surrogate": CHOICE, "eot": COUNT, "jit": CHOICE,
        })
        for kind in (attacks.FGSM, attacks.PGD, attacks.BIM, attacks.APGD, attacks.Square,
                     attacks.RandomSigns, attacks.SAPGD)
    ),
    *(
        (kind, {}, {
            "steps": COUNT, "step_size": RADIUS, "keep": CHOICE, "norm": CHOICE, "loss": CHOICE,
            "restarts": COUNT, "targeted": FLAG,
        })
        for kind in (attacks.PGD, attacks.BIM)
    ),
    (attacks.APGD, {}, {
        "steps": COUNT, "norm": CHOICE, "loss": CHOICE, "restarts": COUNT,
        "keep": ("last", *CHOICE),
    }),
    (attacks.SAPGD, {}, {
        "steps": COUNT, "loss": CHOICE, "restarts": COUNT, "targeted": FLAG,
        "keep": ("last", *CHOICE),
    }),
    (attacks.HART, {}, {
        "eps": RADIUS, "steps": COUNT, "step_size": RADIUS, "keep": CHOICE, "eot": COUNT,
        "gammas": ((), 3, "a", (0.0,), (1.0, NAN), ("1",)), "gradient": ("bptt",),
        "surrogate": ("triangle",),
    }),
    (attacks.FAB, {}, {"eps": RADIUS, "steps": COUNT, "targets": COUNT, "restarts": COUNT}),
    (attacks.PGD, {"norm": "l2"}, {"eps": LENGTH, "step_size": LENGTH}),
    (attacks.CarliniWagnerL2, {}, {
        "eps": LENGTH, "steps": COUNT, "learning_rate": POSITIVE, "constant": POSITIVE,
        "confidence": NON_NEGATIVE, "binary_search_steps": COUNT, "targeted": FLAG,
        "gradient": CHOICE, "eot": COUNT, "jit": CHOICE,
    }),
    (attacks.Square, {}, {"steps": COUNT, "initial_share": (0, *SHARE), "rescale_schedule": FLAG}),
    (attacks.RandomSigns, {}, {"steps": COUNT}),
    (attacks.GaussianNoise, {}, {"std": RADIUS, "eot": COUNT}),
    (attacks.UniformNoise, {}, {"bound": RADIUS, "jit": CHOICE}),
    (attacks.Ensemble, {}, {"members": ([], *ATTACK, ["fgsm"])}),
    (attacks.MultiTargeted, {}, {"attack": (*ATTACK, attacks.PGD())}),
    (attacks.MultiTargeted, NEEDS[attacks.MultiTargeted], {"targets": COUNT}),
    (attacks.Transfer, {"attack": attacks.FGSM()}, {"substitute": MODEL}),
    (jit_compile, {}, {"jit": CHOICE}),
    (defenses.get, {}, {"defense": (*CHOICE, None)}),
    (defenses.MPDSGR, {}, {
        "eta": NON_NEGATIVE, "omega_form": CHOICE, "half_width": optional(POSITIVE),
    }),
    (defenses.FiringRate, {}, {"weight": NON_NEGATIVE}),
    (defenses.ThresholdGuarding, {}, {
        "weight": NON_NEGATIVE, "delta": POSITIVE, "noise": SHARE,
        "initial": (1, *NON_NEGATIVE),
    }),
    (defenses.CosineRise, {"steps": 2}, {"steps": WHOLE, "share": SHARE}),
    (defenses.Combined, {}, {"defenses": ([], None, ["sr"], "sr,reg")}),
    (defenses.SparseGradient, {}, {"weight": NON_NEGATIVE, "h": POSITIVE}),
    (defenses.WeightRegularization, {}, {"beta": POSITIVE, "seed": WHOLE}),
    (defenses.StochasticGating, {}, {
        "minimum": (0, *SHARE), "temperature": POSITIVE, "prior": NON_NEGATIVE,
        "reduction": CHOICE, "learning_share": SHARE, "seed": optional(WHOLE),
    }),
    (defenses.DLIF, {}, {
        "tau": SHARE, "kappa": SHARE, "alpha": NON_NEGATIVE, "noise": NON_NEGATIVE,
        "detach_clean": FLAG, "seed": optional(WHOLE), "norm": CHOICE,
    }),
    (defenses.AdversarialTraining, {}, {
        "eps": RADIUS, "steps": optional(COUNT), "step_size": optional(RADIUS), "loss": CHOICE,
        "beta": NON_NEGATIVE, "random_start": FLAG, "seed": optional(WHOLE), "method": CHOICE,
        "gradient": CHOICE, "warmup_steps": WHOLE,
    }),
    (defenses.AdversarialTraining, {"method": "n_fgsm"}, {"steps": (2,), "random_start": (False,)}),
    (defenses.AdversarialWeightPerturbation, {}, {
        "gamma": NON_NEGATIVE, "objective": ("sr", 3, defenses.AdversarialTraining()),
    }),
    (defenses.WeightAverage, {}, {"decay": (*SHARE, 0, 1)}),
    (fitting.SmoothedCrossEntropy, {}, {"smoothing": SHARE}),
    (fitting.Cyclic, {"peak": 0.1, "steps": 9}, {"peak": POSITIVE, "steps": COUNT}),
    (fitting.learning_rate, {"peak": 0.1, "steps": 9}, {
        "peak": POSITIVE, "steps": COUNT, "schedule": CHOICE, "warmup_steps": (*WHOLE, 10),
    }),
    (defenses.AdversarialTraining, {"loss": "trades"}, {"random_start": (False,)}),
    (defenses.EtaWarmup, {}, {"steps": WHOLE}),
    (defenses.FreezeGates, {}, {"step": WHOLE}),
    (defenses.DefendedModel, {}, {"model": MODEL}),
    (defenses.weight_decay, {"amount": 0.1}, {"model": MODEL}),
    (set_regularization, {"eta": 0.1}, {"model": MODEL}),
    (evaluation.suite, {"eps": 0.1}, {
        "name": (*CHOICE[:2], [], {}, None, ["fgsm", "fgsm"], {"a": "fgsm"}, [3]),
    }),
    (evaluation.suite, {"name": "paper", "eps": 0.1}, {
        "eps": RADIUS, "eps_l2": LENGTH, "jit": CHOICE, "eot": COUNT,
    }),
    (evaluation.wilson, {"count": 3, "total": 9}, {
        "count": (-1, 10, 1.5, "3", None, True), "total": (0, -1, 1.5, "9", None),
        "confidence": (0, 1, 1.5, NAN, "0.9", None),
    }),
    (evaluation.mcnemar, {"first": [True, False], "second": [True, True]}, {
        "first": ([True], [], ["a", "b"], [0.5, 0.5], [[True, False]], None), "second": (True, [2]),
    }),
    (evaluation.paired_difference, {"first": [True, False], "second": [True, True]}, {
        "first": ([True], [], ["a", "b"], [0.5, 0.5], [[True, False]], None), "second": (True, [2]),
        "confidence": (0, 1, 1.5, NAN, "0.9", None),
    }),
    (data.load, {}, {"name": (*CHOICE, None)}),
    (data.register, {}, {"name": (3, None, "", "a b", "../a", ["a"])}),
    (data.load, {"name": "cifar10"}, {"data_dir": (3, ["a"])}),
    (data.load, {"name": "digits"}, {"image_size": (16,)}),
    (data.load, {"name": "folder", "data_dir": "."}, {
        "image_size": (0, -1, "32", 1.5, (8,), (8, 8, 8), (8, 0)),
    }),
    (data.load, {"name": "digits"}, {
        "limit_train": (0, -1, 1.5, "10", True, 10**6), "limit_test": (0, 361, "1", NAN),
    }),
    (data.to_pixels, {}, {"x": (X, "a", None, [1, 2])}),
    (models.available, {}, {"folder": ("no_such_folder", 3)}),
    (data.image_paths, {}, {"paths": (3, None, [], [3])}),
    (data.read_images, {"paths": SAVED, "input_shape": (8, 8, 1)}, {
        "paths": (3, None, [], [3]),
        "input_shape": ((8, 8), (8, 8, 2), (0, 8, 1), (8.0, 8, 1), (None, 8, 1), 8, None, "881"),
    }),
    (experiments.predict, {"model": SAVED, "paths": SAVED}, {
        "model": (3, None), "paths": (3, None, []), "top": COUNT, "attack": optional(CHOICE),
        "seed": WHOLE, "output": (3, ["a"]),
    }),
    (experiments.predict, {"model": SAVED, "paths": SAVED, "attack": "fgsm"}, {"eps": RADIUS}),
    (data.steps_per_epoch, {"n": 10, "batch_size": 2}, {
        "n": COUNT, "batch_size": (*COUNT, 11),
    }),
]  # fmt: skip

IMAGES = np.zeros((10, 8, 8, 1), "uint8")
BATCHES = {"x": IMAGES, "y": np.zeros(10, int), "batch_size": 2}
CONSTRUCTORS += [
    (data.training_batches, {**BATCHES, "seed": 0, "total_steps": 3}, {
        "x": (X, IMAGES[0], "a", None, IMAGES[:0]),
        "y": (np.zeros(9, int), np.zeros(10), "a", None, np.zeros((10, 1), int)),
        "batch_size": (*COUNT, 11), "seed": (1.5, "0", None, True, 2**63),
        "start_step": (-1, 4, 1.5, "0", None), "total_steps": (-1, 1.5, "3", None),
        "augment": FLAG, "flip": FLAG, "padding": (-1, 1.5, "1", True),
    }),
    (data.hold_out, {"images": data.load("digits", limit_train=20), "count": 5, "seed": 0}, {
        "count": (*COUNT, 20), "seed": WHOLE, "images": (None, "digits", 3),
    }),
    (experiments.recipe, {"name": "paper"}, {"name": CHOICE}),
    (data.evaluation_batches, BATCHES, {
        "x": (X, None), "y": (np.zeros(9, int), np.zeros(10)), "batch_size": COUNT,
    }),
]  # fmt: skip

# Arguments that a function calls by another name in its message.
SAID = {
    (surrogates.get, "identifier"): "surrogate",
    (dynamics.get_mode, "mode"): "gradient",
    (experiments.recipe, "name"): "recipe",
    (models.get, "name"): "model",
    (experiments.predict, "model"): "path",
    (evaluation.suite, "name"): "attacks",
    (attacks.get, "attacks"): "attacks",
}
POSITIONAL = {(attacks.get, "attacks"), (defenses.get, "defense")}


def cases():
    for function, good, by_argument in CONSTRUCTORS:
        for argument, values in by_argument.items():
            if argument == "cls":
                continue
            yield pytest.param(
                function, good, argument, values, id=f"{function.__qualname__}-{argument}"
            )


def refusal(call, *arguments, **named):
    """The one line that a call is refused with."""
    with pytest.raises(ValueError) as caught:
        call(*arguments, **named)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600
    return line


def shown(value):
    """Whether a message may leave a value's digits out: arrays are told by shape and dtype."""
    if isinstance(value, np.ndarray | dict) or callable(value):
        return ""
    return repr(value) if not isinstance(value, attacks.Attack) else type(value).__name__


@pytest.mark.parametrize("function, good, argument, values", list(cases()))
def test_a_bad_argument_is_refused_in_one_line_that_names_it(function, good, argument, values):
    said = SAID.get((function, argument), argument)
    for value in values:
        named = {**good, argument: value}
        positional = [named.pop(argument)] if (function, argument) in POSITIONAL else []
        line = refusal(function, *positional, **named)
        assert f"`{said}`" in line, line
        received = line.partition("Received: ")[2]
        assert received, line
        if said not in ("x", "y", "first", "second", "mean", "std") and shown(value) != "[]":
            inner = value[-1] if isinstance(value, tuple | list) and value else value
            found = any(text in received for text in (shown(value), shown(inner), str(inner)))
            assert found, (value, line)


@pytest.mark.parametrize("name", attacks.names())
def test_an_attack_by_name_refuses_what_it_does_not_take(name):
    assert "Received: no_such" in refusal(attacks.get, name, no_such=1)


@pytest.mark.parametrize("name", defenses.names())
def test_a_defense_by_name_refuses_what_it_does_not_take(name):
    assert "Received: no_such" in refusal(defenses.get, name, no_such=1)


def test_surrogates_refuse_what_they_do_not_take():
    assert "Received: beta=1" in refusal(surrogates.get, "triangle", beta=1)
    line = refusal(surrogates.register("triangle"), type("Other", (surrogates.Surrogate,), {}))
    assert "`name`" in line and "triangle" in line


def test_a_mode_takes_no_surrogate_beside_an_object():
    mode = dynamics.get_mode("bptt")
    assert "`surrogate`" in refusal(dynamics.get_mode, mode, surrogate="triangle")
    with pytest.raises(ValueError, match="`gradient`.*Received: 'no such'"):
        with gradient_mode("no such"):
            pass


ON_SEQUENCES = (
    LIFLayer,
    layers.TemporalGain,
    layers.StochasticGate,
    lambda: layers.FiringRatePenalty(0.1),
    lambda: layers.FoldTime(keras.layers.Flatten()),
)


@pytest.mark.parametrize("make", ON_SEQUENCES)
@pytest.mark.parametrize("shape", [(4, 2), (None, None, 3), (4,)])
def test_a_layer_of_sequences_refuses_what_is_none(make, shape):
    layer = make()
    line = refusal(layer.build, shape)
    assert type(layer).__name__ in line
    assert f"Received: input_shape={shape}" in line


@pytest.mark.parametrize(
    "layer, shape",
    [
        (TDBatchNormalization(), (2, 4, None)),
        (layers.FrequencyEncoder(2), (2, 8, 8)),
        (layers.FrequencyEncoder(2), (2, None, 8, 1)),
        (layers.StochasticGate(), (2, 4, None)),
        (layers.TemporalMean(axis=3), (2, 4)),
        (layers.WeightedSum(), [(2, 4)]),
        (layers.WeightedSum(), [(2, 4), (2, 5)]),
        (layers.WeightedSum(), (2, 4)),
        (LIFLayer(stateful=True), (None, 4, 2)),
    ],
)
def test_a_layer_refuses_an_input_of_another_shape(layer, shape):
    assert f"input_shape={shape}" in refusal(layer.build, shape)


def test_neurons_refuse_currents_that_are_not_floating_point():
    assert "Received: dtype=int32" in refusal(LIFLayer().call, keras.ops.ones((1, 2, 3), "int32"))


@pytest.fixture(scope="module")
def model():
    return models.vgg11(**NETWORK)


def other_images():
    wrong = X.copy()
    wrong[0, 0, 0, 0] = NAN
    yield from (wrong, X * 3, X - 1, X.astype("uint8"), X[:0], X[0, 0, 0], None, "abc")
    yield from ([[0.5], [0.5, 0.5]], np.full((4, 8, 8, 1), INF, "float32"))


def other_labels():
    yield from (Y[:3], Y.astype(float), Y - 1, Y[:, None], None, "abcd", Y + 10, Y.astype(bool))


TAKERS = {
    "attack": lambda model, x, y, **options: attacks.FGSM()(model, x, y, **options),
    "evaluate": evaluation.evaluate,
    "sweep": lambda model, x, y, **o: evaluation.sweep(model, x, y, "eps", [0.1], "fgsm", **o),
    "probe": analysis.PotentialProbe,
    "obfuscation": evaluation.Obfuscation,
}


@pytest.mark.parametrize("taker", TAKERS)
def test_images_that_are_none_are_refused(taker, model):
    for x in other_images():
        line = refusal(TAKERS[taker], model, x, Y)
        assert "`x`" in line
        assert "Received" in line
    assert "(8, 8, 1). Received" in refusal(TAKERS[taker], model, X[:, :4], Y)


@pytest.mark.parametrize("taker", TAKERS)
def test_labels_that_are_none_are_refused(taker, model):
    for y in other_labels():
        line = refusal(TAKERS[taker], model, X, y)
        assert "`y`" in line
        assert "Received" in line


@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_no_model_is_refused(taker):
    for other in MODEL:
        line = refusal(TAKERS[taker], other, X, Y)
        assert "`model`" in line and f"Received: {other!r}" in line


# What takes a model, or images, and no attack.
RANGE = ((0, 1), (1, 0.1), (NAN, 1), (1, INF), (1,), 3, None, "ab", (True, 2))
WITH_MODEL = [
    (evaluation.eot_draws, ("model", "x"), {"batch_size": COUNT}),
    (evaluation.estimate, ("model", "x", "y"), {
        "attacks": (3, "fgsm", ["fgsm"], {"a": "fgsm"}), "total": COUNT, "batch_size": COUNT,
    }),
    (analysis.measure_gaussianity, ("model", "x"), {"seed": WHOLE}),
    (analysis.measure_linearity, ("model", "x", "y"), {
        "eps": (3, "ab", [-0.1], [NAN], ["1"]), "perturbations": (3, ["no such"], [3]),
        "seed": WHOLE, "batch_size": COUNT,
    }),
    (analysis.potential_histograms, ("model", "x"), {
        "bins": (2, 2.5, "3", None, True), "seed": WHOLE,
    }),
    (analysis.rescale_normalization, ("model", "x"), {
        "lambda_factor": POSITIVE[:5], "distance_factor": (NAN, "1"), "shift": (NAN, "1"),
    }),
    (export.energy, ("model", "x"), {"batch_size": COUNT}),
    (export.streaming, ("model",), {"batch_size": COUNT, "timesteps": COUNT}),
    (export.to_saved_model, ("model",), {"path": (3, None, ["a"])}),
    (export.to_onnx, ("model",), {"path": (3, None, ["a"]), "opset": optional(COUNT)}),
    (export.to_nir, ("model",), {"path": (3, ["a"]), "dt": POSITIVE}),
    (attacks.Target, ("model",), {
        "gradient": CHOICE, "surrogate": CHOICE, "eot": COUNT, "outputs": CHOICE, "jit": CHOICE,
    }),
    (tuning.RobustObjective, ("x", "y"), {
        "score": CHOICE, "clean_weight": SHARE, "clean_floor": SHARE, "eps": RADIUS,
        "steps": COUNT, "batch_size": COUNT, "seed": WHOLE, "jit": CHOICE,
    }),
    (tuning.SearchSpace, (), {
        "eta": RANGE, "gamma": RANGE, "tau": ((0, 2), (-1, 1), (NAN, 1), 3, "ab"),
        "surrogates": (3, "triangle", ["triangle"] * 2),
    }),
    (tuning.MPDSGRHyperModel, ("objective",), {
        "make_model": (3, "vgg11"), "space": (3, {"eta": 1}), "seed": WHOLE,
    }),
    (tuning.pareto_front, (), {"points": ([1, 2], [(1, NAN)])}),
    (dynamics.Neuron, (), {"v_threshold": POSITIVE, "reset": CHOICE, "detach_reset": FLAG}),
    (dynamics.GradientMode, (), {"surrogate": CHOICE}),
    (dynamics.lif, (), {
        "surrogate": ("triangle", 3), "tau": (*SHARE, [0.5]), "neuron": ("hard", 3),
        "moments": CHOICE[:2],
    }),
]  # fmt: skip
GOOD = {
    "attacks": {"fgsm": attacks.FGSM()}, "total": 4, "path": "no_such", "points": [(1, 2)],
    "currents": np.ones((1, 2, 3), "float32"), "surrogate": surrogates.get("triangle"),
}  # fmt: skip


@pytest.mark.parametrize(
    "function, taken, by_argument", WITH_MODEL, ids=[f.__qualname__ for f, _, _ in WITH_MODEL]
)
def test_what_is_not_an_attack_refuses_a_bad_argument_too(
    function, taken, by_argument, model, tmp_path, monkeypatch
):
    for package in {export.to_onnx: ("onnx", "tf2onnx"), export.to_nir: ("nir",)}.get(function, ()):
        pytest.importorskip(package, reason=f"needs the package {package}")
    monkeypatch.chdir(tmp_path)
    needs = inspect.signature(function).parameters
    good = {name: value for name, value in GOOD.items() if name in needs}
    good |= {name: {"model": model, "x": X, "y": Y}.get(name) for name in taken}
    if "objective" in good:
        good["objective"] = tuning.RobustObjective(X, Y)
        by_argument = {**by_argument, "objective": (None, "robust")}
    if "model" in good:
        by_argument = {**by_argument, "model": MODEL}
    for argument, values in by_argument.items():
        for value in values:
            line = refusal(function, **{**good, argument: value})
            assert f"`{argument}`" in line, (value, line)
            assert "Received" in line
    if "x" in good and "model" in good:
        for x in (X * NAN, X.astype("uint8"), X[:0], X[:, :4], None, "abc"):
            line = refusal(function, **{**good, "x": x})
            assert "`x`" in line, line
    assert list(tmp_path.iterdir()) == []


# Names whose arguments are looked at by the tests below and above, or are of the library's making.
ELSEWHERE = {
    "set_regularization", "gradient_mode", "fused_neurons", "evaluate", "sweep",
    "PotentialProbe", "Obfuscation",
    "Attack", "IterativeAttack", "correlate", "changed_normalization", "verdict", "explain",
    "Defense",
    "Objective", "TaskLoss", "ModelInStep", "averaged", "FEEL", "SpikingModel", "StreamingModel",
    "register", "refuse_scope",
    "note_gain", "note_normalization", "note_passed", "note_repeated",
    "neurons_kept_in", "simulate", "plot_trade_off",
    "Comparison", "describe", "image_hash", "Run", "train", "attack", "argument_names",
    "from_nir",  # tests/export/test_nir_import.py, as it needs a graph
}  # fmt: skip


def test_every_public_name_that_takes_arguments_is_in_a_table():
    listed = {function for function, *_ in (*CONSTRUCTORS, *WITH_MODEL)}
    rooms = [keras_mpdsgr, *(
        importlib.import_module(f"keras_mpdsgr.{room.name}")
        for room in pkgutil.iter_modules(keras_mpdsgr.__path__) if room.ispkg
    )]  # fmt: skip
    missing = []
    for room in rooms:
        for name in getattr(room, "__all__", ()):
            thing = getattr(room, name)
            if not callable(thing) or thing in listed or name in ELSEWHERE:
                continue
            is_record = dataclasses.is_dataclass(thing) or issubclass(
                thing if inspect.isclass(thing) else object, tuple | Exception
            )
            base = surrogates.Surrogate, dynamics.GradientMode  # one check for all of them
            if is_record or (inspect.isclass(thing) and issubclass(thing, base)):
                continue
            taken = inspect.signature(thing).parameters.values()
            own = [p for p in taken if p.kind is p.POSITIONAL_OR_KEYWORD]
            inherited = inspect.isclass(thing) and "__init__" not in vars(thing)
            if own and not inherited:
                missing.append(f"{room.__name__}.{name}")
    assert missing == []


CALLS = [
    ("attack", {"seed": WHOLE, "batch_size": COUNT, "indices": ([1], "abc", [0.5] * 4),
                "outputs": CHOICE}),
    ("evaluate", {
        "attacks": (*CHOICE, [], None), "eps": RADIUS, "batch_size": COUNT, "seed": WHOLE,
        "drop_broken": optional(FLAG), "eps_l2": LENGTH, "jit": CHOICE, "eot": optional(COUNT),
        "journal": (3, ["a"]), "progress": (3, "bar"), "outputs": CHOICE, "grid": (4, "8", True),
        "votes": (*COUNT, 9),
    }),
    ("obfuscation", {
        "eps": RADIUS, "seed": WHOLE, "batch_size": COUNT, "steps": COUNT, "queries": COUNT,
        "substitute": optional(MODEL), "jit": CHOICE, "progress": (3,), "outputs": CHOICE,
    }),
]  # fmt: skip


@pytest.mark.parametrize("taker, by_argument", CALLS)
def test_a_measurement_refuses_a_bad_argument(taker, by_argument, model):
    for argument, values in by_argument.items():
        for value in values:
            line = refusal(TAKERS[taker], model, X, Y, **{argument: value})
            assert f"`{argument}`" in line, line
            assert "Received" in line


def test_a_sweep_refuses_a_bad_argument(model):
    for name in (*CHOICE, None):
        assert "`name`" in refusal(evaluation.sweep, model, X, Y, name, [0.1])
    for values in ([], 3, None, "12"):
        assert "`values`" in refusal(evaluation.sweep, model, X, Y, "eps", values)
    assert "`eps`" in refusal(evaluation.sweep, model, X, Y, "eps", [0.1, 2.0])
    assert "`attacks`" in refusal(evaluation.sweep, model, X, Y, "eps", [0.1], "no such")
    assert "takes" in refusal(evaluation.sweep, model, X, Y, "steps", [1], "fgsm")


def test_the_weight_of_omega_is_checked_before_anything_is_set(model):
    for argument, values in {
        "eta": NON_NEGATIVE, "half_width": optional(POSITIVE), "form": CHOICE,
    }.items():  # fmt: skip
        for value in values:
            line = refusal(set_regularization, model, **{"eta": 0.5, argument: value})
            assert f"`{argument}`" in line
    assert all(layer.eta == 0 for layer in model.layers if isinstance(layer, LIFLayer))
    for amount in NON_NEGATIVE:
        assert "`amount`" in refusal(defenses.weight_decay, model, amount)


def test_a_model_without_neurons_is_refused_where_they_are_needed():
    plain = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()], name="plain")
    for call in (
        lambda: set_regularization(plain, 0.1),
        lambda: defenses.FiringRate().prepare(plain),
        lambda: attacks.FGSM(gradient="bptr")(plain, X, Y),
    ):
        assert "Received: 'plain'" in refusal(call)


def test_an_objective_needs_logits_and_a_rule_a_model():
    ends = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
    assert "`model`" in refusal(defenses.DefendedModel, ends)
    ends = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    assert "`objective`" in refusal(defenses.DefendedModel, ends, "trades")
    assert "`model`" in refusal(
        defenses.WeightRegularization().prepare, keras.Sequential([keras.layers.Dense(1)])
    )
    for defense in ("reg", "rate"):
        assert "`model`" in refusal(defenses.get(defense).prepare, None)


# The flags of the programs, parsed as they are there, in a set of their own.
WHOLE_FLAGS = ("abc", "1.5", "", "-1")
NUMBER_FLAGS = ("abc", "", "nan", "inf", "-1")
FRACTION_FLAGS = ("abc", "8:255", "1/0", "nan", "inf", "-1/255", "2")
MODULES = {"import": ("my module", "folder/module", "module.py", "1st", "a..b", ".a")}
TRAINING = {
    **MODULES,
    **dict.fromkeys(
        ("timesteps", "epochs", "batch_size", "limit_train", "limit_test", "image_size",
         "eval_limit", "eval_batch_size", "adversarial_steps", "replicas",
         "validation_images", "validation_every", "patience"), (*WHOLE_FLAGS, "0")),
    "seed": WHOLE_FLAGS,
    **dict.fromkeys(("width", "gamma", "learning_rate", "worker_timeout"), (*NUMBER_FLAGS, "0")),
    **dict.fromkeys(("eta", "weight_decay", "awp", "clip_norm"), NUMBER_FLAGS),
    **dict.fromkeys(
        ("tau", "momentum", "eta_warmup", "adversarial_warmup", "warmup", "label_smoothing", "ema"),
        (*NUMBER_FLAGS, "1.5")),
    **dict.fromkeys(("adversarial_eps", "adversarial_step_size", "eval_eps"), FRACTION_FLAGS),
    **dict.fromkeys(
        ("dataset", "reset", "learn_tau", "omega_form", "adversarial_loss", "weight_rule", "jit",
         "adversarial_method", "schedule", "neuron",
         "mixed_precision", "distribute"), ("no_such", "", "3")),
    **dict.fromkeys(
        ("detach_reset", "learn_gamma", "adversarial_training", "augment", "deterministic",
         "recompute"),
        ("maybe", "3")),
    **dict.fromkeys(("coding_options", "defense_options", "surrogate_options"),
                    ("a", "a=", "=1", "a=b c", "a=nan", "a=1,a=2", "a b=1", ".a=1", "a.=1")),
}  # fmt: skip
RECIPE = {"recipe": ("no_such", "", "3")}
# What a flag goes with.
WITH = {"adversarial_gradient": ["--adversarial_training"]}
# Names, which the library knows; refused before anything is loaded or written.
NAMES = {
    **dict.fromkeys(
        ("model", "surrogate", "coding", "defense", "adversarial_gradient"), ("no_such", "", "3")
    ),
    "defense_options": ("no_such=1", "half_width=-1", "half_width=wide", "sr.weight=1"),
    "coding_options": ("no_such=1",),
    "surrogate_options": ("no_such=1", "beta=2"),
}
PLACES = {"data_dir", "run_dir", "model_file", "results_dir", "tiny_imagenet_dir", "output", "out"}
ATTACKING = {
    **MODULES,
    **dict.fromkeys(("limit", "batch_size", "checks_limit"), (*WHOLE_FLAGS, "0")),
    "seed": WHOLE_FLAGS,
    "eps": FRACTION_FLAGS,
    "eps_l2": FRACTION_FLAGS[:-1],
    "sweep_eps": (*FRACTION_FLAGS, "1/255,2"),
    **dict.fromkeys(("drop_broken", "checks", "merge", "dry_run"), ("maybe", "3")),
    **dict.fromkeys(("jit", "outputs", "dataset"), ("no_such", "")),
    "grid": ("x", "", "4", "16", "8.5"),
    "shard": ("0/8", "9/8", "a/b", "2", "2/8/9", "1.5/8", "-1/8", "nan", ""),
    "sweep_steps": ("x", "0", "1,1.5"),
}
RANGES = ("abc", "1", "", "1,2,3", "2,1", "0,1", "-1,1", "nan,1", "1,inf", "1,b")
SEARCHING = {
    **TRAINING,
    **dict.fromkeys(("algorithm", "objective"), ("no_such", "", "3")),
    **dict.fromkeys(("clean_weight", "clean_floor"), (*NUMBER_FLAGS, "1.5")),
    "validation_share": (*NUMBER_FLAGS, "0", "1.5"),
    **dict.fromkeys(("eta_range", "gamma_range"), RANGES),
    "tau_range": ("abc", "1", "", "0,1,1", "1,0", "-1,1", "0,1.5", "nan,1", "0,inf"),
    **dict.fromkeys(("search_images", "search_steps", "max_trials"), (*WHOLE_FLAGS, "0")),
}
REPRODUCING = {
    **MODULES,
    **dict.fromkeys(("scale", "study", "jit", "mixed_precision"), ("no_such", "", "3")),
    "eta": NUMBER_FLAGS,
    "dry_run": ("maybe", "3"),
}
# A program's flags: those with values that are refused by themselves, and those with names, which
# are refused by what knows them (the tests further down).
PROGRAMS = {
    "attack": (ATTACKING, {"attacks", "suite", "substitute", "sweep_attack"}),
    "cifar": (TRAINING | RECIPE, set(NAMES)),
    "card": (MODULES, {"reports"}),
    "predict": (
        MODULES | {"eps": FRACTION_FLAGS, "top": (*WHOLE_FLAGS, "0"), "seed": WHOLE_FLAGS},
        {"attack"},
    ),
    "report": (MODULES | {"histograms": ("maybe", "3")}, set()),
    "reproduce": (REPRODUCING, {"table", "figure", "rows", "seeds"}),
    "theory": (MODULES | {"limit": (*WHOLE_FLAGS, "0"), "seed": WHOLE_FLAGS}, {"compare"}),
    "tiny_imagenet": (TRAINING | RECIPE, set(NAMES)),
    "tune": (SEARCHING, {*NAMES, "surrogates", "chief_address", "worker_id"}),
    "verify_card": (MODULES | {"limit": (*WHOLE_FLAGS, "0"), "retrain": ("maybe", "3")}, set()),
}


def flags_of(name):
    """The flags of a program in a set of their own, and what its `define` returns."""
    values = flags.FlagValues()
    names = importlib.import_module(f"trainers.{name}").define(into=values)
    return values, names


def training_flags():
    return flags_of("cifar")[0]


def arguments(name, *words):
    """The values of a program's flags after these words."""
    values, names = flags_of(name)
    program.parsed(["program", *words], values)
    # What other flags make of it is for the program itself.
    listed = names if isinstance(names[0], str) else [flag for part in names for flag in part]
    return program.values(listed, values)


def test_every_program_is_in_this_table():
    folder = pathlib.Path(program.__file__).parent
    found = {p.stem for p in folder.glob("*.py") if "program.run(" in p.read_text()}
    assert found == set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_flag_of_a_program_is_in_its_table(name):
    values, names = flags_of(name)
    bad, named = PROGRAMS[name]
    assert set(values) - PLACES == {*bad, *named}
    # What a program takes for its flags are all that it has, but for those that are not its own.
    listed = names if isinstance(names[0], str) else [flag for part in names for flag in part]
    assert {*listed, "recipe", "import"} == {*values, "recipe"}


@pytest.mark.parametrize(
    "name, flag", [(name, flag) for name, (bad, _) in PROGRAMS.items() for flag in bad]
)
def test_a_bad_flag_is_refused_in_one_line_that_names_it(name, flag):
    for value in PROGRAMS[name][0][flag]:
        values, _ = flags_of(name)
        with pytest.raises(program.SetupError) as caught:
            program.parsed(["program", f"--{flag}={value}"], values)
        line = str(caught.value)
        assert re.match(rf"flag --{flag}=.*: must be [^.]", line), line
        assert "\n" not in line
        assert "invalid literal" not in line
        assert "could not convert" not in line


def test_a_bad_flag_ends_the_program_with_status_2_and_its_line_alone(capsys):
    with pytest.raises(SystemExit) as ended:
        program._parse(["program", "--debug=maybe"], "", positional=False)
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "error: flag --debug=maybe: must be true or false.\n")


FAILS = """
from trainers import program

def main():
    raise {error}

program.run(main, "")
"""


@pytest.mark.parametrize(
    "error, status, said",
    [
        ("program.SetupError('mend\\nthis')", 2, "mend this"),
        ("program.RunError('it broke')", 1, "it broke"),
        ("KeyError('a name')", 1, "KeyError: 'a name'"),
    ],
)
def test_a_failure_is_one_line_and_its_status_and_debug_alone_shows_the_traceback(
    error, status, said, pytestconfig
):
    for words in ([], ["--debug"]):
        done = subprocess.run(
            [sys.executable, "-c", FAILS.format(error=error), *words],
            cwd=pytestconfig.rootpath,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (status, "")
        *before, last = done.stderr.splitlines()
        assert last == f"error: {said}"
        assert ("Traceback" in done.stderr) == bool(words)
        assert words or before == []


@pytest.mark.parametrize("flag", ["--no_such=1", "--learning_rate", "--flagfile=no/such", "stray"])
def test_what_is_no_flag_is_refused(flag):
    with pytest.raises(program.SetupError) as caught:
        program.parsed(["program", flag], training_flags())
    assert "\n" not in str(caught.value)
    assert flag.lstrip("-").split("=")[-1][-5:] in str(caught.value) or "no_such" in flag


def reproduce(words):
    asked = arguments("reproduce", "--dry_run", *words)
    for name in ("eta", "jit", "mixed_precision"):
        del asked[name]
    command.reproduce(asked, {})


def tune(words):
    small = ("--dataset=digits", "--width=0.02", "--timesteps=1", "--run_dir=no_such/folder")
    search.tune(SearchConfig(**arguments("tune", *small, *words)))


def theory(words):
    theory_report.write(**arguments("theory", *words))


def attack(words):
    experiments.attack(experiments.AttackConfig(**arguments("attack", *words)))


@pytest.mark.parametrize(
    "run, words, said",
    [
        (reproduce, "--table=9", "--table .*Received: 9"),
        (reproduce, "--table=", "give --table 1..5 or all"),
        (reproduce, "--figure=9", "--figure .*Received: 9"),
        *(
            (reproduce, f"--seeds={seeds}", f"--seeds .*Received: {seeds}")
            for seeds in ("x", "-1", "1.5", "1,x", "")
        ),
        *(
            (tune, " ".join([f"--{flag}=no_such", *WITH.get(flag, [])]), "Received: .*'no_such'")
            for flag in NAMES
            if "options" not in flag
        ),
        (tune, "--surrogates=no_such", "Received: .*'no_such'"),
        (tune, "--surrogates=triangle,triangle", "`surrogates` .*Received: triangle,"),
        (tune, "--defense_options=no_such=1", "Received: no_such"),
        (tune, "--coding_options=no_such=1", "Received: no_such"),
        *(
            (tune, f"--worker_id=chief --chief_address={address}", "--chief_address")
            for address in ("host", "host:", "host:0", "host:99999", "host:x", ":80", "")
        ),
        *(
            (tune, f"--chief_address=host:80 --worker_id={worker}", "--worker_id")
            for worker in ("a/b", "oracle", "")
        ),
        (theory, "--run_dir=no/such", "no/such is not a run folder"),
        (theory, "--run_dir=saved_models/digits --compare=no/such", "no/such is not a run folder"),
        *((attack, f"--run_dir=saved_models/digits {bad}", said) for bad, said in {
            "--attacks=no_such": "`attacks` .*Received: 'no_such'",
            "--suite=no_such": "`suite` .*Received: 'no_such'",
            "--suite=Strongest": "`suite` .*Did you mean strongest",
            "--attacks=fgsm,PDG": "`attacks` .*Received: 'PDG'. Did you mean pgd",
            "--sweep_steps=x": "--sweep_steps=x",
            "--sweep_eps=0.1 --sweep_attack=no_such": "`sweep_attack` .*Received: 'no_such'",
        }.items()),
    ],
)  # fmt: skip
def test_a_name_or_a_list_that_cannot_be_is_refused_in_one_line(
    run, words, said, monkeypatch, pytestconfig
):
    monkeypatch.chdir(pytestconfig.rootpath)
    for variable in ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID"):
        monkeypatch.setenv(variable, "")  # so that what a search sets is forgotten
    with pytest.raises(program.SetupError, match=said) as caught:
        run(words.split())
    assert "\n" not in str(caught.value)
    assert not pathlib.Path("no_such").exists()


@pytest.mark.parametrize(
    "given, said",
    [
        *(
            ([f"--{flag}={value}", *WITH.get(flag, [])], f"{value!r}.")
            for flag, values in NAMES.items()
            for value in values
            if not flag.endswith("options")
        ),
        (["--defense_options=no_such=1"], "Received: no_such"),
        (["--defense_options=half_width=-1"], "`half_width`"),
        (["--coding_options=no_such=1"], "Received: no_such"),
        (["--limit_train=9999"], "`limit_train`"),
        (["--limit_train=10", "--batch_size=64"], "`batch_size`"),
        (["--jit=on", "--deterministic"], "`jit` on and `deterministic`"),
        (["--defense=feel", "--coding=poisson"], "`coding` poisson"),
        (
            ["--adversarial_training", "--adversarial_loss=trades", "--defense=dlif"],
            "Defence 'dlif' has a loss of its own",
        ),
        (["--image_size=8"], "`image_size`"),
        (["--adversarial_method=n_fgsm"], "`adversarial_method` is used only with"),
        (["--adversarial_eps=8/255"], "`adversarial_eps` is used only with"),
        (["--defense_options=eta=1"], "`defense_options` must not hold eta of mpd_sgr"),
    ],
)
def test_a_training_that_cannot_be_is_refused_before_anything_is_written(given, said, tmp_path):
    folder = tmp_path / "run"
    small = ["--dataset=digits", "--width=0.02", "--timesteps=1", f"--run_dir={folder}"]
    with pytest.raises(program.SetupError) as caught:
        experiments.train(experiments.ExperimentConfig(**arguments("cifar", *small, *given)))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not folder.exists()
