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


def pair_of(first, second):
    """What the page says of a pair of runs that have these reports."""
    one, other = (
        types.SimpleNamespace(name=name, reports={"final": held})
        for name, held in (("one", first), ("other", second))
    )
    (suite,) = comparison.comparison([one, other])["suites"]
    (pair,) = suite["pairs"]
    assert (pair["one"], pair["other"], suite["name"]) == (one, other, "final")
    return pair


def numbers(row):
    return row["only_first"], row["only_second"], row["p"], row["better"]


def test_two_runs_are_compared_by_mcnemars_exact_test_on_the_same_images():
    first = [True] * 12 + [False] * 8
    second = [True] * 2 + [False] * 16 + [True] * 2
    pair = pair_of(report(first), report(second))
    # 10 images only the first gets right, 2 only the second: a sign test.
    p = 2 * scipy.stats.binom.cdf(2, 12, 0.5)
    rows = {row["name"]: numbers(row) for row in pair["rows"]}
    assert rows == {
        "clean": (0, 0, "1", None),
        "mine": (10, 2, f"{p:.2g}", pair["one"]),
        "worst_case": (10, 2, f"{p:.2g}", pair["one"]),
    }
    assert not pair["refused"]


def test_an_image_that_is_wrong_when_clean_is_broken_in_the_worst_case():
    right = np.array([True] * 10 + [False] * 10)
    clean = np.arange(N) != 3
    rows = {row["name"]: row for row in pair_of(report(right), report(right, clean=clean))["rows"]}
    assert numbers(rows["mine"])[:2] == (0, 0)
    assert numbers(rows["clean"])[:2] == (1, 0)
    assert numbers(rows["worst_case"])[:2] == (1, 0)


@pytest.mark.parametrize("changes", [{"eps": 0.1}, {"images": "another digest"}])
def test_runs_that_met_other_images_or_another_eps_are_not_compared(changes):
    right = [True] * 10 + [False] * 10
    pair = pair_of(report(right), report(right, **changes))
    assert pair["refused"]
    assert pair["rows"] == []


def test_an_attack_with_other_settings_is_named_and_not_compared():
    right = [True] * 10 + [False] * 10
    pair = pair_of(report(right), report(right, attack="PGD"))
    assert [row["name"] for row in pair["rows"]] == ["clean"]
    assert set(pair["left_out"]) == {"mine", "worst_case"}


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
