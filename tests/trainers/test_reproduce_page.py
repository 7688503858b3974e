"""docs/reproduce.md: its durations and numbers are what the programs and committed files say."""

import json
import pathlib

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
    assert f"{durations._step(run, run.config.batch_size):.1f}" == "6.2"
    assert "The formula takes 6.2 s for a step" in PAGE


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
