"""`trainers.attack --shard` and `--merge`: shards put together are the run of all."""

import csv
import functools
import json
import pathlib
import shutil

import numpy as np
import pytest

from keras_mpdsgr import experiments, models
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import attacking
from keras_mpdsgr.experiments.shards import Shard

ASKED = {"attacks": ("fgsm", "pgd", "uniform"), "eps": 16 / 255, "limit": 10, "batch_size": 4}
NAME = "fgsm-pgd-uniform-eps16"


def attacked(folder, **given):
    return experiments.attack(experiments.AttackConfig(run_dir=folder, **{**ASKED, **given}))


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """One model, so that its attacks are compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load", functools.lru_cache(models.load))
        yield


@pytest.fixture(scope="module")
def run_dir(linear_digits, tmp_path_factory):
    """A run folder whose model is a linear map of the digits' pixels, fitted by least squares."""
    folder = tmp_path_factory.mktemp("runs")
    model = linear_digits()
    model.save(folder / "model.keras")
    (folder / "config.json").write_text(json.dumps({"flags": {"dataset": "digits"}}))
    return folder


@pytest.fixture(scope="module")
def whole(run_dir):
    """Results of all, moved out of the way."""
    attacked(run_dir)
    return shutil.move(run_dir / "results", run_dir / "whole")


@pytest.fixture(scope="module")
def shards(run_dir, whole):
    """Results of three shards."""
    for number in (2, 3, 1):
        attacked(run_dir, shard=f"{number}/3")
    return shutil.move(run_dir / "results", run_dir / "shards")


@pytest.fixture
def results(run_dir, shards):
    """A copy of them, as a run folder's results."""
    yield pathlib.Path(shutil.copytree(shards, run_dir / "results"))
    shutil.rmtree(run_dir / "results")


@pytest.mark.parametrize("name", ["pgd", "sapgd"])
def test_the_images_shown_are_those_that_the_evaluation_has_broken(
    name, run_dir, tmp_path, monkeypatch
):
    # The second goes along the model's own gradient, as it has no spiking neurons.
    folder = tmp_path / "run"
    folder.mkdir()
    for file in ("model.keras", "config.json"):
        shutil.copy(run_dir / file, folder)
    shown = []
    monkeypatch.setattr(
        attacking.evaluation.plots, "plot_images", lambda *what, title: shown.append((*what, title))
    )
    report = attacked(folder, attacks=(name,), eps=8 / 255, limit=40)
    ((_, clean, adversarial, _, taken_for, title),) = shown
    model = models.load(folder / "model.keras")
    assert len(clean) >= 2 and 0 < np.abs(adversarial - clean).max() <= 8 / 255 + 1e-6
    lengths = np.linalg.norm((adversarial - clean).reshape(len(clean), -1), axis=1)
    broken = np.flatnonzero(report.clean_correct & ~report.correct(name))
    said = f"{len(clean)} of the {len(broken)}\u00a0images that {name} has broken, eps\u00a08/255"
    assert title.endswith(said)
    broken = broken[: len(clean)]
    np.testing.assert_allclose(lengths, report.records[name].l2[broken], rtol=1e-5)
    assert [str(c) for c in np.argmax(model(adversarial), axis=1)] == list(taken_for)


def rows(path):
    with open(path, newline="") as file:
        return sorted(
            [row[k] for k in ("attack", "index", "label", "prediction", "loss", "linf", "l2")]
            for row in csv.DictReader(file)
        )


def merge(run_dir, **given):
    attacked(run_dir, merge=True, **given)


