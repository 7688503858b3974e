"""A saved model's folder and card are made from a run, and a card that is not true is found out."""

import dataclasses
import json
import pathlib
import re
import shutil
import tomllib
import zipfile

import numpy as np
import pytest
import yaml

from keras_mpdsgr import data, evaluation, experiments, models
from keras_mpdsgr.errors import RunError, SetupError
from keras_mpdsgr.evaluation.statistics import Share
from keras_mpdsgr.experiments import model_folder, networks, verification
from keras_mpdsgr.experiments.run_folder import RunFolder
from keras_mpdsgr.pages import card, card_check

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
N = 8


@pytest.fixture(scope="module")
def run(shallow, tmp_path_factory):
    """The folder of a run that was not yet trained, with optimizer, attacked on some images."""
    path = tmp_path_factory.mktemp("runs") / "small"
    config = experiments.ExperimentConfig(
        dataset="digits", width=0.02, timesteps=1, epochs=3, seed=7, run_dir=path
    )
    images = data.load("digits")
    with RunFolder.for_training(config) as folder:
        model = networks.build(config, images)
        networks.compile_for_training(model, config, 10, networks.make_defense(config))
        model.optimizer.build(model.trainable_variables)
        model.save(folder.model_path)
    asked = {"attacks": ("fgsm", "gaussian"), "limit": N, "eps": 1 / 255}
    experiments.attack(experiments.AttackConfig(run_dir=path, **asked), verbose=False)
    return experiments.Run(path)


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "small-digits"
    assert card.write(run.path, folder) == folder / "README.md"
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy that may be spoilt."""
    return pathlib.Path(shutil.copytree(made, tmp_path / "small-digits"))


def report_of(folder):
    (path,) = (folder / "reports").iterdir()
    return path, evaluation.Report.from_json(path)


# The folder ---------------------------------------------------------------------------------------


def test_the_model_is_saved_without_its_optimizer_and_with_its_classes(run, made):
    before, after = models.load(run.model_path), models.load(made)
    assert before.compiled and not after.compiled
    assert "optimizer" not in zipfile.ZipFile(made / "model.keras").read("config.json").decode()
    assert after.class_names == tuple("0123456789")
    for one, other in zip(before.get_weights(), after.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert {path.name for path in made.iterdir()} == {
        "README.md", "config.json", "model.keras", "reports",
    }  # fmt: skip


def test_a_model_saved_before_classes_were_gets_those_of_its_data(run, tmp_path):
    old = pathlib.Path(shutil.copytree(run.path, tmp_path / "old"))
    model = models.load(old)
    model.class_names = ()
    model.save(old / "model.keras")
    card.write(old, tmp_path / "new")
    assert models.load(tmp_path / "new").class_names == tuple("0123456789")


def test_a_card_made_anew_in_its_place_changes_nothing(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    card.write(folder, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_no_path_of_the_machine_is_in_it(run, made):
    for path in (*made.rglob("*.json"), made / "README.md"):
        assert str(run.path.parent) not in path.read_text(), path
    assert experiments.Run(made).config == run.config.replace(run_dir=None)


def test_a_report_that_is_not_asked_for_is_left_out(run, tmp_path):
    with pytest.raises(SetupError, match="`reports` must be of .*: fgsm-gaussian-eps1"):
        card.write(run.path, tmp_path / "new", reports=["strongest"])
    extra = pathlib.Path(shutil.copytree(run.path, tmp_path / "run"))
    shutil.copy(extra / "results/fgsm-gaussian-eps1.json", extra / "results/again.json")
    card.write(extra, tmp_path / "new")
    assert len(list((tmp_path / "new" / "reports").iterdir())) == 2
    card.write(extra, tmp_path / "new", reports=["again"])
    assert [path.name for path in (tmp_path / "new" / "reports").iterdir()] == ["again.json"]
    assert "fgsm-gaussian-eps1" not in (tmp_path / "new" / "README.md").read_text()


def test_what_cannot_become_a_card_is_refused(run, folder, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(SetupError, match="full is not empty and holds no saved model"):
        card.write(run.path, tmp_path / "full")
    content = json.loads((folder / "config.json").read_text())
    content["flags"]["seed"] = 8
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(SetupError, match="model of other settings. Give another `out`"):
        card.write(run.path, folder)
    monkeypatch.setattr(model_folder, "LARGEST", 1000)
    with pytest.raises(SetupError, match=r"takes 0\.\d MB, and a saved model may take at most"):
        card.write(run.path, tmp_path / "new")
    assert not (tmp_path / "new" / "model.keras").exists()
    shutil.rmtree(folder / "reports")
    with pytest.raises(SetupError, match="no report for a card. Attack it first: .*--suite stro"):
        card.write(folder, tmp_path / "other")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (None, "not made by a command of trainers.attack.*Received: None"),
        ("python mine.py", "not made by a command of trainers.attack"),
        ("python -m trainers.attack --run_dir=a --substitute=runs/b", "model of `substitute`"),
        ("python -m trainers.attack --run_dir=a --strength=3", "no `strength`"),
    ],
)
def test_a_report_that_nobody_can_make_again_is_refused(run, tmp_path, command, said):
    broken = pathlib.Path(shutil.copytree(run.path, tmp_path / "run"))
    path = broken / "results" / "fgsm-gaussian-eps1.json"
    report = evaluation.Report.from_json(path)
    report.command = command
    report.to_json(path)
    with pytest.raises(SetupError, match=said):
        card.write(broken, tmp_path / "new")


# The card -----------------------------------------------------------------------------------------


def test_the_metadata_is_yaml_with_every_share_of_the_reports(made):
    text = (made / "README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert head["license"] == project["license"].lower()
    assert (head["library_name"], head["datasets"]) == ("keras", ["digits"])
    (index,) = head["model-index"]
    assert index["name"] == "small-digits"
    _, report = report_of(made)
    found = {r["metrics"][0]["args"]["attack"]: r["metrics"][0] for r in index["results"]}
    assert found.keys() == report.shares().keys()
    for name, share in report.shares().items():
        assert found[name]["value"] == pytest.approx(share.value, abs=1e-6)
        assert found[name]["args"]["interval"] == pytest.approx([share.low, share.high], abs=1e-6)
        assert found[name]["args"]["images"] == N
    assert found["worst_case"]["args"]["eps"] == "1/255"
    assert {(r["task"]["type"], r["dataset"]["type"]) for r in index["results"]} == {
        ("image-classification", "digits")
    }


def test_the_card_says_what_the_model_is_and_how_it_was_made(made):
    text = (made / "README.md").read_text()
    _, report = report_of(made)
    share = report.shares()["worst_case"]
    assert f"| {N} | L-infinity, eps 1/255 |" in text
    assert f"**{share.value:.2%}** | {share.low:.2%} .. {share.high:.2%} | FGSM |" in text
    assert 'models.load("small-digits")' in text
    assert "python -m trainers.cifar --dataset=digits --width=0.02 --timesteps=1" in text
    assert "| seed | 7 |" in text and "| classes | 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 |" in text
    assert re.search(r"\| versions \| keras-mpdsgr \S+, tensorflow \S+, keras \S+", text)
    assert "python -m trainers.attack --run_dir=saved_models/small-digits --attacks=fgsm" in text
    assert "\n\n\n" not in text


def test_the_card_says_how_the_epoch_was_chosen_and_what_was_trained_on(folder):
    assert "the last epoch is kept" in (folder / "README.md").read_text()
    content = json.loads((folder / "config.json").read_text())
    content["flags"] |= {
        "neuron": "relu", "timesteps": 8, "defense": "none", "eta": 0.0,
        "adversarial_training": True, "validation_images": 100, "ema": 0.99,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(content))
    text = card.text(folder)
    assert "A plain VGG11, of ReLUs and without time," in text and "spiking" not in text
    assert "trained with adversarial training (PGD, eps 2/255). `model.keras`" in text
    assert "no defence" not in text
    assert "mpd-sgr" not in text
    assert "the last epoch is kept" not in text
    assert "the most robust one on 100 training images set apart, under PGD-10" in text
    assert "| adversarial images | 2 steps of 1/255 from a random start |" in text
    assert "| labels |" not in text and "| precision |" not in text
    assert "their moving average, decay 0.99" in text and "| neurons |" not in text
    content["flags"] |= {
        "neuron": "lif", "defense": "sr,mpd_sgr", "eta": 0.5, "adversarial_method": "fgsm_rs",
        "adversarial_gradient": "assg", "adversarial_warmup": 0.1, "awp": 0.01,
        "label_smoothing": 0.1, "mixed_precision": "bfloat16",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(content))
    text = card.text(folder)
    said = "SR and MPD-SGR, eta 0.5, adversarial training (FGSM-RS, eps 2/255), AWP 0.01"
    assert f"trained with {said}" in text
    assert (
        "| adversarial images | 1 step of 2.5/255 from a random start, gradient by assg, radius "
        "rising over the first 10% of the steps |" in text
    )
    assert "| labels | smoothed by 0.1 |" in text
    assert "| precision | trained in bfloat16, evaluated in float32 |" in text
    assert 'models.load("small-digits", dtype="float32")' in text


# The check ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figures(made):
    return list(verification.verify(made))


def test_a_card_that_is_true_passes(made, figures, monkeypatch, capsys):
    monkeypatch.setattr(verification, "verify", lambda *_, **__: iter(figures))
    assert card_check.check(made) == figures
    assert {one.name for one in figures} == {"clean", "fgsm", "gaussian", "worst_case"}
    assert all(one.holds and one.found == one.said.value for one in figures)
    assert "FGSM" in capsys.readouterr().out


def test_a_changed_word_in_the_card_is_found(folder, monkeypatch):
    monkeypatch.setattr(verification, "verify", lambda *_, **__: iter(()))
    path = folder / "README.md"
    assert card.differs(folder) is None
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:20], "Perfectly robust.\n", *lines[20:]]))
    assert card.differs(folder) == 21
    path.write_text("".join([*lines, "Perfectly robust.\n"]))
    with pytest.raises(RunError, match=f"README.md is not what .* line {len(lines) + 1} on"):
        card_check.check(folder, verbose=False)
    path.unlink()
    with pytest.raises(SetupError, match="README.md is missing"):
        card.differs(folder)


def test_a_figure_that_is_off_is_told_in_a_line(made, figures, monkeypatch, capsys):
    off = dataclasses.replace(figures[1], found=figures[1].said.value + 0.02)
    monkeypatch.setattr(verification, "verify", lambda *_, **__: iter([figures[0], off]))
    with pytest.raises(RunError, match="^1 of 2 figures are off$"):
        card_check.check(made)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("off: ")]
    assert len(told) == 1
    assert re.fullmatch(r"off: fgsm-.*, FGSM: \d+\.\d\d% on the card, \d+\.\d\d% now", told[0])


def test_a_figure_that_the_model_does_not_reach_is_off(folder):
    path, report = report_of(folder)
    report.clean_prediction = report.labels.copy()
    report.to_json(path)
    found = {one.name: one for one in verification.verify(folder, limit=4)}
    assert found["clean"].said.value == 1 and found["clean"].said.total == 4
    assert {name for name, one in found.items() if not one.holds} == {"clean"}


def test_a_retrained_network_may_be_anywhere_in_the_interval(made, monkeypatch):
    asked, (_, report) = [], report_of(made)

    def train(config, attack, verbose):
        asked.append(config)
        return experiments.Run(made)

    monkeypatch.setattr(verification, "train", train)
    monkeypatch.setattr(verification, "_evaluated", lambda *_: report)
    figures = list(verification.verify(made, retrain=True))
    assert asked[0].identity() == experiments.Run(made).config.identity()
    assert not pathlib.Path(asked[0].run_dir).exists()
    for one in figures:
        interval = one.said.low, one.said.high
        assert (one.low, one.high) == pytest.approx(interval, abs=1e-8)


def test_a_point_is_a_point():
    said = Share(41, 100, 0.0, 1.0)

    def holds(found):
        return verification.Figure("final", "fgsm", said, found, 0.40 - 1e-9, 0.42 + 1e-9).holds

    assert [holds(found) for found in (0.39, 0.40, 0.41, 0.42, 0.43)] == [
        False, True, True, True, False,
    ]  # fmt: skip


def test_the_first_samples_of_a_report_are_those_of_an_evaluation_of_them(made):
    _, report = report_of(made)
    few = verification.first(report, 3)
    assert few.n == 3 and report.n == N
    assert few.clean == np.mean(report.clean_correct[:3])
    assert few.accuracy["fgsm"] == np.mean(report.correct("fgsm")[:3])
    assert repr(few.per_sample) == repr(report.per_sample[:3])  # NaN is not equal to itself


def test_other_images_and_other_attacks_are_refused(folder):
    path, report = report_of(folder)
    report.images = "0" * 64
    report.to_json(path)
    with pytest.raises(SetupError, match="is of other images than the first 8 test images"):
        list(verification.verify(folder))
    _, report = report_of(folder)
    report.images = evaluation.image_hash(*_digits(N))
    record = report.records["gaussian"]
    changed = {**record.attack, "arguments": {**record.attack["arguments"], "std": 0.5}}
    report.records["gaussian"] = dataclasses.replace(record, attack=changed)
    report.to_json(path)
    with pytest.raises(SetupError, match=r"whose attacks differ \(gaussian\)"):
        list(verification.verify(folder))


def _digits(n):
    images = data.load("digits")
    return data.to_pixels(images.x_test[:n]), images.y_test[:n]
