"""What a run warns of, and what stops it."""

import types

import numpy as np
import pytest

from keras_mpdsgr.errors import RunError
from keras_mpdsgr.experiments.monitors import HealthCheck
from keras_mpdsgr.experiments.run import table_rows
from keras_mpdsgr.experiments.run_folder import EpochTable


def check(*rates):
    said = []
    layers = [
        types.SimpleNamespace(name=f"lif{i}", firing_rate=np.asarray(rate))
        for i, rate in enumerate(rates)
    ]
    record = types.SimpleNamespace(layers=layers)
    return HealthCheck(record, classes=10, say=said.append), said


def test_a_silent_layer_is_named():
    health, said = check([0.1, 0.2], [0.0, 0.0])
    health.on_epoch_end(0, {"loss": 2.0, "cross_entropy": 2.0})
    assert "lif1 is silent" in said[0]
    assert "`eta`" in said[0]


def test_a_loss_that_stays_at_guessing_is_said_once():
    health, said = check([0.1])
    for epoch in range(4):
        health.on_epoch_end(epoch, {"loss": 2.4, "cross_entropy": np.log(10) + 0.001})
    assert len(said) == 1
    assert "2.303" in said[0]


def test_a_loss_that_falls_is_not_warned_of():
    health, said = check([0.1])
    for epoch, loss in enumerate((2.3, 2.0, 2.3, 1.5)):
        health.on_epoch_end(epoch, {"loss": loss, "cross_entropy": loss})
    assert said == []


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run(loss):
    health, _ = check([0.1])
    with pytest.raises(RunError, match="epoch 3.*`learning_rate`"):
        health.on_epoch_end(2, {"loss": loss})


def test_a_table_is_cut_back_to_the_epochs_that_are_done(tmp_path):
    table = EpochTable(tmp_path / "metrics.csv")
    for epoch in (1, 2, 3):
        table.append([{"epoch": epoch, "loss": epoch / 10}])
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("4,")
    table.cut(2)
    assert [(row["epoch"], row["loss"]) for row in table_rows(tmp_path / "metrics.csv")] == [
        ("1", "0.1"),
        ("2", "0.2"),
    ]
