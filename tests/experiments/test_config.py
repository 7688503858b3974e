"""Configurations: checked, known by a key, written as a dictionary and as a command."""

import dataclasses
import json
import math
import subprocess
import sys

import hypothesis
import pytest
from absl import flags
from hypothesis import strategies

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import AttackConfig, ExperimentConfig, fields, kinds, networks
from keras_mpdsgr.experiments.settings import Settings
from trainers import attack, cifar, program, tiny_imagenet, tune
from trainers.tuning.config import SearchConfig

DIGITS = {"dataset": "digits", "width": 0.125, "timesteps": 4, "epochs": 2, "eta": 0.05}
OPTIONS = {
    "coding_options": ("smoothing", {"std": 0.25}),
    "surrogate_options": ("superspike", {"beta": 2}),
    "defense_options": ("dlif", {"alpha": 1e-3, "norm": "l1", "detach_clean": False, "seed": 3}),
}


def parsed(define, words):
    """The values of a program's flags after these words."""
    values = flags.FlagValues()
    names = define(into=values)
    program.parsed(["program", *words], values)
    return program.values(names, values)


def drawn(field, number):
    """A value of a field other than its default, another for each number."""
    kind, default = field.metadata["kind"], field.default
    if kind is kinds.SWITCH:
        return not default
    if kind.choices:
        others = [choice for choice in kind.choices if choice != default]
        return others[number % len(others)]
    for value in (number + 1, 1 / (number + 3), f"name{number}", 8):
        try:
            return kind.checked(field.name, value)
        except SetupError:
            continue
    # Text that none of these is, or several values.
    for value in ((1 / (number + 3), 1.0), (number + 1, 9), ("a", "b")):
        try:
            return kind.checked(field.name, value)
        except SetupError:
            continue
    raise AssertionError(field.name)


# Those that are checked against a registry, or against other fields.
APART = {
    "model",
    "coding",
    "surrogate",
    "defense",
    "neuron",
    "jit",
    "distribute",
    "replicas",
    "shard",
    "validation_images",
    "validation_every",
    "patience",
    "merge",
    "model_file",
    "results_dir",
    "adversarial_method",
    "adversarial_gradient",
    "schedule",
    "clip_norm",
    "awp",
    "mixed_precision",
    "ema",
}


@hypothesis.given(data=strategies.data())
@hypothesis.settings(max_examples=60)
@pytest.mark.parametrize(
    ("kind", "define"),
    [(ExperimentConfig, cifar.define), (AttackConfig, attack.define), (SearchConfig, tune.define)],
)
def test_a_configuration_comes_back_from_its_dictionary_and_from_its_command(kind, define, data):
    every = [f for f in dataclasses.fields(kind) if f.name not in APART and "options" not in f.name]
    numbers = data.draw(strategies.lists(strategies.integers(0, 20), max_size=8))
    chosen = data.draw(strategies.lists(strategies.sampled_from(every), max_size=8))
    given = {field.name: drawn(field, n) for field, n in zip(chosen, numbers, strict=False)}
    if given.get("dataset") == "tiny_imagenet" or kind is AttackConfig:
        given.pop("dataset", None)
    if any(name.startswith("adversarial_") for name in given):
        given["adversarial_training"] = True
    config = kind(**given)
    assert kind.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert kind(**parsed(define, config.command()[1:])) == config
    assert kind.from_words(config.command()[1:]) == config
    assert kind.from_dict(config.to_dict()).key() == config.key()


def test_options_come_back_from_the_command():
    for name, (kind, options) in OPTIONS.items():
        config = ExperimentConfig(**{name.removesuffix("_options"): kind, name: options})
        found = ExperimentConfig(**parsed(cifar.define, config.command()[1:]))
        assert found == config
        assert all(type(a) is type(b) for a, b in zip(
            getattr(found, name).values(), options.values(), strict=True))  # fmt: skip


def test_options_of_several_defences_say_whose_they_are():
    options = {"sr.weight": 0.5, "h": 0.02, "mpd_sgr.half_width": 2}
    config = ExperimentConfig(
        defense="sr,mpd_sgr", defense_options=options, eta=0.3, omega_form="sample"
    )
    assert "--defense_options=sr.weight=0.5,h=0.02,mpd_sgr.half_width=2" in config.command()
    assert ExperimentConfig(**parsed(cifar.define, config.command()[1:])) == config
    assert networks.make_defense(config).get_config() == {
        "sr": {"weight": 0.5, "h": 0.02},
        "mpd_sgr": {"eta": 0.3, "omega_form": "sample", "half_width": 2},
    }


def test_tiny_imagenet_has_its_program_and_its_defaults():
    config = ExperimentConfig(dataset="tiny_imagenet", model="vgg11", epochs=3)
    assert config.command() == ["trainers.tiny_imagenet", "--model=vgg11", "--epochs=3"]
    assert ExperimentConfig(**parsed(tiny_imagenet.define, config.command()[1:])) == config


def test_false_and_zero_are_said_where_they_are_not_the_default():
    config = AttackConfig(run_dir="a b", eps=0, drop_broken=False, attacks=["fgsm", "pgd"])
    words = config.command()
    assert words == [
        "trainers.attack", "--run_dir=a b", "--attacks=fgsm,pgd", "--eps=0.0", "--nodrop_broken"
    ]  # fmt: skip