def refused(run_dir, **given):
    with pytest.raises(SetupError) as caught:
        attacked(run_dir, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_shards_put_together_are_the_run_of_all(run_dir, whole, results, monkeypatch):
    checked = []

    def count(model, x, *_):
        checked.append(len(x))
        return {}

    monkeypatch.setattr(attacking, "_checks", count)
    merge(run_dir, checks=True)
    assert checked == [10]
    assert rows(results / f"{NAME}.csv") == rows(f"{whole}/{NAME}.csv")
    ours = json.loads((results / f"{NAME}.json").read_text())
    theirs = json.loads(pathlib.Path(whole, f"{NAME}.json").read_text())
    for name in ("n", "eps", "clean", "accuracy", "worst_case", "worst_case_l2", "intervals"):
        assert ours[name] == theirs[name]
    assert ours["n"] == 10
    assert 0 < ours["worst_case"] < ours["clean"]
    same = set(theirs["config"]) - {"command"}
    assert {k: ours["config"][k] for k in same} == {k: theirs["config"][k] for k in same}
    assert {path.suffix for path in results.glob(f"{NAME}.*")} >= {".json", ".csv", ".md"}
    assert (results / f"{NAME}-images.png").is_file()
    # The page shows the report, not its shards.
    assert set(experiments.Run(run_dir).reports()) == {NAME}


def test_each_sample_is_in_one_shard_and_its_figures_stand_in_that_file(shards):
    met = []
    for number in (1, 2, 3):
        stem = f"{NAME}-shard-{number}-of-3"
        report = json.loads(pathlib.Path(shards, f"{stem}.json").read_text())
        clean = [row for row in rows(f"{shards}/{stem}.csv") if row[0] == "clean"]
        assert report["n"] == len(clean)
        right = [label == str(round(float(found))) for _, _, label, found, *_ in clean]
        assert report["clean"] == pytest.approx(np.mean(right))
        met += [int(row[1]) for row in clean]
    assert sorted(met) == list(range(10))


def test_a_missing_shard_is_named(run_dir, results):
    (results / f"{NAME}-shard-3-of-3.json").unlink()
    (results / f"{NAME}-shard-1-of-3.json").unlink()
    line = refused(run_dir, merge=True)
    assert "missing or not finished: 1/3, 3/3." in line
    for path in results.glob("*.json"):
        path.unlink()
    assert "holds no finished shard of fgsm-pgd-uniform-eps16" in refused(run_dir, merge=True)


def test_a_shard_given_twice_is_refused(run_dir, results):
    for ending in ("json", "csv"):
        shutil.copy(results / f"{NAME}-shard-1-of-3.{ending}",
                    results / f"{NAME}-shard-2-of-3.{ending}")  # fmt: skip
    line = refused(run_dir, merge=True)
    assert "shard-2-of-3.json must hold shard 2/3, and holds 1/3: a shard given twice" in line


def test_shards_out_of_different_numbers_are_refused(run_dir, results):
    for ending in ("json", "csv"):
        shutil.copy(results / f"{NAME}-shard-1-of-3.{ending}",
                    results / f"{NAME}-shard-1-of-2.{ending}")  # fmt: skip
    assert "out of 2 and out of 3" in refused(run_dir, merge=True)


@pytest.mark.parametrize(
    "given, said",
    [
        ({"seed": 1}, "was run with seed=0, and not seed=1"),
        ({"batch_size": 5}, "was run with batch_size=4, and not batch_size=5"),
        ({"limit": 9}, "was run with limit=10, and not limit=9"),
        ({"drop_broken": False}, "was run with drop_broken=True, and not drop_broken=False"),
        ({"eps_l2": 1}, None),
    ],
)
def test_shards_of_other_flags_are_refused_unless_these_change_nothing(
    run_dir, results, given, said
):
    if said is None:
        merge(run_dir, **given)
    else:
        assert said in refused(run_dir, merge=True, **given)


def test_one_shard_of_another_seed_is_refused(run_dir, results):
    path = results / f"{NAME}-shard-2-of-3.json"
    content = json.loads(path.read_text())
    content["config"]["seed"] = 7
    path.write_text(json.dumps(content))
    assert "shard-2-of-3.json was run with seed=7, and not seed=0" in refused(run_dir, merge=True)


def test_shards_of_another_model_are_refused(run_dir, results, monkeypatch):
    model = models.load_to_judge(run_dir / "model.keras")
    kernel = model.weights[0]
    before = kernel.numpy()
    kernel.assign(1.01 * before)
    try:
        assert "`parts` must be computed by the same model" in refused(run_dir, merge=True)
    finally:
        kernel.assign(before)


@pytest.mark.parametrize(
    "value", ["0/8", "9/8", "a/b", "2", "2/", "/8", "-1/8", "1.5/8", "1/0", "", "nan", "2/8/9"]
)
def test_what_is_no_shard_is_refused_in_one_line(value):
    with pytest.raises(SetupError) as caught:
        experiments.AttackConfig(shard=value)
    line = str(caught.value)
    assert line.startswith("`shard` must be K/N, shard K of N with 1 <= K <= N")
    assert repr(value) in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "given, said",
    [
        ({"merge": True}, "`shard` and `merge` cannot be combined"),
        ({"checks": True}, "`checks` cannot be combined with `shard`"),
        ({"sweep_eps": (1 / 255,)}, "`sweep_eps` cannot be combined with `shard`"),
        ({"sweep_steps": (2,)}, "`sweep_steps` cannot be combined with `shard`"),
        ({"substitute": "train"}, "`substitute` train cannot be combined with `shard`"),
        ({"shard": "1/11"}, "`shard` must not name more shards than images, here 10"),
    ],
)
def test_what_a_shard_cannot_do_is_said(run_dir, given, said):
    assert said in refused(run_dir, **{"shard": "1/2", **given})


@pytest.mark.parametrize("n, batch_size, of", [(10, 4, 3), (10, 4, 7), (1000, 100, 8), (5, 1, 5),
                                               (7, 100, 2), (9, 2, 4), (1, 1, 1)])  # fmt: skip
def test_blocks_hold_each_sample_once_and_are_of_whole_batches_where_there_are_enough(
    n, batch_size, of
):
    blocks = [Shard(number, of).block(n, batch_size) for number in range(1, of + 1)]
    assert np.concatenate(blocks).tolist() == list(range(n))
    assert all(len(block) for block in blocks)
    if np.ceil(n / batch_size) >= of:
        assert all(block[0] % batch_size == 0 for block in blocks)
    assert Shard.of_text("2/8") == Shard(2, 8)
