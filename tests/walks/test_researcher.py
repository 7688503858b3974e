"""From a defence and an attack of one's own to a trained network, an attack on it and a report.

Follows docs/howto/own-defence.md and docs/howto/own-attack.md.
"""

import json
import pathlib
import re
import runpy

import pytest

shown = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "shown.py"))
DOCS = shown["DOCS"]
ATTACK = "trainers.attack"


def check_report(path):
    report = json.loads(path.read_text())
    assert list(report["accuracy"]) == ["ti_pgd", "sapgd"]
    assert report["attacks"]["ti_pgd"]["attack"]["class"] == "TranslationInvariantPGD"


@pytest.fixture
def written(reader):
    """The modules that the pages have their reader write, in the folder where they are used."""
    for page, module in (("own-defence", "my_defences"), ("own-attack", "my_attacks")):
        classes, *_ = shown["blocks"](DOCS / "howto" / f"{page}.md", "python")
        assert ".register" in classes
        (reader.folder / f"{module}.py").write_text(classes)


@pytest.fixture
def trained(reader, written):
    """Run folder of a training with the defence, and that it has remembered the module."""
    (words,) = reader.commands(DOCS / "howto" / "own-defence.md", "trainers.cifar", "--import")
    # The page's command trains by the paper's recipe at full width: hours.
    small = ["--width", "0.125", "--timesteps", "2", "--epochs", "2"]
    out = reader.types("trainers.cifar", words, *small)
    run = re.search(r"run folder (\S+)", out)[1]
    at = words.index("--import")
    again = reader.types("trainers.cifar", words[:at] + words[at + 2 :], *small, "--run_dir", run)
    assert "done already" in again
    return run


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["installed"], indirect=True)
def test_a_defence_of_ones_own_is_trained_attacked_and_reported(reader, trained):
    (words,) = reader.commands(DOCS / "howto" / "own-attack.md", ATTACK, "--import")
    reader.types(ATTACK, words, "--limit", "100", RUN_DIR=[trained])
    for each in reader.folder.glob(f"{trained}/results/*ti_pgd*.json"):
        check_report(each)
    first, *_ = reader.commands(DOCS / "evaluation.md", ATTACK, "--checks")
    few = ["--limit", "20", "--checks_limit", "10"]
    reader.types(ATTACK, first, *few, **{"saved_models/digits": [trained]})
    reader.types("trainers.report", [trained])
    text = (reader.folder / trained / "report.html").read_text()
    assert "stability" in text and "ti_pgd" in text and "hill climbing" in text


def test_an_attack_of_ones_own_is_run_on_a_keras_file(reader, written):
    """As on a run folder, with the model of docs/judge.md, which takes no training."""
    model, *_ = shown["blocks"](DOCS / "judge.md", "python")
    reader.python(model)
    (words,) = reader.commands(DOCS / "howto" / "own-attack.md", ATTACK, "--import")
    instead = {"--run_dir": ["--model_file"], "RUN_DIR": ["net.keras", "--dataset", "digits"]}
    reader.types(ATTACK, words, **instead)
    (report,) = reader.folder.glob("net-results/*.json")
    check_report(report)
