"""Figures written from results made by hand."""

import csv

import pytest

from trainers.reproduction import attack_groups, figure_plans, figures
from trainers.reproduction.runs import Recipe
from trainers.reproduction.scales import SCALES
from trainers.reproduction.store import Store

ALL_MEASURED = {"clean": 0.9, "fgsm": 0.5, "pgd": 0.4, "bim": 0.3, "worst_case": 0.2}


@pytest.fixture
def made(report_of, tmp_path):
    """A function of a figure's name: its plan, and a store with a result for each reading."""

    def made(name, scale="smoke"):
        recipe = Recipe(SCALES[scale])
        store = Store(tmp_path, SCALES[scale])
        figure = figure_plans.figure(name, recipe)
        found = {}
        for reading in figure.readings():
            for i, run in enumerate(reading.runs):
                substitute = reading.substitutes[i] if reading.substitutes else None
                task = attack_groups.Task(run, attack_groups.group_of(reading.measure), substitute)
                # A stronger attack, a lower share.
                digits = "".join(c for c in reading.measure if c.isdigit())
                share = ALL_MEASURED.get(reading.measure, 0.8 - 0.02 * int(digits or 0))
                found.setdefault(task, {})[reading.measure] = max(share, 0)
        for task, shares in found.items():
            if task.group is not None:
                store.write_result(task, report_of(shares, 50))
        return figure, store, recipe

    return made


@pytest.mark.parametrize("name", ["2", "3", "eta", "timesteps"])
def test_a_figure_is_a_picture_its_figures_and_a_page_that_says_what_it_is(name, tmp_path, made):
    figure, store, recipe = made(name)
    figures.write_figure(tmp_path, figure, store, recipe, attacker=None)
    assert (tmp_path / f"figure{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / f"figure{name}.md").read_text()
    assert page.startswith("# smoke: digits in place of CIFAR-10, not the paper's data.")
    assert f"![{figure.caption}](figure{name}.png)" in page
    with (tmp_path / f"figure{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(figure.readings())


def test_the_points_of_figure_2_are_the_attacks_at_each_strength(tmp_path, made):
    figure, store, recipe = made("2")
    figures.write_figure(tmp_path, figure, store, recipe, attacker=None)
    with (tmp_path / "figure2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["curve"] for row in rows} == {"vanilla", "ours", "vanilla, AT", "ours, AT"}
    found = {(row["panel"], row["at"]): row["value"] for row in rows if row["curve"] == "ours"}
    assert found["WRN16: PGD, 4 steps", "8"] == "64.00"  # 0.8 - 0.02 * 8
    assert found["VGG11: PGD, eps 8/255", "4"] == "72.00"


@pytest.mark.parametrize("name", ["omega", "mpd"])
def test_a_figure_without_any_finished_run_says_so(name, tmp_path, made):
    figure, store, recipe = made(name)
    figures.write_figure(tmp_path, figure, store, recipe, attacker=None)
    assert not (tmp_path / f"figure{name}.png").exists()
    assert "no run of it has finished" in (tmp_path / f"figure{name}.csv").read_text()
