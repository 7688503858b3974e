"""What a run warns of, and what stops it."""

import types

import numpy as np
import pytest

from keras_mpdsgr.errors import RunError
from keras_mpdsgr.experiments.epoch_table import EpochTable, table_rows
from keras_mpdsgr.experiments.monitors import HealthCheck


def check(*rates, patience=None):
    said = []
    layers = [
        types.SimpleNamespace(name=f"lif{i}", firing_rate=np.asarray(rate))
        for i, rate in enumerate(rates)
    ]
    record = types.SimpleNamespace(layers=layers)
    return HealthCheck(record, classes=10, say=said.append, patience=patience), said


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
    assert "after epoch 2" in said[0]


def test_a_network_that_dies_and_recovers_is_said_to_each_time_once():
    health, said = check([0.1], [0.0])
    lif = health._record.layers[1]
    for epoch, rate in enumerate((0.0, 0.0, 0.0, 0.1, 0.1, 0.0, 0.0)):
        lif.firing_rate = np.asarray([rate])
        health.on_epoch_begin(epoch)
        health.on_epoch_end(epoch, {"loss": 2.0, "cross_entropy": 2.0})
    assert len(said) == 3
    assert "seems dead after epoch 1: every neuron of lif1" in said[0]
    assert "It may recover;" in said[0]
    assert said[1] == "epoch 4: the network is alive again"
    assert "seems dead after epoch 6" in said[2]


def test_patience_stops_a_dead_network_after_so_many_epochs_in_a_row():
    health, said = check([0.0], patience=3)
    lif = health._record.layers[0]
    for epoch, rate in enumerate((0.0, 0.0, 0.1, 0.0, 0.0, 0.0)):
        lif.firing_rate = np.asarray([rate])
        health.on_epoch_begin(epoch)
        health.on_epoch_end(epoch, {"loss": 2.0, "cross_entropy": 2.0})
    assert "training stops after 3 epochs" in said[0]
    with pytest.raises(RunError, match="after epoch 6: .* for 3 epochs in a row") as caught:
        health.on_epoch_begin(6)
    assert "\n" not in str(caught.value)
    assert "checkpoints are kept" in str(caught.value)


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
