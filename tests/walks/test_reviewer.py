"""From a saved model to its figures evaluated again, and to the judging of a model of one's own.

Follows docs/evaluation.md, docs/guide.md, docs/index.md and docs/judge.md, and the commands of
all pages that list the trainings of the paper's tables.
"""

import json
import pathlib
import re
import runpy

import pytest

shown = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "shown.py"))
DOCS, PAGES = shown["DOCS"], shown["PAGES"]
# Of the 360 test images, which take the strongest suite a quarter of an hour.
FEW = ["--limit", "20", "--checks_limit", "10"]


def check_report(path):
    report = json.loads(path.read_text())
    assert {"sapgd", "hill_climbing_targeted", "apgd_l2"} <= set(report["accuracy"])
    assert report["worst_case"] <= report["clean"]
    assert "gradient_beats_search" in str(report["checks"])


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["installed"], indirect=True)
def test_a_saved_model_is_attacked_its_card_verified_and_its_page_written(reader):
    first, *_ = reader.commands(DOCS / "evaluation.md", "trainers.attack", "--checks")
    reader.types("trainers.attack", first, *FEW)
    saved = reader.folder / first[first.index("--run_dir") + 1]
    check_report(saved / "results" / "strongest.json")
    verify, *_ = reader.commands(DOCS / "guide.md", "trainers.verify_card")
    out = reader.types(
        "trainers.verify_card", verify, *FEW[:2], **{"saved_models/NAME": ["saved_models/digits"]}
    )
    assert "worst case" in out
    (page,) = reader.commands(DOCS / "index.md", "trainers.report", "--output")
    reader.types("trainers.report", page)
    assert "hill climbing" in (reader.folder / page[-1]).read_text()


def test_a_keras_file_is_judged(reader):
    model, *_ = shown["blocks"](DOCS / "judge.md", "python")
    reader.python(model)
    words, *_ = reader.commands(DOCS / "judge.md", "trainers.attack", "--model_file")
    more = [] if reader.small else FEW
    reader.types("trainers.attack", words, *more)
    results = reader.folder / "net-results"
    check_report(results / "strongest.json")
    assert (results / "strongest.md").is_file()


def test_the_trainings_of_the_tables_are_listed(reader):
    listed = [
        words
        for page in PAGES
        for program, words in shown["commands"](page)
        if program == "trainers.reproduce" and "--dry_run" in words
    ]
    assert listed
    for words in listed:
        out = reader.types("trainers.reproduce", words, DIR=["data"])
        assert re.search(r"\d+ of \d+ (rows|runs) left", out)
