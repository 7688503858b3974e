"""`mixed_precision` auto: decided once, kept on another machine, said."""

import json

import keras
import pytest

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import ExperimentConfig, Run, precision, train, training
from keras_mpdsgr.experiments.run_folder import RunFolder, default_path
from trainers.tuning.config import SearchConfig

TINY = {
    "dataset": "digits", "limit_train": 32, "limit_test": 8, "width": 0.02, "timesteps": 1,
    "epochs": 2, "batch_size": 32, "jit": "off",
}  # fmt: skip
AUTO = ExperimentConfig(**TINY, mixed_precision="auto")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A function that moves to a machine with these instructions; runs lie in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def move(instructions):
        monkeypatch.setattr(precision, "bfloat16_instructions", lambda: instructions)

    return move


def begin(config):
    """Makes the run folder of a configuration, as a training does."""
    became, told = precision.settled(config)
    with RunFolder.for_training(became, asked=told and precision.ASKED):
        return became.mixed_precision


@pytest.mark.parametrize("here, there", [("AVX512-BF16", None), (None, "AVX512-BF16")])
@pytest.mark.parametrize("run_dir", [None, "chosen"])
def test_a_run_keeps_on_another_machine_what_auto_became(machine, here, there, run_dir):
    config = AUTO.replace(run_dir=run_dir)
    machine(here)
    became = begin(config)
    assert became == ("bfloat16" if here else "off")
    machine(there)
    resumed, told = precision.settled(config)
    assert resumed.mixed_precision == became
    assert told.endswith("as the run was begun")
    assert begin(config) == became


def test_a_folder_is_named_as_if_what_auto_became_had_been_asked(machine):
    machine("AVX512-BF16")
    became, _ = precision.settled(AUTO)
    assert became == AUTO.replace(mixed_precision="bfloat16")
    assert default_path(became) == default_path(AUTO.replace(mixed_precision="bfloat16"))
    machine(None)
    became, _ = precision.settled(AUTO)
    assert default_path(became) == default_path(ExperimentConfig(**TINY))


def test_a_run_that_was_asked_for_otherwise_is_not_taken_for_its_own(machine):
    begin(ExperimentConfig(**TINY, run_dir="chosen"))
    machine("AVX512-BF16")
    with pytest.raises(SetupError, match="other settings"):
        begin(AUTO.replace(run_dir="chosen"))


def test_what_was_asked_and_what_it_became_are_said_and_written(machine, capsys, monkeypatch):
    types = []
    # Training itself is as slow as it is elsewhere.
    monkeypatch.setattr(
        training, "_fit", lambda model, *_: types.append(model.get_layer("conv1_lif").compute_dtype)
    )
    config = AUTO.replace(run_dir="run")
    machine("AVX512-BF16")
    run = train(config, attack=False, until_epoch=1)
    assert capsys.readouterr().out.startswith("mixed_precision auto: bfloat16 (AVX512-BF16)\n")
    content = json.loads(run.config_path.read_text())
    assert content["asked"] == {"mixed_precision": "auto"} == Run("run").asked
    assert content["flags"]["mixed_precision"] == "bfloat16" == run.config.mixed_precision
    assert "--mixed_precision=bfloat16" in run.command()
    machine(None)
    train(config, attack=False, until_epoch=1)
    assert "mixed_precision auto: bfloat16, as the run was begun" in capsys.readouterr().out
    assert types == ["bfloat16", "bfloat16"]
    assert keras.config.dtype_policy().name == "float32"


def test_a_search_takes_no_auto():
    with pytest.raises(SetupError, match="`mixed_precision` auto is for one training"):
        SearchConfig(mixed_precision="auto")
