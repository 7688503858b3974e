"""Recipes, from Python and as a flag."""

import dataclasses

import pytest
from absl import flags

from keras_mpdsgr import experiments
from keras_mpdsgr.experiments.recipes import RECIPES, described
from trainers import cifar, program, tiny_imagenet


def asked(define, *words):
    values = flags.FlagValues()
    names = define(into=values)
    program.parsed(["trainer", *words], values)
    return cifar.config_of(names, values)


def test_the_paper_recipe_is_the_defaults():
    assert experiments.recipe("paper") == experiments.ExperimentConfig()
    assert asked(cifar.define) == asked(cifar.define, "--recipe=paper")
    assert described("paper") == "the defaults"


@pytest.mark.parametrize("define", [cifar.define, tiny_imagenet.define])
def test_a_recipe_sets_what_no_flag_says(define):
    plain, robust = asked(define), asked(define, "--recipe", "robust", "--epochs", "3")
    changed = {k: v for k, v in robust.to_dict().items() if v != plain.to_dict()[k]}
    assert changed == {**RECIPES["robust"], "epochs": 3}


def test_flags_come_before_the_recipe_even_with_the_value_of_a_default():
    config = asked(cifar.define, "--recipe=robust", "--adversarial_eps=2/255", "--eta=0.05")
    assert (config.adversarial_eps, config.eta) == (2 / 255, 0.05)
    assert config.adversarial_training


def test_from_python_settings_come_before_the_recipe():
    config = experiments.recipe("robust", eta=0.5, dataset="digits")
    assert (config.eta, config.dataset, config.adversarial_training) == (0.5, "digits", True)
    # A defence that is named is not left without its weight.
    assert experiments.recipe("robust", defense="mpd_sgr").eta == 0.05


def test_a_recipe_leaves_out_what_a_network_without_spiking_neurons_has_not():
    config = experiments.recipe("robust", neuron="relu")
    assert (config.reset, config.tau) == ("hard", 1.0)
    assert config.defense == "sr"
    assert asked(cifar.define, "--recipe=robust", "--neuron=relu") == config
    # One that is asked for is refused as without a recipe.
    with pytest.raises(experiments.SetupError, match="has no `reset`"):
        experiments.recipe("robust", neuron="relu", reset="soft")


def test_a_weight_that_no_defence_takes_is_refused_before_anything_is_written(tmp_path):
    asked_for = {"dataset": "digits", "eta": 0.5, "run_dir": tmp_path / "run"}
    with pytest.raises(experiments.SetupError) as caught:
        experiments.train(experiments.recipe("robust", **asked_for), verbose=False)
    assert str(caught.value) == (
        "`eta` is the weight of `defense` mpd_sgr or rate. Received: 0.5 with `defense` sr. "
        "Name one of them, or leave `eta` out."
    )
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="`recipe` must be one of 'paper', 'robust'"):
        experiments.recipe("strong")


def test_help_shows_what_it_sets_as_one_types_it():
    values = flags.FlagValues()
    cifar.define(into=values)
    told = " ".join(values["recipe"].help.split())
    assert "--adversarial_eps=8/255" in told


def test_recipes_name_settings_that_exist():
    known = {field.name for field in dataclasses.fields(experiments.ExperimentConfig)}
    for settings in RECIPES.values():
        assert settings.keys() <= known
