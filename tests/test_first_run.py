"""README's first hour: its numbers are those of committed files."""

import json
import pathlib
import re

import numpy as np
import pytest
import scipy.stats

from benchmarks import first_run
from keras_mpdsgr.evaluation import statistics
from trainers import marked
from trainers.reproduction import paper

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()
RUNS = json.loads(first_run.RESULTS.read_text())


def held(name):
    return json.loads((REPOSITORY / name).read_text())


def test_the_table_is_what_the_file_says():
    assert marked.parts(README)[first_run.TABLE] == first_run.table(RUNS)


def test_the_two_runs_are_those_of_the_commands():
    found = [re.findall(r"--(\w+) (\S+)", line) for line in README.splitlines()
             if "-m trainers.cifar --dataset digits" in line]  # fmt: skip
    assert len(found) == 2
    for run, flags in zip(RUNS, found, strict=True):
        asked = dict(flags)
        assert run["eta"] == float(asked.pop("eta"))
        # The default of eta is left out of a recorded command.
        kept = dict(re.findall(r"--(\w+)=(\S+)", run["command"]))
        kept.pop("eta", None)
        kept.pop("defense", None)
        assert kept == asked
        assert run["last"]["epoch"] == int(asked["epochs"])


def test_the_p_value_is_the_binomial_tail():
    ours, control = (set(run["right"]["sapgd50"]) for run in RUNS)
    differ = len(ours ^ control)
    expected = scipy.stats.binomtest(len(ours - control), differ).pvalue
    total = RUNS[0]["images"]
    p = statistics.mcnemar(*([i in kept for i in range(total)] for kept in (ours, control)))
    assert float(p) == pytest.approx(expected)
    assert f"| {expected:.2g} |\n" in README


def test_no_image_is_right_under_all_attacks_and_not_under_each():
    for run in RUNS:
        right = {name: set(kept) for name, kept in run["right"].items()}
        worst = right.pop("worst_case")
        assert worst == set.intersection(*right.values())


def test_the_numbers_of_robust_training_are_those_of_the_study():
    robust, paper_at, relu = (
        held(f"docs/robust-training/final_{name}.json") for name in ("robust", "paper_at", "relu")
    )

    def left(told, suite="strongest"):
        return f"{100 * told['attacked'][suite]['worst_case_right'] / 500:.1f} %"

    def clean(told):
        return f"{100 * told['clean']['right'] / told['clean']['n']:.1f} %"

    text = " ".join(README.split())
    both = f"{left(robust)} with `--recipe robust`, {left(paper_at)} with the paper's adversarial "
    assert f"{both}training at 2/255, at {clean(robust)} and {clean(paper_at)} clean" in text
    as_published = [left(told, "autoattack") for told in (robust, paper_at)]
    assert f"AutoAttack as published leaves {' and '.join(as_published)} ([Robust" in text
    assert (
        f"keeps {left(relu)} under `strongest` in place of {left(robust)}, at {clean(relu)} clean "
        f"accuracy in place of {clean(robust)}."
    ) in text


def test_the_other_numbers_are_those_of_their_files():
    final, strongest = (
        held(f"saved_models/digits/reports/{name}.json") for name in ("final", "strongest")
    )
    assert (f"from {final['accuracy']['sapgd50']:.1%} to {strongest['worst_case']:.1%}").replace(
        "%", " %"
    ) in README
    trained = held("docs/omega-seeds.json")["trainings"]
    shares = [
        [len(told["ways"][way]["left"]) / told["ways"][way]["images"] for told in trained]
        for way in (0, 1)
    ]
    kept = [f"{100 * share:.1f} %" for share in shares[1]]
    assert len(kept) == 8 and f"single seeds leave {min(kept)} to {max(kept)} with it" in README
    test = scipy.stats.ttest_rel(shares[1], shares[0])
    low, high = test.confidence_interval()
    mean = np.mean(np.subtract(shares[1], shares[0]))
    assert (
        f"by {100 * mean:+.1f} points (95 % interval of the seeds\n  {100 * low:+.1f} to " in README
    )
    assert f"\n  {100 * low:+.1f} to {100 * high:+.1f})" in README
    performance = (REPOSITORY / "docs" / "performance.md").read_text()
    assert f"in float32 alone from {min(kept)} to {max(kept)} left" in performance
    told = held("docs/theory.json")["The last epoch, means over layers"]
    rate = told["columns"].index("firing rate")
    rates = {row[0]: row[rate] for row in told["rows"]}
    assert f"from {rates['eta0-seed42']} to {rates['eta4-seed42']}" in README
    rows = [held(f"docs/robust-training/{name}.json") for name in ("n_fgsm_omega_1", "n_fgsm")]
    kept = [row["attacked"]["screen"]["survivors"] for row in rows]
    p = statistics.mcnemar(*([i in one for i in range(500)] for one in kept))
    worst, clean = (
        [f"{100 * count / 500:.1f} %" for count in counts]
        for counts in (map(len, kept), (row["clean"]["right"] for row in rows))
    )
    assert (
        f"keeps {' in place of '.join(worst)} (p = {p:.2f}) with "
        f"{rows[0]['spikes'] / rows[1]['spikes']:.2f} times the spikes, at {clean[0]} clean "
        f"accuracy in place of {clean[1]}."
    ) in README
    (ours,) = paper.of_cell("1", ["Ours"], "Vanilla Training", "CIFAR-10 PGD")
    (without,) = paper.of_cell("1", ["REG"], "Vanilla Training", "CIFAR-10 PGD")
    assert f"{ours} % under PGD-7 with MPD-SGR against {without} % with REG" in README
