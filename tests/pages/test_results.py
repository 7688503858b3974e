"""What the page says of a report: its strongest attack, weak attacks, samples, paired tests."""

import csv
import json
import types

import numpy as np
import pytest
import scipy.stats

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.pages import comparison, wording
from keras_mpdsgr.pages.results import Result, read_sweep

SETTINGS = {
    "fgsm": "FGSM(eot=1, eps=0.03, gradient='bptt')",
    "pgd": "PGD(eot=1, eps=0.03, gradient='bptt', keep='last')",
    "pgd_bptr": "PGD(eot=1, eps=0.03, gradient='bptr', keep='last')",
    "pdsg": "PGD(eot=1, eps=0.03, gradient='pdsg', keep='first')",
    "sapgd": "SAPGD(eot=1, eps=0.03, gradient='assg')",
    "transfer": "Transfer(PGD(gradient='bptt') on 'vgg11')",
    "square": "Square(eps=0.03)",
}


def content(accuracy, n=20, clean=0.9, norms=None, **changes):
    shares = {"clean": clean, **accuracy, "worst_case": min([clean, *accuracy.values()])}
    return {
        "n": n,
        "eps": 8 / 255,
        "clean": clean,
        "accuracy": accuracy,
        "worst_case": shares["worst_case"],
        "worst_case_l2": None,
        "intervals": {k: [max(v - 0.1, 0), min(v + 0.1, 1)] for k, v in shares.items()},
        "attacks": {
            k: {"norm": (norms or {}).get(k, "linf"), "settings": SETTINGS.get(k, "")}
            for k in accuracy
        },
        "config": {"dataset": "digits"},
        **changes,
    }


def read(tmp_path, *arguments, name="mine", **changes):
    return Result.read(tmp_path / f"{name}.json", content(*arguments, **changes))


