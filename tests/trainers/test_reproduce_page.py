"""docs/reproduce.md: its durations and numbers are what the programs and committed files say."""

import json
import pathlib
import re
import types

import numpy as np
import pytest

from trainers.reproduction import durations, figure_plans, paper, plan
from trainers.reproduction.execution import Agenda
from trainers.reproduction.runs import Recipe
from trainers.reproduction.scales import SCALES
from trainers.reproduction.store import Store

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "reproduce.md").read_text()


def told(plans, scale, folder):
    """Runs and duration, as the last line of --dry_run gives them."""
    agenda = Agenda(Store(folder, SCALES[scale]), plans(Recipe(SCALES[scale])))
    return f"{len(agenda.runs)}: {durations.duration(agenda.seconds_left())}"


def tables(recipe):
    return [plan.table(number, recipe) for number in plan.NUMBERS]


def everything(recipe):
    return tables(recipe) + [figure_plans.figure(name, recipe) for name in figure_plans.NAMES]


ASKED = {
    **{f"`--table {n}`": lambda recipe, n=n: [plan.table(n, recipe)] for n in plan.NUMBERS},
    **{
        f"`--figure {n}`": lambda recipe, n=n: [figure_plans.figure(n, recipe)]
        for n in figure_plans.NAMES
    },
    "`--table all`": tables,
    "`--table all --figure all`": everything,
}


@pytest.mark.parametrize("asked", ASKED)
def test_the_durations_of_the_page_are_those_of_the_dry_run(asked, tmp_path):
    cells = [told(ASKED[asked], scale, tmp_path) for scale in ("paper", "cpu", "smoke")]
    assert f"| {asked} | {' | '.join(cells)} |\n" in PAGE


def test_the_step_that_a_reader_divides_by_is_the_formulas():
    (run,) = Recipe(SCALES["paper"]).runs("CIFAR-10", "VGG11", "Ours", 8)
    seconds = durations._step(run, run.config.batch_size)
    assert f"The formula takes {seconds:.1f} s for a step" in PAGE
    told = re.search(r"is (\d+) times as fast, and Table 1 would take it about ten days", PAGE)
    share = told[1]
    assert round(seconds / 0.1) == int(share)
    asked = "`--table 1`"
    whole = re.search(rf"^\| {asked} \| \d+: (\d+) days", PAGE, re.MULTILINE)[1]
    assert round(int(whole) / int(share)) == 10


@pytest.mark.parametrize("file", ["half-width-training", "bfloat16-training", "full_width"])
def test_the_formula_is_near_what_was_measured(file):
    measured = json.loads((REPOSITORY / "docs" / "performance" / f"{file}.json").read_text())
    if file == "full_width":
        case, seconds = measured["case"], measured["figures"]["ours"]["steps"]
    else:
        (entry,) = measured["cases"]
        case, seconds = entry["case"], entry["seconds"]["train_step"]["ours"]
    config = types.SimpleNamespace(
        timesteps=case["timesteps"], width=case["width"], model="vgg11", batch_size=case["batch"]
    )
    run = types.SimpleNamespace(config=config, size=(50_000, case["image_size"], 3))
    expected = durations._step(run, case["batch"])
    assert np.median(seconds) == pytest.approx(expected, rel=0.2)


def test_the_misprints_of_the_page_follow_from_the_printed_numbers():
    def row(method, section="Adversarial Training"):
        return paper.row("1", [method], section)

    best = {name: row("Ours")["CIFAR-10 FGSM"] - row(name)["CIFAR-10 FGSM"] for name in
            ("StoG", "FEEL")}  # fmt: skip
    assert f"{best['StoG']:.2f}" == "13.52"
    assert f"{best['FEEL']:.2f}" == "13.65"
    assert "13.52" in PAGE and "13.65" in PAGE
    gaps = {
        (section, method, dataset): row(method, section)[f"{dataset} PGD"]
        - row(method, section)[f"{dataset} BIM"]
        for section, first in (("Vanilla Training", "REG"), ("Adversarial Training", "RAT"))
        for method in (first, "StoG", "DLIF", "FEEL", "SR", "Ours")
        for dataset in ("CIFAR-10", "CIFAR-100")
    }
    widest = max(gaps, key=gaps.get)
    assert widest == ("Adversarial Training", "StoG", "CIFAR-100")
    assert f"{gaps.pop(widest):.2f}" == "6.54"
    assert f"{max(gaps.values()):.2f}" == "3.70"
    assert "6.54" in PAGE and "3.70" in PAGE


STANDS_FOR = {"plain": "VGG11, BPTT", "paper_at": "VGG11, BPTT, AT"}


@pytest.mark.parametrize("name", STANDS_FOR)
def test_our_numbers_beside_the_papers_are_those_of_the_study(name):
    found = json.loads((REPOSITORY / "docs" / "robust-training" / f"{name}.json").read_text())
    attacked = found["attacked"]["screen"]
    shares = (found["clean"]["right"], attacked["right"]["pgd"], attacked["worst_case_right"])
    ours = [f"{100 * count / found['clean']['n']:.1f}" for count in shares]
    labels = ["CIFAR-10", STANDS_FOR[name]]
    theirs = [f"{paper.of_cell('2', labels, '', key)[0]:.2f}" for key in ("Clean", "PGD")]
    line = f"| {theirs[0]} | {ours[0]} | {theirs[1]} | {ours[1]} | {ours[2]} |"
    assert line in PAGE
