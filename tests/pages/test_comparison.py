"""What the page says of two runs on the same images."""

import types

import numpy as np
import pytest
import scipy.stats

from keras_mpdsgr import evaluation
from keras_mpdsgr.pages import comparison, robustness

N = 20


def report(right, attack="SAPGD", images="digest", eps=8 / 255, clean=None):
    """A report of one attack: `right` and `clean` say which images are classified right."""
    labels = np.arange(N) % 10
    zeros = np.zeros(N)
    record = evaluation.AttackRecord(
        norm="linf",
        attack={"class": attack, "arguments": {"gradient": "assg"}},
        prediction=np.where(right, labels, labels + 1),
        loss=zeros,
        linf=zeros,
        l2=zeros,
    )
    clean_prediction = labels if clean is None else np.where(clean, labels, labels + 1)
    return evaluation.Report(labels, clean_prediction, {"mine": record}, eps, images=images)


def run_of(name, **reports):
    """A run as the page knows it, with these reports."""
    config = types.SimpleNamespace(dataset="digits")
    return types.SimpleNamespace(name=name, path=f"runs/{name}", config=config, reports=reports)


def pair_of(first, second):
    """What the page says of a pair of runs that have these reports."""
    one, other = run_of("one", final=first), run_of("other", final=second)
    (pair,) = comparison.comparison([one, other])["pairs"]
    assert (pair["one"], pair["other"]) == (one, other)
    return pair


def rows_of(pair):
    (report,) = pair["reports"]
    assert report["name"] == "final"
    return report["rows"]


def numbers(row):
    return row["only_first"], row["only_second"], row["p"], row["better"]


def test_two_runs_are_compared_by_mcnemars_exact_test_on_the_same_images():
    first = [True] * 12 + [False] * 8
    second = [True] * 2 + [False] * 16 + [True] * 2
    pair = pair_of(report(first), report(second))
    # 10 images only the first gets right, 2 only the second: a sign test.
    p = 2 * scipy.stats.binom.cdf(2, 12, 0.5)
    rows = {row["name"]: numbers(row) for row in rows_of(pair)}
    assert rows == {
        "clean": (0, 0, "1", None),
        "mine": (10, 2, f"{p:.2g}", pair["one"]),
        "worst_case": (10, 2, f"{p:.2g}", pair["one"]),
    }
    assert not pair["commands"]


def test_an_image_that_is_wrong_when_clean_is_broken_in_the_worst_case():
    right = np.array([True] * 10 + [False] * 10)
    clean = np.arange(N) != 3
    rows = {row["name"]: row for row in rows_of(pair_of(report(right), report(right, clean=clean)))}
    assert numbers(rows["mine"])[:2] == (0, 0)
    assert numbers(rows["clean"])[:2] == (1, 0)
    assert numbers(rows["worst_case"])[:2] == (1, 0)


@pytest.mark.parametrize("changes", [{"eps": 0.1}, {"images": "another digest"}])
def test_runs_that_met_other_images_or_another_eps_are_not_compared(changes):
    right = [True] * 10 + [False] * 10
    first = report(right)
    first.command = "python -m trainers.attack --run_dir=runs/one --suite=standard --limit=20"
    pair = pair_of(first, report(right, **changes))
    assert pair["reports"] == []
    assert pair["commands"] == [
        "python -m trainers.attack --run_dir=runs/other --suite=standard --limit=20"
    ]


def test_reports_are_compared_by_their_settings_not_by_the_names_of_their_files():
    right = [True] * 10 + [False] * 10
    like, unlike = report(right), report(right, attack="PGD")
    one, other = run_of("one", strongest=like, weak=unlike), run_of("other", mine=like)
    (pair,) = comparison.comparison([one, other])["pairs"]
    (compared,) = pair["reports"]
    assert compared["name"] == "strongest and mine"
    assert [row["name"] for row in compared["rows"]] == ["clean", "mine", "worst_case"]
    assert compared["left_out"] == {}


def test_a_report_is_compared_once_with_the_one_of_its_own_name_if_others_are_alike():
    held = report([True] * 10 + [False] * 10)
    one, other = run_of("one", a=held, b=held), run_of("other", b=held, a=held)
    (pair,) = comparison.comparison([one, other])["pairs"]
    assert sorted(compared["name"] for compared in pair["reports"]) == ["a", "b"]


