"""Reports written and read back, what they say of attacks, and two of them against each other."""

import copy
import dataclasses
import hashlib
import json
import struct

import hypothesis
import keras
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_mpdsgr import attacks, evaluation, experiments, surrogates
from keras_mpdsgr.evaluation import AttackRecord, Check, Report, Sweep, describe

NAMES = st.text(max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.none()
SETTINGS = st.dictionaries(NAMES, NUMBERS | st.booleans() | NAMES | st.lists(NUMBERS, max_size=2))


@st.composite
def reports(draw):
    n = draw(st.integers(1, 12))
    classes = hnp.arrays(np.int32, n, elements=st.integers(0, 3))
    distances = hnp.arrays(np.float32, n, elements=st.floats(0, 1e9, width=32) | st.just(np.nan))

    def record():
        return AttackRecord(
            norm=draw(st.sampled_from(["linf", "l2", "noise"])),
            attack={"class": draw(NAMES), "arguments": draw(SETTINGS)},
            prediction=draw(hnp.arrays(np.int32, n, elements=st.integers(-1, 3))),
            loss=draw(distances),
            linf=draw(distances),
            l2=draw(distances),
            seconds=draw(st.floats(0, 1e6)),
            gradient_calls=draw(st.integers(0, 2**40)),
        )

    check = st.builds(Check, st.sampled_from(["pass", "warn", "fail", "not run"]), SETTINGS, NAMES)
    numbers = st.lists(st.integers(0, 2**40), min_size=n, max_size=n, unique=True)
    return Report(
        labels=draw(classes),
        clean_prediction=draw(classes),
        records={name: record() for name in draw(st.lists(NAMES, max_size=4, unique=True))},
        eps=draw(st.floats(0, 1)),
        config=draw(SETTINGS),
        checks=draw(st.dictionaries(NAMES, check, max_size=3)),
        indices=draw(st.none() | numbers.map(np.array)),
        images=draw(NAMES),
        command=draw(st.none() | NAMES),
    )


@hypothesis.given(report=reports())
@hypothesis.settings(max_examples=60)
def test_a_report_read_is_the_report_written(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.json"
    report.to_json(path)
    again = Report.from_json(path)
    assert again == report
    assert again.to_dict() == report.to_dict() == strict_json(path)
    for name in ("labels", "clean_prediction", "indices"):
        np.testing.assert_array_equal(getattr(again, name), getattr(report, name))
    assert again.checks == report.checks
    assert (again.verdict, again.command, again.images) == (
        report.verdict, report.command, report.images,
    )  # fmt: skip
    assert list(again.records) == list(report.records)
    for name, record in report.records.items():
        ours = vars(again.records[name])
        for figure, value in vars(record).items():
            np.testing.assert_array_equal(ours[figure], value)


def strict_json(path):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


# One pixel; class 1 above 1/2. Clean mistake: the fourth.
X = np.float32([[0.1], [0.4], [0.6], [0.45], [0.9]])
Y = np.array([0, 0, 1, 1, 1])
SUITE = {
    "fgsm": attacks.FGSM(eps=0.12),
    "bim": attacks.BIM(eps=0.12, steps=12, step_size=0.02),
    "noise": attacks.UniformNoise(bound=0.3),
}


@pytest.fixture(scope="module")
def model():
    dense = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((1,)), dense])
    dense.set_weights([np.float32([[-5, 5]]), np.float32([2.5, -2.5])])
    return model


def evaluate(model, suite=SUITE, x=X, y=Y, eps=0.12, **options):
    return evaluation.evaluate(model, x, y, suite, eps=eps, **options)


def test_what_an_evaluation_measured_is_in_its_file_sample_by_sample(model, tmp_path):
    report = evaluate(model, indices=np.array([3, 1, 4, 15, 9]), drop_broken=True)
    report.to_json(tmp_path / "report.json")
    held = strict_json(tmp_path / "report.json")
    assert Report.from_json(tmp_path / "report.json") == report
    samples = held["samples"]
    assert samples["index"] == [3, 1, 4, 15, 9]
    assert samples["label"] == Y.tolist()
    assert samples["clean"] == [0, 0, 1, 0, 1]
    # .4 + .12 is above 1/2 and .6 - .12 below; the fourth was wrong before.
    assert samples["attacks"]["fgsm"]["prediction"] == [0, 1, 0, None, 1]
    assert samples["attacks"]["bim"]["prediction"] == [0, None, None, None, 1]
    assert samples["attacks"]["bim"]["loss"][1:4] == [None] * 3
    assert held["attacks"]["bim"]["attack"] == {
        "class": "BIM",
        "arguments": SUITE["bim"].get_config(),
    }
    # A list stands on one line, so that a large report can still be looked at.
    assert len((tmp_path / "report.json").read_text().splitlines()) < 130


