"""The study of robust training: its rows, what is written of one, its table."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import scipy.stats

from keras_mpdsgr import data, export, models
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.evaluation.statistics import wilson
from keras_mpdsgr.experiments import RunError, model_folder
from keras_mpdsgr.experiments.recipes import RECIPES
from keras_mpdsgr.experiments.run import Run
from trainers import marked
from trainers.study import command, comparisons, measuring, rows, table

SETTINGS = {
    "study": "ablation", "rows": [], "scale": None, "run_dir": "runs", "results_dir": None,
    "data_dir": None, "dry_run": True, "table": [], "figure": [], "seeds": ["42"],
    "tiny_imagenet_dir": None,
}  # fmt: skip
TINY = dataclasses.replace(
    rows.SMOKE,
    common=rows.SMOKE.common | {"width": 0.02, "timesteps": 1, "validation_images": 20},
    screen={"limit_train": 100, "epochs": 1},
    final={"limit_train": 100, "epochs": 1},
    judged=20,
    suites=(),
)
# Of the final's trainings, those whose last epoch counts.
UNCHOSEN = ("final_plain", "final_mpd_sgr", "final_paper_at")


@pytest.mark.parametrize("scale", list(rows.STUDIES))
@pytest.mark.parametrize("name", list(rows.ROWS))
def test_every_row_is_a_training_that_there_is(scale, name):
    row = rows.ROWS[name]
    config = rows.config_of(row, rows.STUDIES[scale])
    assert (config.validation_images is None) == name.startswith(UNCHOSEN)
    assert rows.ROWS[row.trained_as].settings == row.settings


def test_the_screen_is_judged_on_images_that_it_does_not_train_on():
    for study in rows.STUDIES.values():
        size = {"cifar10": 50_000, "digits": 1_437}[study.common["dataset"]]
        assert study.screen["limit_train"] <= size - study.judged


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rows": ["n_fgsn"]}, "Did you mean n_fgsm?"),
        ({"scale": "paper"}, "--scale cpu or smoke"),
        ({"table": ["1"]}, "--table cannot be combined with --study"),
        ({"seeds": ["43"]}, "--seeds cannot be combined with --study"),
    ],
)
def test_what_no_study_can_do_is_refused(given, said):
    with pytest.raises(SetupError) as caught:
        command.run({**SETTINGS, **given}, {})
    assert said in str(caught.value)
    with pytest.raises(SetupError, match="--eta cannot be combined"):
        command.run(SETTINGS, {"eta": 0.5})


def test_rows_that_have_a_file_are_not_run_again(tmp_path, capsys):
    settings = {**SETTINGS, "results_dir": str(tmp_path), "rows": ["plain", "n_fgsm"]}
    told = {"command": rows.training_command(rows.ROWS["plain"], rows.CPU)}
    (tmp_path / "plain.json").write_text(json.dumps(told))
    command.run(settings, {})
    out = capsys.readouterr().out
    assert "plain: no defence, done\n" in out
    assert "1 of 2 rows left" in out
    # By other settings it is another training.
    (tmp_path / "plain.json").write_text(json.dumps({"command": told["command"] + " --tau=0.5"}))
    command.run(settings, {})
    assert "2 of 2 rows left" in capsys.readouterr().out


@pytest.fixture(scope="module")
def measured(shallow, tmp_path_factory):
    """A row trained and judged, and the folders of it."""
    runs, results = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("results")
    row = dataclasses.replace(rows.ROWS["plain"], judged="last")
    told = measuring.measure(row, TINY, None, runs, None)
    measuring.write(told, Run(runs / "plain"), results)
    return told, runs, results


def test_what_is_written_is_what_the_saved_model_does(measured):
    told, runs, results = measured
    assert json.loads((results / "plain.json").read_text()) == told
    digits = data.load("digits")
    x, y = data.to_pixels(digits.x_train[-20:]), digits.y_train[-20:]
    model = models.load(runs / "plain" / "last.keras", dtype="float32")
    right = (model.predict(x, verbose=0).argmax(1) == y).sum()
    assert told["clean"] == {"n": 20, "right": right}
    screen = told["attacked"]["screen"]
    assert screen["clean_right"] == right
    assert screen["worst_case_right"] == len(screen["survivors"])
    assert screen["worst_case_right"] <= min(screen["right"].values())
    rates = export.energy(model, x).firing_rates
    outputs = {layer.name: layer.output.shape[1:] for layer in model.layers}
    spikes = sum(np.prod(outputs[name]) * float(rate) for name, rate in rates.items())
    assert told["spikes"] == pytest.approx(spikes, abs=0.1)
    curves = (results / "plain.csv").read_text().splitlines()
    assert len(curves) == 2
    assert curves[0].startswith("epoch,loss")


def test_the_final_leaves_what_a_card_is_made_of(shallow, tmp_path):
    told = measuring.measure(rows.ROWS["final_plain"], TINY, None, tmp_path, None)
    assert (told["model"]["epoch"], told["model"]["validated"]) == (1, None)
    assert told["clean"]["n"] == 360
    pgd = told["attacked"]["pgd"]
    assert pgd["n"] == 20 and pgd["right"]["pgd"] == len(pgd["survivors"])
    folder = model_folder.write(tmp_path / "final_plain", tmp_path / "saved")
    (report,) = model_folder.card_reports(folder).values()
    assert report.survivors().nonzero()[0].tolist() == pgd["survivors"]
    assert (
        report.command
        == "python -m trainers.attack --run_dir=saved_models/saved --attacks=pgd --limit=20"
    )


def test_the_table_says_what_the_files_say(measured):
    told, _, results = measured
    text = table.markdown([rows.ROWS["plain"]], table.read(results))
    share = wilson(told["clean"]["right"], 20)
    assert f"| no defence | 1 of 1 | {share.value:.1%} ({share.low:.1%}-{share.high:.1%}) |" in text
    assert "the last 20 training images" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_seconds_are_those_of_all_epochs_or_none(measured, tmp_path):
    told, runs, _ = measured
    assert told["model"]["training_seconds"]["cpu"] > 0
    for name in ("config.json", "metrics.csv"):
        shutil.copy(runs / "plain" / name, tmp_path)
    # A part that was killed has left its epoch and no seconds.
    (tmp_path / "seconds.json").write_text(json.dumps({"wall": 9.0, "cpu": 9.0, "epochs": 0}))
    assert measuring._all_seconds(Run(tmp_path)) is None
    unknown = told | {"model": told["model"] | {"training_seconds": None}}
    assert comparisons.compare(unknown, told, "screen").cost is None
    text = table.markdown([rows.ROWS["plain"]], {"plain": unknown})
    assert text.splitlines()[-1].endswith(" | - |")


def told_of(name, survivors, n=10, clean=8, spikes=100.0, seconds=50.0, step="final"):
    suite = {"final": "strongest", "screen": "screen"}[step]
    attacked = {"n": n, "eps": 0.1, "survivors": survivors, "worst_case_right": len(survivors)}
    attacked["right"] = {"pgd": len(survivors)}
    return {
        "row": name, "judged_on": "the images", "clean": {"n": n, "right": clean},
        "attacked": {suite: attacked, **({"pgd": attacked} if step == "final" else {})},
        "spikes": spikes, "nanojoules": 1.0,
        "model": {"epoch": 1, "epochs": 1, "machine": "2 cores, x86_64",
                  "training_seconds": {"cpu": seconds}},
    }  # fmt: skip


def test_a_row_is_compared_with_another_image_by_image():
    one = told_of("a", [0, 1, 2, 5], clean=8, spikes=80.0, seconds=100.0)
    other = told_of("b", [0, 9], clean=9)
    found = comparisons.compare(one, other, "strongest")
    assert found.clean == pytest.approx(-0.1)
    assert found.survivors.value == pytest.approx(0.2)
    assert (found.p.only_first, found.p.only_second) == (3, 1)
    assert found.p == pytest.approx(10 / 16)  # 2 * (1 + 4) / 2^4
    assert found.spikes == pytest.approx(0.8) and found.cost == 2
    other["attacked"]["strongest"]["eps"] = 0.2
    with pytest.raises(ValueError, match="on the same images"):
        comparisons.compare(one, other, "strongest")
    assert comparisons.compare(one, one | {"spikes": None}, "strongest").spikes is None


def test_the_mean_over_seeds_has_an_interval_of_images_and_one_of_seeds():
    pairs = [
        (told_of("a", [0, 1, 2], spikes=90.0), told_of("b", [0])),
        (told_of("a", [0, 1], spikes=70.0), told_of("b", [3])),
    ]
    found = comparisons.over_seeds(pairs, "strongest")
    # By image: the first pair gives 0 1 1 0 0.., the second 1 1 0 -1 0..; by seed .2 and .1.
    images = np.array([0.5, 1, 0.5, -0.5, 0, 0, 0, 0, 0, 0])
    expected = scipy.stats.ttest_1samp(images, 0).confidence_interval()
    assert found.survivors.value == pytest.approx(0.15)
    assert (found.survivors.low, found.survivors.high) == pytest.approx(tuple(expected))
    # Two values: the mean and 12.706 standard errors of .05.
    assert (found.low, found.high) == pytest.approx((0.15 - 0.6353, 0.15 + 0.6353), abs=1e-4)
    assert found.spikes == pytest.approx(0.8)


def test_the_table_of_comparisons_has_each_pair_that_is_done():
    found = {
        "final_paper_at": told_of("final_paper_at", []),
        "final_robust": told_of("final_robust", [0, 1, 2, 3, 4, 5, 6, 7]),
        "final_robust_omega": told_of("final_robust_omega", [0, 1, 2, 3, 4, 5, 6], spikes=75.0),
    }
    text = table.markdown(list(rows.ROWS.values()), found)
    title = "| recipe robust, seed 42 | AT as in the paper: PGD-2 at 2/255, seed 42 |"
    assert f"{title} +0.0 | +80.0 (" in text and "| 0.0078 | 1.00 x | 1.0 x |" in text
    assert "| recipe robust + Omega, seed 42 | recipe robust, seed 42 | +0.0 | -10.0 (" in text
    assert "| 1 | 0.75 x |" in text and "mean of" not in text
    for name in ("final_paper_at", "final_robust"):
        found[f"{name}_seed43"] = found[name] | {"row": f"{name}_seed43"}
    text = table.markdown(list(rows.ROWS.values()), found)
    assert "mean of 2 seeds: +80.0 points of survivors; " in text and text.count("mean of") == 1
    assert "over seeds +80.0 to +80.0; 1.00 times the spikes." in text


def test_a_cost_on_other_cores_is_marked():
    found = {"plain": told_of("plain", [], step="screen", seconds=100.0)}
    found["mpd_sgr"] = told_of("mpd_sgr", [], step="screen", seconds=90.0)
    assert "| 0.9 x |" in table.markdown(list(rows.ROWS.values()), found)
    found["mpd_sgr"]["model"]["machine"] = "1 cores, x86_64"
    text = table.markdown(list(rows.ROWS.values()), found)
    assert "| ~0.9 x |" in text and "| 90 (one core) |" in text and "| 100 |" in text


def test_every_comparison_is_of_rows_of_one_step_and_seed():
    for one, other in rows.BESIDE.items():
        first, second = rows.ROWS[one], rows.ROWS[other]
        assert (first.step, first.seed) == (second.step, second.seed)


def test_a_training_that_fails_is_written_down_as_such(monkeypatch, measured, tmp_path):
    def fail(config, attack):
        raise RunError("the loss is nan")

    monkeypatch.setattr(measuring, "train", fail)
    told = measuring.measure(rows.ROWS["plain"], TINY, None, tmp_path, None)
    assert told["error"] == "the loss is nan"
    well = table.read(measured[2])["plain"] | {"row": "mpd_sgr"}
    found = {"plain": told, "mpd_sgr": well}
    text = table.markdown([rows.ROWS["plain"], rows.ROWS["mpd_sgr"]], found)
    assert "| no defence | failed: the loss is nan |" in text


def test_a_full_disk_is_no_result(monkeypatch, tmp_path):
    def fail(config, attack):
        raise RunError("cannot write") from OSError(28, "No space left on device")

    monkeypatch.setattr(measuring, "train", fail)
    with pytest.raises(RunError, match="cannot write"):
        measuring.measure(rows.ROWS["plain"], TINY, None, tmp_path, None)


def test_the_page_says_what_the_files_beside_it_say(pytestconfig):
    folder = pytestconfig.rootpath / "docs" / "robust-training"
    page = folder.with_name("robust-training.md").read_text()
    found = table.read(folder)
    assert found
    assert set(found) <= set(rows.ROWS)
    shown = marked.parts(page)[table.TABLE]
    assert shown == table.markdown(list(rows.ROWS.values()), found).strip()
    # Of the rows and the recipe as they are now.
    for name, told in found.items():
        assert told["command"] == rows.training_command(rows.ROWS[name], rows.CPU), name


def test_the_page_sums_up_what_its_files_say(pytestconfig):
    folder = pytestconfig.rootpath / "docs" / "robust-training"
    found = table.read(folder)
    plain, sr, soft, tgo, long, relu = (
        found[f"n_fgsm{name}"]
        for name in ("", "_sr", "_sr_soft_tau", "_sr_tgo_soft_tau", "_long", "_relu")
    )

    def left(told):
        screen = told["attacked"]["screen"]
        return f"{100 * screen['worst_case_right'] / screen['n']:.1f} %"

    def clean(told):
        return f"{100 * told['clean']['right'] / told['clean']['n']:.1f} %"

    def times(told, other):
        return f"{comparisons.compare(told, other, 'screen').cost:.1f} times"

    beside = comparisons.compare(long, sr, "screen")
    text = " ".join(folder.with_name("robust-training.md").read_text().split())
    says = f"SR leaves {left(sr)} in place of N-FGSM's {left(plain)}, for {times(sr, plain)} the "
    says += f"training time; with soft reset and tau .5 it leaves {left(soft)}, for "
    says += f"{times(soft, plain)}. N-FGSM alone for SR's time, {long['model']['epochs']} epochs, "
    says += f"leaves {left(long)} (McNemar p = {float(beside.p):.2g} beside SR), and has "
    says += f"{clean(long)} clean accuracy where SR has {clean(sr)}. TGO on top leaves {left(tgo)},"
    says += f" and {clean(tgo)} clean accuracy where the recipe has {clean(soft)}."
    assert says in text
    assert f"leaves {left(relu)}, for half the time of N-FGSM." in text
    assert 0.4 < comparisons.compare(relu, plain, "screen").cost < 0.6
    longer = comparisons.compare(found["n_fgsm_t8"], plain, "screen")
    says = f"T = 8 in place of 4 leaves {left(found['n_fgsm_t8'])} in place of {left(plain)} "
    assert f"{says}(McNemar p = {float(longer.p):.2g}), for twice the spikes." in text
    assert longer.spikes == pytest.approx(2, abs=0.1)
    # "about an eighth less of them": on one core beside two.
    alone = comparisons.compare(found["n_fgsm_narrow"], plain, "screen")
    assert not alone.like_machines and alone.cost == pytest.approx(7 / 8, abs=0.02)


def test_the_page_sums_up_the_final(pytestconfig):
    folder = pytestconfig.rootpath / "docs" / "robust-training"
    found = table.read(folder)
    robust, paper = found["final_robust"], found["final_paper_at"]

    def both(share):
        return " and ".join(f"{share(told):.1f} %" for told in (robust, paper))

    def left(suite):
        return lambda told: 100 * told["attacked"][suite]["worst_case_right"] / 500

    def clean(told):
        return 100 * told["clean"]["right"] / told["clean"]["n"]

    beside = comparisons.compare(robust, paper, "strongest")
    text = " ".join(folder.with_name("robust-training.md").read_text().split())
    strongest = [f"{left('strongest')(told):.1f} %" for told in (robust, paper)]
    says = f"`strongest` leaves {strongest[0]} with the recipe and {strongest[1]} with the paper's "
    says += f"adversarial training (McNemar p = {float(beside.p):.2g}, one seed each), at "
    says += f"{both(clean)} clean accuracy, for {beside.cost:.1f} times the training time and "
    says += f"{beside.spikes:.2f} times the spikes."
    assert says in text
    assert f" leaves {both(left('autoattack'))} of the same images: more than half" in text
    for told in (robust, paper):
        assert left("strongest")(told) < left("autoattack")(told) / 2
    assert f"PGD-7 leaves {both(left('pgd'))}." in text
    twin = found["final_relu"]
    beside = comparisons.compare(twin, robust, "strongest")
    assert left("strongest")(twin) == left("autoattack")(twin)
    says = f"for {beside.cost:.1f} times the time, has {clean(twin):.1f} % clean accuracy; "
    says += f"`strongest` and AutoAttack leave it {left('strongest')(twin):.1f} % each. That is "
    says += f"the distance: {100 * beside.survivors.value:.1f} points of survivors (95 % interval "
    says += f"{100 * beside.survivors.low:.1f} to {100 * beside.survivors.high:.1f})."
    assert says in text
    done = [told for name, told in found.items() if name.startswith("final_")]
    assert all(told["model"]["machine"].startswith("1 ") for told in done)


def test_the_recipe_keeps_what_it_promises(pytestconfig):
    found = table.read(pytestconfig.rootpath / "docs" / "robust-training")
    robust, paper = found["final_robust"], found["final_paper_at"]
    assert robust["clean"]["right"] >= 0.4 * robust["clean"]["n"]
    beside = comparisons.compare(robust, paper, "strongest")
    assert beside.survivors.low > 0 and float(beside.p) < 0.01


def test_the_recipe_is_of_those_that_leave_most_and_keep_clean_accuracy(pytestconfig):
    found = table.read(pytestconfig.rootpath / "docs" / "robust-training")

    def left(name):
        return found[name]["attacked"]["screen"]["worst_case_right"]

    screen = [row for row in rows.SCREEN if row.name in found]
    spiking = [row.name for row in screen if row.settings.get("neuron") != "relu"]
    accurate = [
        name for name in spiking if found[name]["clean"]["right"] >= 0.4 * found[name]["clean"]["n"]
    ]
    best = sorted(accurate, key=left)[-2:]
    assert set(best) == {"n_fgsm_sr", "n_fgsm_sr_soft_tau"}
    chosen = rows.ROWS["n_fgsm_sr_soft_tau"].settings
    assert chosen.items() - {("eta", 0.0)} <= RECIPES["robust"].items()
    # "leave within 1.5 points of what N-FGSM leaves", of 500 images.
    near = ("ema", "smooth", "assg", "wide", "narrow", "omega", "omega_1")
    assert all(abs(left(f"n_fgsm_{name}") - left("n_fgsm")) <= 7.5 for name in near)
    assert abs(left("trades") - left("n_fgsm")) <= 7.5


def test_a_page_beside_the_folder_is_written_between_its_marks(measured, tmp_path):
    _, _, results = measured
    folder = tmp_path / "study"
    shutil.copytree(results, folder)
    page = tmp_path / "study.md"
    page.write_text("before\n<!-- table: robust-training -->\nold\n<!-- end -->\nafter\n")
    assert table.write(folder) == page
    text = table.markdown(list(rows.ROWS.values()), table.read(folder))
    assert marked.parts(page.read_text()) == {table.TABLE: text.strip()}
    assert marked.outside(page.read_text()) == "before\n\nafter\n"
    page.unlink()
    assert table.write(folder) == folder / "table.md"
    assert (folder / "table.md").read_text() == text