def test_runs_on_different_data_sets_are_said_to_be_so_and_no_command_is_given():
    runs = [run_of(name, final=report([True] * N, images=name)) for name in ("digits", "cifar10")]
    for run in runs:
        run.reports["final"].config["dataset"] = run.name
    (pair,) = comparison.comparison(runs)["pairs"]
    assert (pair["reports"], pair["commands"]) == ([], [])
    assert pair["datasets"] == ("digits", "cifar10")


def test_a_run_that_was_not_attacked_is_of_the_data_set_that_it_was_trained_on():
    held = report([True] * N)
    held.config["dataset"] = "cifar10"
    held.command = "python -m trainers.attack --run_dir=runs/one --suite=standard"
    (pair,) = comparison.comparison([run_of("one", final=held), run_of("other")])["pairs"]
    assert (pair["datasets"], pair["commands"]) == (("cifar10", "digits"), [])


def test_a_command_imports_the_modules_of_its_attacks_and_of_its_model():
    held = report([True] * N, images="others")
    held.command = "python -m trainers.attack --run_dir=r --import=my_attacks --attacks=mine"
    (pair,) = comparison.comparison([run_of("one", mine=held), run_of("other")])["pairs"]
    (command,) = pair["commands"]
    assert command.endswith("--run_dir=runs/other --attacks=mine --import=my_attacks")
    flags = "--model_file=net.keras --dataset=digits --import=my_layers --attacks=fgsm"
    of_file = report([True] * N)
    of_file.command = f"python -m trainers.attack {flags}"
    file = run_of("net", fgsm=of_file)
    file.config = None
    (pair,) = comparison.comparison([run_of("one", mine=held), file])["pairs"]
    assert "--import=my_attacks,my_layers" in pair["commands"][0]


def test_where_neither_was_attacked_both_commands_are_there():
    (pair,) = comparison.comparison([run_of("one"), run_of("other")])["pairs"]
    assert pair["commands"] == [
        f"python -m trainers.attack --run_dir=runs/{name} --suite=strongest --checks"
        for name in ("one", "other")
    ]


def test_a_model_file_is_attacked_as_the_run_was_with_its_own_data_set():
    flags = "--model_file=net.keras --dataset=digits --results_dir=r --attacks=fgsm --limit=5"
    held = report([True] * N)
    held.command = f"python -m trainers.attack {flags}"
    file = run_of("net", fgsm=held)
    file.config = None
    of_run = report([True] * N, images="others")
    of_run.command = "python -m trainers.attack --run_dir=runs/one --suite=strongest --data_dir=d"
    (pair,) = comparison.comparison([run_of("one", strongest=of_run), file])["pairs"]
    assert pair["commands"] == [
        "python -m trainers.attack --model_file=net.keras --dataset=digits --results_dir=r "
        "--suite=strongest"
    ]
    (pair,) = comparison.comparison([run_of("one"), file])["pairs"]
    said = "python -m trainers.attack --run_dir=runs/one --attacks=fgsm --limit=5"
    assert pair["commands"] == [said]


def test_an_attack_with_other_settings_is_named_and_not_compared():
    right = [True] * 10 + [False] * 10
    pair = pair_of(report(right), report(right, attack="PGD"))
    assert [row["name"] for row in rows_of(pair)] == ["clean"]
    assert set(pair["reports"][0]["left_out"]) == {"mine", "worst_case"}


def test_a_single_run_is_compared_with_nothing():
    assert comparison.comparison([types.SimpleNamespace(reports={})]) is None


def test_attacks_stand_under_their_threat_model_with_its_worst_case():
    zeros = np.zeros(4)
    made = {"norm": "l2", "attack": {"class": "CW", "arguments": {}}, "prediction": [0, 0, 1, 1]}
    records = {
        name: evaluation.AttackRecord(**made | {"norm": norm}, loss=zeros, linf=zeros, l2=zeros)
        for name, norm in (("noise8", "noise"), ("cw", "l2"), ("pgd", "linf"), ("own", "l1"))
    }
    held = evaluation.Report(np.zeros(4, int), np.zeros(4, int), records, eps=8 / 255)
    run = types.SimpleNamespace(reports={"final": held})
    (suite,) = robustness.attacks([run])["suites"]
    assert [group["names"] for group in suite["groups"]] == [
        ["clean"],
        ["pgd", "worst_case"],
        ["cw", "worst_case_l2"],
        ["noise8"],
        ["own"],
    ]