def test_clean_accuracy_alone_is_a_report_too(model, tmp_path):
    report = evaluate(model, {})
    report.to_json(tmp_path / "clean.json")
    again = Report.from_json(tmp_path / "clean.json")
    assert (again.clean, again.accuracy, again.worst_case) == (4 / 5, {}, None)


def test_the_hash_is_that_of_pixels_shape_and_labels(model):
    floats = struct.pack("<5f", *X[:, 0])
    expected = hashlib.sha256(b"(5, 1)" + floats + struct.pack("<5q", *Y)).hexdigest()
    assert evaluate(model, {}).images == expected
    assert evaluation.image_hash(X.reshape(1, 5), Y) != expected
    assert evaluation.image_hash(X, 1 - Y) != expected


@pytest.fixture(scope="module")
def held(model):
    report = evaluate(model)
    report.checks = {"more_steps": Check("pass", {"steps_10": 0.5}, "It falls.")}
    return report.to_dict()


def test_markdown_tells_the_checks_and_of_what_did_not_pass_what_to_do(model):
    report = evaluate(model)
    assert "Verdict" not in report.to_markdown()
    report.checks = {
        "more_steps_never_help": Check("fail", {}, "It rises."),
        "gradients_are_not_zero": Check("pass", {}, "None is zero."),
    }
    lines = report.to_markdown().splitlines()
    assert f"Verdict: {report.verdict}" in lines
    (failed,) = (line for line in lines if line.startswith("| more steps never help | fail |"))
    assert failed.startswith("| more steps never help | fail | It rises. The attack does not conv")
    assert "| gradients are not zero | pass | None is zero. |" in lines


def change(held, place, value):
    held = copy.deepcopy(held)
    inner = held
    *outer, last = place.split(".")
    for name in outer:
        inner = inner[name]
    if value is KeyError:
        del inner[last]
    else:
        inner[last] = value
    return held


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("n", 6, "`n` does not agree with its samples"),
        ("clean", 0.9, "`clean` does not agree with its samples"),
        ("accuracy.fgsm", 0.9, "`accuracy` does not agree with its samples"),
        ("worst_case", 0.9, "`worst_case` does not agree with its samples"),
        ("samples.clean", [0, 0, 0, 0, 1], "`clean` does not agree with its samples"),
        ("samples.attacks.fgsm.prediction", [1] * 5, "`accuracy` does not agree"),
        ("samples", KeyError, "'samples' is missing"),
        ("attacks.fgsm.attack.class", KeyError, "'class' is missing"),
        ("samples.attacks.bim", KeyError, "'bim' is missing"),
        ("attacks.bim", KeyError, "`accuracy` does not agree with its samples"),
        ("samples.label", [], "damaged report"),
        ("samples.label", [0, 0, 1, 1, -1], "`label` must hold a whole number"),
        ("samples.label", [0, 0, 1, 1, 2**40], "damaged report"),
        ("samples.label", [0, 0, 1, 1, "one"], "damaged report"),
        ("samples.clean", [0, 0, 1, 0.5, 1], "`clean` must hold a whole number"),
        ("samples.index", [0, 1, 2, 3, 3], "3 twice"),
        ("samples.index", None, "damaged report"),
        ("samples.attacks.fgsm.loss", [0.1], "a number or null for each of the 5 samples"),
        ("samples.attacks.fgsm.linf", ["far"] * 5, "damaged report"),
        ("attacks.fgsm.seconds", -1, "`seconds`"),
        ("attacks.fgsm.norm", 2, "no norm"),
        ("eps", None, "`eps`"),
        ("eps", 10**400, "damaged report"),
        ("images", None, "is not text"),
        ("command", 1, "is not text"),
        ("config", None, "damaged report"),
        ("checks.more_steps", "pass", "damaged report"),
        ("checks.more_steps.status", "fine", "`status`"),
        ("attacks", [], "damaged report"),
        ("format", 4, "newer version: its format is 4"),
        ("format", KeyError, "older version, .* run the attack again"),
        ("clean", KeyError, "holds no report"),
    ],
)
def test_a_damaged_report_is_refused_in_one_line_that_names_it(held, tmp_path, place, value, said):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(change(held, place, value)))
    with pytest.raises(ValueError, match=said) as error:
        Report.from_json(path)
    assert str(error.value).startswith(f"{path} ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", "[" * 100_000, "NaN", '"n"'])