def test_a_key_is_that_of_the_first_release():
    # Change nothing here: a released default or key that moves would rename users' run folders.
    assert ExperimentConfig().key() == "44136fa355"
    assert ExperimentConfig(**DIGITS).key() == "d25358d84a"


def test_a_key_leaves_out_places_and_what_only_changes_how_fast_it_is_done():
    config = ExperimentConfig(**DIGITS)
    for change in (
        {"run_dir": "x"}, {"data_dir": "y"}, {"jit": "on"}, {"recompute": True},
        {"eval_batch_size": 7}, {"worker_timeout": 9}, {"patience": 3},
    ):  # fmt: skip
        assert config.replace(**change).key() == config.key()
    keys = {config.replace(**change).key() for change in ({}, {"seed": 1}, {"tau": 0.9})}
    assert len(keys) == 3


def test_a_folder_of_images_is_known_by_its_path():
    one, other = (ExperimentConfig(dataset="folder", data_dir=name) for name in "ab")
    assert one.key() != other.key()


def test_a_field_that_is_new_changes_no_key():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Newer(ExperimentConfig):
        spike_width: int = fields.integer(3, "A field of a later version.")
        __hash__ = Settings.__hash__

    assert Newer(**DIGITS).key() == ExperimentConfig(**DIGITS).key()
    assert Newer(**DIGITS, spike_width=4).key() != Newer(**DIGITS).key()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"width": 0}, "`width` must be a number > 0. Received: 0."),
        ({"eta": math.nan}, "`eta` must be a number >= 0. Received: nan."),
        ({"tau": 1.5}, "`tau` must be a number >= 0 and <= 1. Received: 1.5."),
        ({"epochs": 2.0}, "`epochs` must be a whole number >= 1. Received: 2.0."),
        ({"epochs": None}, "`epochs` must be a whole number >= 1. Received: None."),
        ({"seed": True}, "`seed` must be a whole number >= 0. Received: True."),
        ({"augment": 1}, "`augment` must be True or False. Received: 1."),
        ({"dataset": "mnist"}, "`dataset` must be one of cifar10, cifar100, digits, folder"),
        ({"model": "resnet"}, "`model` must be one of 'vgg11'"),
        ({"model": 3}, "`model` must be text. Received: 3."),
        ({"surrogate": "boxcar"}, "arctan"),
        ({"defense": "armour"}, "`defense` must be one of 'none'"),
        ({"coding": "morse"}, "`coding` must be one of direct"),
        ({"defense_options": {"weight": "a b"}}, "`defense_options` must be numbers or words by"),
        ({"defense_options": {"weight": "nan"}}, "`defense_options` must be numbers or words by"),
        ({"defense_options": {"sr.": 1}}, "`defense_options` must be numbers or words by"),
        ({"defense": "sr", "defense_options": {"weight": "a"}}, "`weight` must be a number >= 0"),
        ({"defense": "sr,rate", "defense_options": {"weight": 1}}, "Say sr.weight or rate.weight"),
        ({"defense": "sr,dlif"}, "'sr' and 'dlif' have a loss of their own each"),
        ({"defense_options": {"no_such": 1}}, "Received: no_such"),
        ({"eval_eps": "8/255"}, "`eval_eps` must be a decimal or a fraction"),
        ({"jit": "on", "deterministic": True}, "`jit` on and `deterministic` cannot be combined"),
        ({"defense": "feel", "coding": "poisson"}, "`defense` feel brings its own coding"),
        ({"defense": "dlif", "adversarial_training": True, "adversarial_loss": "trades"}, "dlif"),
    ],
)
def test_what_is_not_allowed_is_refused_where_the_configuration_is_made(given, said):
    with pytest.raises(ValueError) as caught:
        ExperimentConfig(**given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError):
        ExperimentConfig().replace(**given)


def test_a_name_that_is_no_field_is_refused_with_the_one_that_was_meant():
    with pytest.raises(ValueError, match="ExperimentConfig has no `widht`. Did you mean `width`"):
        ExperimentConfig.from_dict({"widht": 1})


def test_messages_of_the_library_name_flags_in_a_program():
    values = flags.FlagValues()
    cifar.define(into=values)
    said = "`eta` must be a number; `no_such` and `loss` stay"
    expected = "--eta must be a number; `no_such` and `loss` stay"
    assert program.in_flags(said, values) == expected


def test_programs_answer_help_and_wrong_flags_without_tensorflow(pytestconfig):
    text = """
import sys
from absl import flags
from trainers import {name}, program
names = {name}.define()
try:
    program.parsed(["program", "--run_dir=a", "--no_such"])
except program.SetupError:
    print(sorted({{"tensorflow", "keras", "matplotlib"}} & set(sys.modules)))
"""
    for name in (
        "cifar",
        "tiny_imagenet",
        "attack",
        "tune",
        "reproduce",
        "theory",
        "report",
        "card",
        "verify_card",
    ):
        done = subprocess.run(
            [sys.executable, "-c", text.format(name=name)],
            cwd=pytestconfig.rootpath,
            capture_output=True,
            text=True,
        )
        assert done.stdout == "[]\n", (name, done.stdout, done.stderr[-500:])
