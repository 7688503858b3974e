"""What the strongest suite was chosen by: rows, their files, the tables of the page."""

import hashlib
import json
from unittest import mock

import numpy as np
import pytest

from benchmarks.attack_choice import command, measuring, tables
from benchmarks.attack_choice import rows as planned
from benchmarks.attack_choice.rows import Made, Row
from keras_mpdsgr import attacks, dynamics, evaluation, models
from keras_mpdsgr.errors import SetupError
from trainers import marked

TINY = Row("tiny", "one step", "grid", Made("FGSM", {"eps": 8 / 255}), images=(150, 156), grid=8)
PROGRAM = """
import runpy

from benchmarks.attack_choice.rows import ROWS, Made, Row

row = Row("tiny", "one step", "grid", Made("FGSM", {"eps": 8 / 255}), images=(150, 156), grid=8)
ROWS.clear()
ROWS["tiny"] = row
runpy.run_module("benchmarks.attack_choice", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def bench():
    return measuring.Bench()


def entry(row, left, gradients=1.0, right=5):
    """What would be written of a row whose one attack leaves these images."""
    told = {"row": row, "title": planned.ROWS[row].title, "right_when_clean": right}
    told |= {"left": {"alone": left}, "gradients_an_image": {"alone": gradients}}
    return told | {"cpu_seconds": 2.0}


def table_of(text):
    return [line.strip("| ").split(" | ") for line in text.splitlines()]


def test_the_page_holds_what_its_files_tell(bench):
    page = planned.FOLDER.with_name("evaluation.md").read_text()
    assert tables.TABLES.keys() <= marked.parts(page).keys()
    found = measuring.read(planned.FOLDER)
    assert marked.filled(page, tables.made(found)) == page
    for name, told in found.items():
        assert told["settings"] == bench.settings(planned.ROWS[name])
        assert len(json.dumps(told)) < 20_000


def test_the_page_says_what_the_rows_are():
    page = planned.FOLDER.with_name("evaluation.md").read_text()
    alone = [row for row in planned.ROWS.values() if row.part == "choice"]
    assert {(row.images, row.eps, row.seed) for row in alone} == {((150, 300), 8 / 255, 0)}
    assert "images 150 to 299 of the digits' test images, eps 8/255, seed 0" in page
    rounded = [row for row in planned.ROWS.values() if row.part == "grid"]
    assert {(row.images, row.eps, row.grid) for row in rounded} == {((0, 150), 8 / 255, 8)}
    assert "On the first 150 digits' images at 8/255, `saved_models/digits`" in page
    for row in planned.ROWS.values():
        if row.part == "leaves":
            first, last = row.images
            said = f"digits, {first}-{last - 1}, {round(255 * row.eps)}/255, seed {row.seed}"
            assert row.title == said
        if row.part == "published":
            assert row.title == f"digits, 0-149, `{row.attack}`"
            assert (row.images, row.eps, row.seed) == ((0, 150), 8 / 255, 0)
    assert "`saved_models/digits` at 8/255; images left after each attack" in page


@pytest.mark.parametrize("row", planned.ROWS.values(), ids=lambda row: row.name)
def test_a_row_is_an_attack_that_there_is(row):
    made = measuring.attacks_of(row)
    assert {attack.eps for attack in made.values() if attack.norm == "linf"} <= {row.eps}
    assert {attack.eps for attack in made.values() if attack.norm == "l2"} <= {planned.EPS_L2}
    assert not any(attack.targeted for attack in made.values())


def test_data_in_data_becomes_an_attack_made_of_attacks():
    made = measuring.make(planned.ROWS["climb_better"].attack)
    towards = attacks.SAPGD(steps=200, loss="margin", targeted=True)
    members = [attacks.SAPGD(steps=500), attacks.MultiTargeted(towards)]
    expected = attacks.HillClimbing(attacks.Ensemble(members))
    assert evaluation.describe(made) == evaluation.describe(expected)


def test_the_published_constant_is_the_default():
    assert dynamics.get_mode("assg").sharpness == pytest.approx(planned.sharpness(0.425))


def test_the_program_measures_a_row_once(bench, run, tmp_path):
    words = ["--part=grid", "--rows=tiny", f"--output={tmp_path / 'study'}"]
    status, out, err = run(None, *words, text=PROGRAM)
    assert status == 0, err[-2000:]
    assert "row 1 of 1: tiny, one step" in out
    assert "study.md: table eight-bits stays, 3 of 3 rows are missing" in out
    path = tmp_path / "study" / "tiny.json"
    told = json.loads(path.read_text())
    x, y = bench.images(TINY)
    found = evaluation.evaluate(
        bench.model, x, y, measuring.attacks_of(TINY), indices=np.arange(150, 156)
    )
    assert told["left"]["alone"] == (150 + np.flatnonzero(found.survivors())).tolist()
    assert told["right_when_clean"] == found.clean_correct.sum()
    calls = found.records["alone"].gradient_calls
    assert told["gradients_an_image"]["alone"] == pytest.approx(calls / 6, abs=0.05)
    # Rounding can only keep more.
    assert set(told["left"]["alone"]) <= set(told["left_on_grid"]["alone"])
    file = models.find("digits").read_bytes()
    assert told["settings"]["model"] == hashlib.sha256(file).hexdigest()

    # No attack runs again, unless the model is another.
    bench = mock.Mock(settings=bench.settings, measure=mock.Mock(return_value=told))
    assert command.measure([TINY], path.parent, bench) == 0
    path.write_text(json.dumps(told | {"settings": told["settings"] | {"model": "another"}}))
    assert command.measure([TINY], path.parent, bench) == 1
    bench.measure.assert_called_once()
    assert json.loads(path.read_text()) == told


def test_a_table_is_written_when_all_its_rows_are_there(bench, tmp_path):
    folder, page = tmp_path / "study", tmp_path / "study.md"
    folder.mkdir()
    by_hand = "".join(f"<!-- table: {name} -->\nby hand\n<!-- end -->\n" for name in tables.TABLES)
    page.write_text(by_hand)
    said = []
    for left, name in enumerate(planned.SHARPNESS.values()):
        command.write_tables(folder, bench, say=said.append)
        assert page.read_text() == by_hand
        assert f"study.md: table sharpness stays, {4 - left} of 4 rows are missing" in said
        told = entry(name, list(range(left)))
        told["settings"] = bench.settings(planned.ROWS[name])
        (folder / f"{name}.json").write_text(json.dumps(told))
    command.write_tables(folder, bench, dry_run=True, say=said.append)
    assert page.read_text() == by_hand
    command.write_tables(folder, bench, say=said.append)
    assert "study.md: table sharpness is made" in said[-len(tables.TABLES) :]
    shown = marked.parts(page.read_text())
    assert table_of(shown.pop("sharpness"))[2:] == [
        ["0.350", "1.25", "0"], ["0.400", "1.96", "1"], ["0.425", "2.65", "2"],
        ["0.460", "5.04", "3"],
    ]  # fmt: skip
    assert set(shown.values()) == {"by hand"}


def test_what_adds_is_counted_image_by_image():
    left = {
        "sapgd_100": [1, 2, 3, 4, 9], "sapgd_500": [1, 2, 3, 4],
        "climb_better": [2, 3, 4], "climb_500": [1, 2], "climb_margin": [2, 4],
        "climb_targeted": [2, 3],
    }  # fmt: skip
    entries = {name: entry(name, images, gradients=10.0) for name, images in left.items()}
    rows = table_of(tables.made(entries)["what-adds"])[2:]
    assert [row[1:] for row in rows[1:]] == [["3", "10"], ["1", "30"]]
    assert rows[0][1] == "4"


def test_alone_the_attacks_stand_by_what_they_leave():
    entries = {
        name: entry(name, list(range(number % 7)), gradients=number)
        for number, name in enumerate(planned.ALONE)
    }
    rows = table_of(tables.made(entries)["attacks-alone"])
    assert rows[0][1] == "left of 5 right when clean"
    shown = [(int(left), int(gradients)) for _, left, gradients, _ in rows[2:]]
    assert shown == sorted(shown)
    entries["pgd50"]["right_when_clean"] = 4
    with pytest.raises(ValueError):
        tables.made(entries)


def test_on_the_grid_an_attack_breaks_what_is_right_there_and_is_not_left():
    entries = {name: entry(name, [1, 2]) for name in planned.ROUNDED}
    for told in entries.values():
        told |= {"right_on_grid": 5, "left_on_grid": {"alone": [1, 2, 3]}}
    rows = table_of(tables.made(entries)["eight-bits"])[2:]
    assert [row[1:] for row in rows] == [["5", "3", "2"]] * 3


def test_the_suite_is_shown_by_its_labels():
    labels = evaluation.suite("strongest", eps=8 / 255)
    assert list(labels) == list(tables._COLUMNS)
    entries = {}
    for name in planned.SUITES:
        told = entry(name, [])
        told["left"] = {label: [0] * number for number, label in enumerate(labels)}
        told["gradients_an_image"] = dict.fromkeys(labels, 7.4)
        entries[name] = told
    shown = tables.made(entries)
    assert table_of(shown["strongest-left"])[2][1:] == ["5", "0", "1", "2", "3", "**4**"]
    assert table_of(shown["strongest-cost"])[2][1:] == ["7"] * 7 + ["2"]


def test_autoattack_is_shown_by_its_labels_through_either_backward_pass():
    entries = {}
    for name in planned.PUBLISHED:
        labels = evaluation.suite(name, eps=8 / 255)
        told = entry(name, [])
        told["left"] = {label: [0] * number for number, label in enumerate(labels)}
        entries[name] = told
    rows = table_of(tables.made(entries)["published-suites"])[2:]
    assert [row[1:] for row in rows] == [["5", "0", "1", "2", "3"]] * 2


@pytest.mark.parametrize(("part", "name"), [(None, "sapgd_10"), ("grid", "sapgd_100")])
def test_a_row_that_there_is_not_is_refused(part, name):
    with pytest.raises(SetupError, match=f"--rows must be of .*Received: {name}."):
        planned.chosen_rows(part, [name])
    assert [row.name for row in planned.chosen_rows(None, ["pgd50", "grid_pgd"])] == [
        "pgd50", "grid_pgd",
    ]  # fmt: skip
