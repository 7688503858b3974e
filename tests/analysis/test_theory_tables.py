"""The program that holds theory against a run folder's model, from flags to files."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from keras_mpdsgr.analysis import theory_tables
from keras_mpdsgr.analysis.evolution import LAYER_METRICS
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import theory_report
from keras_mpdsgr.experiments.epoch_table import EpochTable

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DIGITS = REPOSITORY / "saved_models" / "digits"


@pytest.fixture
def run(tmp_path):
    """A run folder with the digits model, and two epochs of made-up figures."""
    for name in ("config.json", "model.keras"):
        (tmp_path / "run").mkdir(exist_ok=True)
        shutil.copy(DIGITS / name, tmp_path / "run" / name)
    row = {"epoch": 1, "input_gradient_l1": 3.0, **{f"a/{name}": 0.5 for name in LAYER_METRICS}}
    EpochTable(tmp_path / "run" / "metrics.csv").append([row, {**row, "epoch": 2}])
    return tmp_path / "run"


def test_tables_and_pictures_are_written(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(theory_tables, "FACTORS", (1.0, 8.0))
    monkeypatch.setattr(theory_tables, "SHIFTS", (-0.5,))
    output = tmp_path / "out"
    theory_report.write(DIGITS, compare=[run], output=output, limit=8)
    assert sorted(entry.name for entry in output.iterdir()) == [
        "link.png",
        "omega.png",
        "potentials.png",
        "theory.json",
        "theory.md",
    ]
    page = (output / "theory.md").read_text()
    assert page.count("## ") == 8
    assert "8 test images of digits" in page
    for table in page.split("## ")[1:]:
        heads = {line.count("|") for line in table.splitlines() if line.startswith("|")}
        assert len(heads) == 1  # as many words in each row
    assert "| 8 | 0.0" in page  # (lambda, beta - v_th) times 8: Omega below .1
    shown = capsys.readouterr().out
    assert "Eq. 8" in shown
    assert "E[h]" in shown
    assert "…" not in shown
    assert "hold no metrics.csv" not in shown


def test_the_closed_forms_are_those_that_the_theory_page_quotes():
    rows = {(row[0], row[1]): row[2:4] for row in theory_tables.closed_form_table().rows}
    assert rows["1", "0"] == ["0.477", "0.241"]
    assert rows["2", "0"] == ["0.341", "0.347"]
    assert rows["8", "0"] == ["0.099", "0.395"]


@pytest.mark.parametrize("broken", ["no folder", "no figures"])
def test_what_is_no_run_is_the_callers_to_mend(run, tmp_path, broken):
    if broken == "no folder":
        with pytest.raises(SetupError, match="is not a run folder"):
            theory_report.write(tmp_path / "nothing")
        return
    config = json.loads((run / "config.json").read_text())
    config["flags"]["dataset"] = "mnist"
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(SetupError, match="mnist"):
        theory_report.write(run)


def test_the_page_shows_the_trainings_that_the_program_has_printed():
    """docs/theory.json is what the page's command writes; its runs are eta<ETA>-seed<SEED>."""
    held = json.loads((REPOSITORY / "docs" / "theory.json").read_text())
    page = (REPOSITORY / "docs" / "theory.md").read_text().splitlines()
    (ends,) = (table["rows"] for title, table in held.items() if title.startswith("The last epoch"))
    for label, *numbers in ends:
        assert f"| {' | '.join([*_of_run(label), *numbers])} |" in page
    (links,) = (table["rows"] for title, table in held.items() if "input gradient against" in title)
    found = {(label, against): numbers for label, against, _, *numbers in links}
    for label in dict.fromkeys(row[0] for row in links):
        cells = list(_of_run(label))
        for against in ("Omega", "Omega, changes", "cross-entropy"):
            pearson, its_p, spearman, other_p = found[label, against]
            both = [f"{pearson} ({its_p})", f"{spearman} ({other_p})"]
            cells += both[1:] if against == "cross-entropy" else both
        assert f"| {' | '.join(cells)} |" in page
    rows = [line for line in page if re.match(r"\| [\d.]+ \| 4\d \|", line)]
    assert len(rows) == 2 * len(ends)  # and none that it has not printed


def test_every_figure_in_a_table_of_the_page_was_printed():
    held = json.loads((REPOSITORY / "docs" / "theory.json").read_text())
    lines = (line for table in held.values() for line in (table["columns"], *table["rows"]))
    printed = {cell for line in lines for cell in line}
    shown = [
        cell.strip()
        for line in (REPOSITORY / "docs" / "theory.md").read_text().splitlines()
        if line.startswith("| ") and not re.match(r"\| [\d.]+ \| 4\d \|", line)
        for cell in line.split("|")
    ]
    figures = [cell for cell in shown if re.fullmatch(r"[-+.,%\d ]*\d[-+.,%\d ]*", cell)]
    assert len(figures) > 300
    assert set(figures) <= printed


def test_figures_in_the_text_of_the_page_are_those_of_its_tables():
    held = json.loads((REPOSITORY / "docs" / "theory.json").read_text())
    page = " ".join((REPOSITORY / "docs" / "theory.md").read_text().split())
    (distances,) = (t["rows"] for name, t in held.items() if name.startswith("Theorem 1"))
    at = {
        t: [row for row in distances if row[1] == str(t) and row[0].startswith("conv")]
        for t in (1, 4)
    }
    behind_spikes = [float(row[3]) for row in at[1][1:6]]
    told = f"(t = 1: {min(behind_spikes):.2f} to {max(behind_spikes):.2f} in conv2 to conv6)"
    assert told in page
    # Omega: the true share over that of the normal with the potentials' own moments.
    ratios = [float(row[8]) / float(row[9]) for row in at[4]]
    assert f"is {min(ratios):.1f} to {max(ratios):.1f} times as large in the convolutions" in page
    leak = 0.99 ** np.arange(8)
    told = f"{leak.sum():.1f} against {np.sqrt((leak**2).sum()):.1f} at tau = .99, T = 8"
    assert told in page


def _of_run(label):
    return re.fullmatch(r"eta([\d.]+)-seed(\d+)", label).groups()
