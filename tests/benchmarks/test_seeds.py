"""The same training in two ways: what is kept of it, and its table."""

import json
import shlex
import types

import pytest

from benchmarks import seeds
from keras_mpdsgr import evaluation, models
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import ExperimentConfig
from trainers import marked

TINY = ExperimentConfig(
    dataset="digits", width=0.06, timesteps=2, epochs=1, limit_train=64, eval_limit=8
)


def told_of(first, second, total=10):
    ways = [
        {"images": total, "image_hash": "a", "omega": 0.5, "clean": [0, 1, 2], "left": left}
        for left in (first, second)
    ]
    return {"dataset": "digits", "seed": 42, "ways": ways}


def test_a_row_counts_pairs_of_images():
    told = told_of([0, 1, 2], [0, 3, 4, 5, 6])
    other = told_of([0, 1, 2], [0, 1, 2, 3]) | {"seed": 43}
    _, _, row, _, _, mean = seeds.table({"trainings": [told, other]}).splitlines()
    # McNemar's exact test on 4 against 2: 2 (1 + 6 + 15) / 64.
    assert row.startswith(
        "| digits, 42 | 10 | 30.0%, 30.0% | 0.500, 0.500 | 30.0%, 50.0% | +20.0 ("
    )
    assert row.endswith("| 0.69 |")
    # Two values, 20 and 10: the mean and 12.706 standard errors of 5.
    assert mean.startswith("Mean of the 2 seeds on the digits, ")
    assert "+0.0 (nan to nan)" in mean or "+0.0 (+0.0 to +0.0)" in mean
    assert mean.endswith("+15.0 (-48.5 to +78.5) of what the attacks leave.")
    told["ways"][1]["image_hash"] = "b"
    with pytest.raises(SetupError, match="the same images"):
        seeds.table({"trainings": [told]})


def test_both_types_are_trained_apart_and_judged_by_their_reports(monkeypatch, tmp_path):
    (path,) = (models.find("digits").parent / "reports").glob("strongest.json")
    trained = []

    def train(config):
        trained.append(config)
        reports = {"final": evaluation.Report.from_json(path)}
        metrics = {"omega": [0.4, 0.25 if config.mixed_precision == "off" else 0.26]}
        return types.SimpleNamespace(
            config=config, reports=lambda: reports, metrics=lambda: metrics
        )

    monkeypatch.setattr(seeds, "train", train)
    configs = seeds.COMPARISONS["precision"].configs(TINY)
    told = seeds.measured(configs, tmp_path, "somewhere")
    assert [config.mixed_precision for config in trained] == ["off", "bfloat16"]
    assert len({config.run_dir for config in trained}) == 2
    assert {config.data_dir for config in trained} == {"somewhere"}
    assert [config.replace(mixed_precision="off").key() for config in trained] == [TINY.key()] * 2
    own, half = told["ways"]
    held = json.loads(path.read_text())["samples"]
    right = [i for i, (a, b) in enumerate(zip(held["clean"], held["label"], strict=True)) if a == b]
    assert own["clean"] == half["clean"] == right
    assert own["left"] == half["left"] and set(own["left"]) < set(right)
    assert (own["omega"], half["omega"]) == (0.25, 0.26)


@pytest.mark.parametrize("compared", seeds.COMPARISONS.values(), ids=lambda one: one.name)
def test_the_page_holds_what_the_file_tells_of_these_trainings(compared):
    held = json.loads(compared.results.read_text())
    assert marked.parts(compared.page.read_text())[compared.name] == seeds.table(held)
    for training, told in zip(compared.trainings, held["trainings"], strict=True):
        for config, way in zip(compared.configs(training), told["ways"], strict=True):
            settings = ExperimentConfig.from_words(shlex.split(way["command"])[3:])
            assert settings.key() == config.key()