def test_what_is_no_report_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "mine.json"
    path.write_text(text)
    for kind in (Report, Sweep):
        with pytest.raises(ValueError) as error:
            kind.from_json(path)
        assert str(error.value).startswith(f"{path} ")
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="missing"):
        Report.from_json(tmp_path / "another.json")


def test_attacks_inside_attacks_surrogates_and_models_are_described_as_data(model):
    inner = attacks.PGD(eps=0.25, surrogate=surrogates.get("triangle", gamma=0.5))
    described = describe(attacks.Ensemble([inner, attacks.BIM(eps=np.float32(0.25))]))
    assert described["class"] == "Ensemble"
    first, second = described["arguments"]["members"]
    assert first["class"] == "PGD"
    assert first["arguments"]["surrogate"]["class"] == "Triangle"
    assert first["arguments"]["surrogate"]["config"]["gamma"] == 0.5
    assert second["arguments"]["eps"] == 0.25
    transferred = describe(attacks.Transfer(model, inner))
    assert transferred["arguments"]["substitute"] == model.name
    assert transferred["arguments"]["attack"] == first
    for one in (described, transferred):
        assert json.loads(json.dumps(one, allow_nan=False)) == one


@pytest.mark.parametrize(
    ("suite", "weak"),
    [
        ([attacks.FGSM(), attacks.PGD(), attacks.BIM(gradient="bptr")], True),
        ([attacks.FGSM(), attacks.RandomSigns()], True),
        ([attacks.FGSM(), attacks.SAPGD()], False),
        ([attacks.PGD(gradient="pdsg")], False),
        ([attacks.FGSM(), attacks.Square()], False),
        ([attacks.FGSM(), attacks.CarliniWagnerL2()], True),
        ([attacks.CarliniWagnerL2()], False),
    ],
)
def test_reports_of_plain_steps_along_a_fixed_gradient_are_weak(suite, weak):
    records = {str(i): AttackRecord.empty(1, attack) for i, attack in enumerate(suite)}
    assert Report(np.zeros(1), np.zeros(1), records, 0.1).only_weak is weak


def test_a_transfer_attack_is_weak_whatever_it_transfers(model):
    records = {"transfer": AttackRecord.empty(1, attacks.Transfer(model, attacks.SAPGD()))}
    assert Report(np.zeros(1), np.zeros(1), records, 0.1).only_weak


PGD = {"class": "PGD", "arguments": {"eps": 0.1}}


def made(clean, attacked, norms=(), cumulative=False, **changes):
    """A report of which it is said, image by image, what is right (1) and what is not (0)."""
    n = len(clean)
    records = {
        name: AttackRecord(dict(norms).get(name, "linf"), {**PGD, "name": name},
                           1 - np.array(right), *np.zeros((3, n)))
        for name, right in attacked.items()
    }  # fmt: skip
    config = {"drop_broken": cumulative}
    report = Report(np.zeros(n, int), 1 - np.array(clean), records, 0.1, config, images="same")
    return dataclasses.replace(report, **changes)


def test_the_strongest_attack_is_the_one_of_the_threat_model_that_leaves_least():
    right = {"fgsm": [1, 1, 0], "sapgd": [1, 0, 0], "square": [0, 0, 1], "cw": [0, 0, 0]}
    report = made([1, 1, 1], right, {"cw": "l2"})
    assert report.strongest() == "sapgd"
    assert report.strongest("l2") == "cw"
    assert report.strongest("noise") is None
    assert report.of_norm("linf") == ["fgsm", "sapgd", "square"]


def test_two_reports_are_compared_by_mcnemars_exact_test_image_by_image():
    first = [1] * 12 + [0] * 8
    second = [1] * 2 + [0] * 16 + [1] * 2
    found = made([1] * 20, {"fgsm": first}).compare(made([1] * 19 + [0], {"fgsm": second}))
    # 10 images only the first gets right, 2 only the second: a sign test.
    assert found["fgsm"] == pytest.approx(2 * scipy.stats.binom.cdf(2, 12, 0.5))
    assert (found["fgsm"].only_first, found["fgsm"].only_second) == (10, 2)
    assert (found["clean"], found["clean"].only_first, found["clean"].only_second) == (1, 1, 0)
    # In the worst case the last image, wrong when clean, is lost to the second.
    assert (found["worst_case"].only_first, found["worst_case"].only_second) == (10, 1)
    assert found.left_out == {}
    assert copy.deepcopy(found["fgsm"]).only_first == 10


