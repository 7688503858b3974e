"""Figures written from results made by hand."""

import csv

import pytest

from trainers.reproduction import attack_groups, figure_plans, figures
from trainers.reproduction.runs import Recipe
from trainers.reproduction.scales import SCALES
from trainers.reproduction.store import Store

ALL_MEASURED = {"clean": 0.9, "fgsm": 0.5, "pgd": 0.4, "bim": 0.3, "worst_case": 0.2}


def made(name, root, scale="smoke"):
    """A figure's plan, and a store with a result for each of its readings."""
    recipe = Recipe(SCALES[scale])
    store = Store(root, SCALES[scale])
    figure = figure_plans.figure(name, recipe)
    for reading in figure.readings():
        for i, run in enumerate(reading.runs):
            substitute = reading.substitutes[i] if reading.substitutes else None
            task = attack_groups.Task(run, attack_groups.group_of(reading.measure), substitute)
            if task.group is None:
                continue
            found = store.result(task) or {"n": 50, "clean": 0.9, "accuracy": {}, "intervals": {}}
            # A stronger attack, a lower share.
            digits = "".join(c for c in reading.measure if c.isdigit())
            share = ALL_MEASURED.get(reading.measure, 0.8 - 0.02 * int(digits or 0))
            found["accuracy"][reading.measure] = share
            found["worst_case"] = ALL_MEASURED["worst_case"]
            found["intervals"][reading.measure] = [share - 0.1, share + 0.1]
            store.write_result(task, found)
    return figure, store, recipe


@pytest.mark.parametrize("name", ["2", "3", "eta", "timesteps"])
def test_a_figure_is_a_picture_its_figures_and_a_page_that_says_what_it_is(name, tmp_path):
    figure, store, recipe = made(name, tmp_path)
    figures.write_figure(tmp_path, figure, store, recipe, attacker=None)
    assert (tmp_path / f"figure{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / f"figure{name}.md").read_text()
    assert page.startswith("# smoke: digits in place of CIFAR-10, not the paper's data.")
    assert f"![{figure.caption}](figure{name}.png)" in page
    with (tmp_path / f"figure{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(figure.readings())


def test_the_points_of_figure_2_are_the_attacks_at_each_strength(tmp_path):
    figure, store, recipe = made("2", tmp_path)
    figures.write_figure(tmp_path, figure, store, recipe, attacker=None)
    with (tmp_path / "figure2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["curve"] for row in rows} == {"vanilla", "ours", "vanilla, AT", "ours, AT"}
    found = {(row["panel"], row["at"]): row["value"] for row in rows if row["curve"] == "ours"}
    assert found["WRN16: PGD, 4 steps", "8"] == "64.00"  # 0.8 - 0.02 * 8
    assert found["VGG11: PGD, eps 8/255", "4"] == "72.00"


@pytest.mark.parametrize("name", ["omega", "mpd"])
def test_a_figure_without_any_finished_run_says_so(name, tmp_path):
    figure, store, recipe = made(name, tmp_path)
    figures.write_figure(tmp_path, figure, store, recipe, attacker=None)
    assert not (tmp_path / f"figure{name}.png").exists()
    assert "no run of it has finished" in (tmp_path / f"figure{name}.csv").read_text()