def write_samples(path, table):
    """`table`: attack -> {index: right}; labels are index % 10."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "attack", "index", "label", "prediction", "end"])
        for attack, samples in table.items():
            for index, right in samples.items():
                label = index % 10
                writer.writerow(["r", attack, index, label, label if right else label + 1, "."])


def test_the_strongest_attack_is_the_one_of_the_threat_model_that_leaves_least(tmp_path):
    accuracy = {"fgsm": 0.5, "sapgd": 0.1, "square": 0.1, "cw": 0.0}
    result = read(tmp_path, accuracy, norms={"cw": "l2"})
    assert result.strongest() == "sapgd"
    assert result.strongest("l2") == "cw"
    assert result.strongest("noise") is None


@pytest.mark.parametrize(
    ("attacks", "weak"),
    [
        (["fgsm", "pgd", "pgd_bptr"], True),
        (["fgsm", "transfer"], True),
        (["fgsm", "sapgd"], False),
        (["pdsg"], False),
    ],
)
def test_reports_of_plain_steps_along_a_fixed_gradient_are_weak(tmp_path, attacks, weak):
    assert read(tmp_path, dict.fromkeys(attacks, 0.5)).only_weak is weak


@pytest.mark.parametrize(
    ("name", "weak"), [("pgd50", True), ("bim_bptr", True), ("sapgd", False), ("hart", False)]
)
def test_where_settings_are_missing_the_name_tells_a_weak_attack(tmp_path, name, weak):
    assert read(tmp_path, {name: 0.5}, attacks={}).only_weak is weak


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n": 0}, "number of images"),
        ({"n": "many"}, "number of images"),
        ({"clean": 1.2}, "clean is no share"),
        ({"intervals": {}}, "'clean' is missing"),
        ({"accuracy": None}, "damaged report"),
        ({"accuracy": {"fgsm": "half"}}, "damaged report"),
        ({"eps": None}, "damaged report"),
        ({"checks": {"a": "pass"}}, "damaged report"),
    ],
)
def test_a_damaged_report_is_refused_by_name(tmp_path, changes, said):
    with pytest.raises(SetupError, match=said) as error:
        Result.read(tmp_path / "mine.json", content({"fgsm": 0.5}) | changes)
    assert "mine.json" in str(error.value)


@pytest.mark.parametrize("counts", [[3, 21], [3], [3, -1], None])
def test_a_damaged_sweep_is_refused(tmp_path, counts):
    held = {"name": "eps", "values": [0.1, 0.2], "counts": counts, "total": 20}
    with pytest.raises(SetupError, match="damaged sweep"):
        read_sweep(tmp_path / "sweep.json", held)


def test_the_worst_case_of_the_samples_is_what_every_attack_leaves(tmp_path):
    result = read(tmp_path, {"fgsm": 0.5, "sapgd": 0.5}, n=4, clean=0.75, worst_case=0.25)
    right = {"fgsm": [1, 1, 0, 0], "sapgd": [1, 0, 1, 0]}
    write_samples(result.samples_path, {k: dict(enumerate(v)) for k, v in right.items()})
    labels, found = result.samples()
    np.testing.assert_array_equal(labels, [0, 1, 2, 3])
    np.testing.assert_array_equal(found["worst_case"], [True, False, False, False])
    assert "clean" not in found  # nobody has written it down


def test_where_broken_samples_were_spared_those_that_were_met_were_right_when_clean(tmp_path):
    config = {"drop_broken": True}
    result = read(tmp_path, {"fgsm": 0.5, "sapgd": 0.25}, n=4, clean=0.75, config=config)
    write_samples(
        result.samples_path, {"fgsm": {0: True, 1: True, 3: False}, "sapgd": {0: True, 1: False}}
    )
    _, found = result.samples()
    np.testing.assert_array_equal(found["clean"], [True, True, False, True])
    np.testing.assert_array_equal(found["sapgd"], [True, False, False, False])


def test_samples_of_another_run_than_the_reports_are_not_used(tmp_path):
    result = read(tmp_path, {"fgsm": 0.5}, n=4)
    write_samples(result.samples_path, {"fgsm": dict.fromkeys(range(4), True)})
    assert result.samples()[1] == {}


@pytest.mark.parametrize("text", ["", "run,attack\nr,fgsm\n", "\x00", "attack,index,label\na,b,c"])
def test_a_broken_file_of_samples_does_not_stop_the_page(tmp_path, text):
    result = read(tmp_path, {"fgsm": 0.5}, n=4)
    result.samples_path.write_text(text)
    samples = result.samples()
    assert samples is None or samples[1] == {}


def runs(tmp_path, first, second, **changes):
    """Two runs, each with one report of `fgsm` on 20 images of which these are right."""
    made = []
    for number, right in enumerate((first, second)):
        folder = tmp_path / str(number)
        folder.mkdir()
        share = sum(right) / len(right)
        clean = max(share, 0.9)
        own = changes if number else {}
        result = read(folder, {"fgsm": share}, clean=clean, **own)
        write_samples(result.samples_path, {"fgsm": dict(enumerate(right))})
        letter = "AB"[number]
        made.append(
            types.SimpleNamespace(
                number=number, letter=letter, name=f"run{number}", reports={"mine": result}
            )
        )
    return made


def rows(pair):
    """What the page says of a pair, by row."""
    (suite,) = comparison.comparison(pair)["suites"]
    ((_, _, found),) = suite["compared"]
    return {r["name"]: (r["only_first"], r["only_second"], r["p"], r["better"]) for r in found}


def test_two_runs_are_compared_by_mcnemars_exact_test_on_the_same_images(tmp_path):
    first = [True] * 12 + [False] * 8
    second = [True] * 2 + [False] * 16 + [True] * 2
    one, other = runs(tmp_path, first, second)
    # 10 images only the first gets right, 2 only the second: a sign test.
    p = 2 * scipy.stats.binom.cdf(2, 12, 0.5)
    assert rows([one, other])["fgsm"] == (10, 2, f"{p:.2g}", one)


def test_clean_accuracy_is_compared_where_its_predictions_are_written_down(tmp_path):
    attacked = [True] * 2 + [False] * 18
    pair = runs(tmp_path, attacked, attacked)
    assert "clean" not in rows(pair)
    # Of 20 clean images 18 are right: 2 that only the first gets right, 2 that only the second.
    for run, wrong in zip(pair, ([18, 19], [16, 17]), strict=True):
        clean = {index: index not in wrong for index in range(20)}
        table = {"clean": clean, "fgsm": dict(enumerate(attacked))}
        write_samples(run.reports["mine"].samples_path, table)
    p = 2 * scipy.stats.binom.cdf(2, 4, 0.5)
    assert rows(pair) == {
        "clean": (2, 2, f"{min(p, 1):.2g}", None),
        "fgsm": (0, 0, "1", None),
        "worst_case": (0, 0, "1", None),
    }


def test_an_image_that_is_wrong_when_clean_is_broken_in_the_worst_case(tmp_path):
    result = read(tmp_path, {"fgsm": 0.75}, n=4, clean=0.75, worst_case=0.5)
    right = {"clean": [1, 1, 1, 0], "fgsm": [1, 1, 0, 1]}
    write_samples(result.samples_path, {k: dict(enumerate(v)) for k, v in right.items()})
    _, found = result.samples()
    np.testing.assert_array_equal(found["worst_case"], [True, True, False, False])
    np.testing.assert_array_equal(found["clean"], [True, True, True, False])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"eps": 0.1}, "another eps"),
        ({"config": {"dataset": "cifar10"}}, "other data sets"),
    ],
)
def test_runs_that_met_other_attacks_are_not_compared(tmp_path, changes, said):
    right = [True] * 10 + [False] * 10
    (suite,) = comparison.comparison(runs(tmp_path, right, right, **changes))["suites"]
    ((_, _, reason),) = suite["refused"]
    assert said in reason
    assert suite["compared"] == []


def test_a_single_run_is_compared_with_nothing(tmp_path):
    right = [True] * 10 + [False] * 10
    assert comparison.comparison(runs(tmp_path, right, right)[:1]) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fgsm", "FGSM"),
        ("pgd50", "PGD-50"),
        ("sapgd_dlr", "SA-PGD DLR"),
        ("pgd_bptr", "PGD BPTR"),
        ("cw_l2", "CW L2"),
        ("square", "square"),
        ("worst_case", "worst case"),
        ("<b>", "<b>"),
    ],
)
def test_attacks_are_called_as_papers_call_them(name, words):
    assert wording.display_name(name) == words


def test_a_report_read_is_the_report_written(tmp_path):
    written = content({"fgsm": 0.5, "sapgd": 0.1})
    again = Result.read(tmp_path / "a.json", json.loads(json.dumps(written)))
    assert {k: v.value for k, v in again.shares().items()} == {
        "clean": 0.9,
        "fgsm": 0.5,
        "sapgd": 0.1,
        "worst_case": 0.1,
    }
    assert (again.shares()["fgsm"].low, again.shares()["fgsm"].high) == pytest.approx((0.4, 0.6))


def test_what_counts_clean_images_only_is_no_report_of_attacks():
    counted = {"n": 4, "clean": 0.5, "intervals": {"clean": [0.1, 0.9]}}
    assert not Result.holds({**counted, "accuracy": {}})
    assert Result.holds({**counted, "accuracy": {"fgsm": 0.25}})
    assert not Result.holds(counted)