def test_a_report_is_compared_from_its_file_alone(model, tmp_path):
    report = evaluate(model)
    report.to_json(tmp_path / "report.json")
    again = Report.from_json(tmp_path / "report.json")
    assert again.compare(report) == dict.fromkeys(["clean", *SUITE, "worst_case"], 1.0)


RIGHT = {"a": [1, 1, 0, 0], "b": [1, 0, 0, 0]}
CLEAN = [1, 1, 1, 0]


def test_attacks_that_only_one_report_has_or_with_other_settings_are_left_out_and_named():
    ours = made(CLEAN, {**RIGHT, "c": CLEAN})
    theirs = made(CLEAN, RIGHT)
    theirs.records["b"].attack["arguments"] = {"eps": 0.2}
    found = ours.compare(theirs)
    assert list(found) == ["clean", "a"]
    assert list(found.left_out) == ["b", "c", "worst_case"]
    assert "settings" in found.left_out["b"]
    assert "only one" in found.left_out["c"]
    back = theirs.compare(ours)
    assert (list(back), set(back.left_out)) == (list(found), set(found.left_out))


def test_where_broken_samples_were_spared_an_attack_counts_with_those_before_it():
    spared = made(CLEAN, RIGHT, cumulative=True)
    assert list(spared.compare(spared)) == ["clean", "a", "b", "worst_case"]
    # Alone the worst case means the same whether samples were spared or not, and in any order.
    assert list(spared.compare(made(CLEAN, RIGHT))) == ["clean", "worst_case"]
    turned = made(CLEAN, dict(reversed(RIGHT.items())), cumulative=True)
    found = spared.compare(turned)
    assert list(found) == ["clean", "worst_case"]
    assert "before it" in found.left_out["a"]
    # What comes after an attack does not matter to it.
    assert list(spared.compare(made(CLEAN, {"a": RIGHT["a"]}, cumulative=True))) == ["clean", "a"]


def test_noise_is_compared_whatever_was_spared_and_no_attack_is_no_worst_case():
    noise = made(CLEAN, {"a": [1, 1, 0, 0]}, {"a": "noise"})
    spared = made(CLEAN, {"a": [1, 1, 0, 0]}, {"a": "noise"}, cumulative=True)
    found = noise.compare(spared)
    assert (list(found), found.left_out) == (["clean", "a"], {})


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"images": "another"}, "same samples. Its images differ"),
        ({"labels": np.array([0, 0, 0, 1])}, "same samples. Its labels differ"),
        ({"eps": 0.2}, "must be of eps=0.1. Received: eps=0.2"),
    ],
)
def test_reports_of_other_images_labels_or_eps_are_not_compared(other, said):
    with pytest.raises(ValueError, match=f"`other` .*{said}") as error:
        made(CLEAN, RIGHT).compare(made(CLEAN, RIGHT, **other))
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="`other` must be a `Report`"):
        made(CLEAN, RIGHT).compare({"clean": 0.5})


def test_other_pixels_are_other_images(model):
    ours, theirs = evaluate(model, {}), evaluate(model, {}, x=X + np.float32(1e-3))
    with pytest.raises(ValueError, match="images differ"):
        ours.compare(theirs)


def test_a_sweep_read_is_the_sweep_written(tmp_path):
    for values in ((0.1, 1 / 3), (1, 20)):
        sweep = Sweep("eps", values, (7, 0), 20, seconds=1.25)
        sweep.to_json(tmp_path / "sweep.json")
        assert Sweep.from_json(tmp_path / "sweep.json") == sweep


@pytest.mark.parametrize(
    "changes",
    [{"counts": [3, 21]}, {"counts": [3]}, {"counts": [3, -1]}, {"counts": None}, {"values": []},
     {"total": 0}, {"name": 1}, {"values": ["a", 1]}, {"seconds": "long"}],
    ids=str,
)  # fmt: skip
def test_a_damaged_sweep_is_refused_in_one_line_that_names_it(changes, tmp_path):
    held = {"name": "eps", "values": [0.1, 0.2], "counts": [3, 2], "total": 20} | changes
    (tmp_path / "sweep.json").write_text(json.dumps(held))
    with pytest.raises(ValueError, match="sweep.json is a damaged sweep") as error:
        Sweep.from_json(tmp_path / "sweep.json")
    assert "\n" not in str(error.value)


def test_a_report_that_a_kill_cut_short_does_not_hide_the_others(tmp_path):
    (tmp_path / "results").mkdir()
    made(CLEAN, RIGHT).to_json(tmp_path / "results" / "final.json")
    (tmp_path / "results" / "part-final.json").write_text("{")
    run = experiments.Run(tmp_path)
    assert run.reports() == {"final": made(CLEAN, RIGHT)}
    assert not run.unread
