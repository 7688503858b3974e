"""`--help` by topic, and what is said of a flag or a value that is not quite one."""

import importlib
import pathlib
import re

import pytest
from absl import flags

from keras_mpdsgr import attacks, defenses, models, surrogates
from keras_mpdsgr.experiments.config import ExperimentConfig
from keras_mpdsgr.models.blocks import CODINGS
from trainers import help, program

PROGRAMS = sorted(
    path.stem
    for path in pathlib.Path(program.__file__).parent.glob("*.py")
    if "program.run(" in path.read_text()
)


def flags_of(name):
    values = flags.FlagValues()
    importlib.import_module(f"trainers.{name}").define(into=values)
    return values


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_flag_has_a_topic(name):
    assert set(flags_of(name)) <= help.topical()


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_shows_each_flag_once_and_within_its_width(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    values = flags_of(name)
    lines = help.text(values, list(values)).splitlines()
    heads = [line.split()[0] for line in lines if line.startswith("  --")]
    found = [head.split("=")[0].removeprefix("--").removeprefix("[no]") for head in heads]
    assert sorted(found) == sorted(values)
    assert max(map(len, lines[1:])) <= 80


def test_the_names_that_help_shows_are_those_of_the_registries():
    # In a process where other tests have registered parts of their own, these are more.
    registries = {
        "model": models.names(), "surrogate": surrogates.names(), "defense": defenses.names(),
        "coding": CODINGS, "attacks": attacks.names(),
    }  # fmt: skip
    assert set(help.NAMES) == set(registries)
    for flag, names in registries.items():
        own = [name for name in names if _is_ours(flag, name)]
        assert sorted(help.NAMES[flag]) == sorted(own)


def _is_ours(flag, name):
    kind = {
        "surrogate": lambda: type(surrogates.get(name)),
        "defense": lambda: defenses.base.kind(name),
        "attacks": lambda: attacks._registry[name],
    }.get(flag)
    return kind is None or kind().__module__.startswith("keras_mpdsgr.")


def test_defaults_and_choices_are_written_as_a_user_writes_them():
    values = flags_of("cifar")
    text = " ".join(help.text(values, list(values)).split())
    assert "--adversarial_eps=2/255 " in text
    assert "--[no]augment Random crops and flips. On by default." in text
    assert "--deterministic Only ops" in text
    assert "--patience= Stop when" in text
    assert "One of cosine, cyclic, constant." in text
    assert "One of vgg11, vgg16, wrn16." in text
    assert text.index("--dataset=") < text.index("--model=") < text.index("--jit=")


@pytest.mark.parametrize(
    "name, word, said",
    [
        ("cifar", "--noaugmnt", "there is no flag --noaugmnt. Did you mean --noaugment?"),
        ("cifar", "--no-augment", "Did you mean --noaugment?"),
        ("cifar", "--nodeterministc", "Did you mean --nodeterministic?"),
        ("cifar", "--noepochs=3", "there is no flag --noepochs. Did you mean --epochs?"),
        ("cifar", "--Run-Dir=x", "there is no flag --Run-Dir. Did you mean --run_dir?"),
        ("cifar", "--defence=sr", "Did you mean --defense?"),
        ("cifar", "--zzzzz", "there is no flag --zzzzz. --help lists all."),
        ("cifar", "--noaugment=1", "--noaugment=1 does not take an argument. Give the flag alone."),
        ("cifar", "--dataset=CIFAR-10", "Did you mean cifar10?"),
        ("cifar", "--schedule=Cosine", "Did you mean cosine?"),
        ("cifar", "--eval_eps=8", "flag --eval_eps=8: .* such as 8/255. Did you mean 8/255?"),
        ("attack", "--eps=8", "flag --eps=8: .* Did you mean 8/255?"),
        ("attack", "--eps=300", "such as 8/255.$"),
        ("reproduce", "--scale=Smoke", "flag --scale=Smoke: .*Did you mean smoke?"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(name, word, said):
    with pytest.raises(program.SetupError) as caught:
        program.parsed(["program", word], flags_of(name))
    assert re.search(said.replace("?", r"\?"), str(caught.value)), str(caught.value)


def test_python_is_answered_alike():
    with pytest.raises(program.SetupError, match=r"`eval_eps` .*Received: 8. Did you mean 8/255"):
        ExperimentConfig(eval_eps=8)
    with pytest.raises(program.SetupError, match="Did you mean digits"):
        ExperimentConfig(dataset="Digits")
