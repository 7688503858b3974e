"""Tables laid out from results made by hand."""

import csv
import io

import pytest

from trainers.reproduction import attack_groups, durations, layout, pictures, plan
from trainers.reproduction.runs import Recipe
from trainers.reproduction.scales import SCALES
from trainers.reproduction.store import Store

N = 200


def recipe(scale="cpu", seeds=(42,)):
    return Recipe(SCALES[scale], seeds)


@pytest.fixture
def write(report_of):
    return lambda store, task, shares: store.write_result(task, report_of(shares, N))


@pytest.fixture
def fill(write):
    """Results for all that a table reads."""

    def fill(store, table, share=lambda run, measure: 0.5):
        found = {}
        for reading in table.readings():
            for run in reading.runs:
                task = attack_groups.Task(run, attack_groups.group_of(reading.measure))
                found.setdefault(task, {})[reading.measure] = share(run, reading.measure)
        for task, shares in found.items():
            write(store, task, shares)

    return fill


def rows_of(page):
    """The cells of a Markdown table, row by row, without header."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def by_method(values):
    """Shares by defence; with adversarial training 0.1 more."""

    def share(run, measure):
        more = 0.1 if run.config.adversarial_training else 0.0
        return {**values, "clean": dict.fromkeys(values["fgsm"], 0.8)}.get(measure, values["fgsm"])[
            run.config.defense
        ] + more

    return share


RIVALRY = {"fgsm": {"reg": 0.25, "stog": 0.16, "dlif": 0.11, "feel": 0.29, "sr": 0.31,
                    "mpd_sgr": 0.475}}  # fmt: skip


def test_improvement_is_ours_less_the_best_rival_in_each_half(tmp_path, fill):
    store = Store(tmp_path, SCALES["cpu"])
    table = plan.table("1", recipe())
    fill(store, table, by_method(RIVALRY))
    lines = layout.lines(table, store)
    assert len(lines) == 14
    assert [line.labels[0] for line in lines if line.computed] == ["Improvement"] * 2
    for line in (lines[6], lines[13]):
        assert line.cells["CIFAR-10 FGSM"].loss == pytest.approx(47.5 - 31)
        assert line.cells["CIFAR-10 Clean"].loss == pytest.approx(0)
    page = layout.markdown(table, store, recipe())
    # Ours beside the paper's, and the paper's own improvement.
    assert "**47.50** [47.59]" in page
    assert "+16.50 [+15.87]" in page


def test_a_dead_rival_is_said_and_does_not_count_as_the_best(tmp_path, fill, write):
    store = Store(tmp_path, SCALES["cpu"])
    table = plan.table("1", recipe())
    fill(store, table, by_method(RIVALRY))
    (dead,) = table.rows[4].cells["CIFAR-10 FGSM"][0].runs
    write(store, attack_groups.Task(dead, "clean"), {"clean": 0.11})
    lines = layout.lines(table, store)
    assert lines[6].cells["CIFAR-10 FGSM"].loss == pytest.approx(47.5 - 29)
    page = layout.markdown(table, store, recipe())
    assert "dead network: 11.0% of clean images" in page
    assert "31.00 †1" in page


def test_a_failed_run_is_written_as_failed_with_its_reason(tmp_path, fill):
    store = Store(tmp_path, SCALES["cpu"])
    table = plan.table("1", recipe())
    fill(store, table, by_method(RIVALRY))
    (failed,) = table.rows[2].cells["CIFAR-10 FGSM"][0].runs
    store.write_failure(failed, "the loss is nan in epoch 3")
    rows = rows_of(layout.markdown(table, store, recipe()))
    dlif = next(row for row in rows if row[0] == "DLIF")
    assert dlif[1].startswith("failed †1")
    assert "80.00" in dlif[6]
    assert "failed: the loss is nan in epoch 3" in layout.markdown(table, store, recipe())
    assert "nan in epoch 3" in layout.csv_text(table, store)


def test_what_is_missing_is_a_dash_and_no_number(tmp_path):
    store = Store(tmp_path, SCALES["cpu"])
    table = plan.table("1", recipe())
    rows = rows_of(layout.markdown(table, store, recipe()))
    assert rows[1][1] == "- [92.49]"


def test_noise_shows_its_loss_against_clean_in_brackets(tmp_path, fill):
    store = Store(tmp_path, SCALES["cpu"])
    table = plan.table("3", recipe())
    fill(store, table, lambda run, m: {"clean": 0.7, "gaussian": 0.25, "uniform": 0.5}[m])
    rows = rows_of(layout.markdown(table, store, recipe()))
    # All are equally good, so all are bold.
    assert [cell.replace("**", "") for cell in rows[0]] == [
        "REG", "70.00 [72.82]", "25.00 (-45.00) [24.73 (-48.09)]",
        "50.00 (-20.00) [49.86 (-22.96)]",
    ]  # fmt: skip


def test_table_2_shows_vanilla_and_ours_in_each_cell_and_shared_figures_once(tmp_path, fill):
    store = Store(tmp_path, SCALES["cpu"])
    table = plan.table("2", recipe())
    values = {"reg": 0.3, "mpd_sgr": 0.4}
    fill(store, table, lambda run, measure: values[run.config.defense])
    rows = rows_of(layout.markdown(table, store, recipe()))
    assert len(rows) == 16
    assert rows[0][:2] == ["CIFAR-10", "VGG11, BPTT"]
    assert rows[0][3] == "30.00 / **40.00** [23.86 / 42.12]"
    assert rows[0][-1] == "30.00 / **40.00**"
    assert rows[1][2] == rows[1][-1] == ""
    assert rows[1][3] == "30.00 / **40.00** [27.92 / 47.61]"


def test_csv_has_the_papers_rows_with_images_and_intervals(tmp_path, fill):
    store = Store(tmp_path, SCALES["cpu"])
    table = plan.table("4", recipe())
    fill(store, table)
    rows = list(csv.DictReader(io.StringIO(layout.csv_text(table, store))))
    assert len(rows) == 12
    first = rows[0]
    assert (first["Model+SG"], first["Methods"]) == ("VGG11+Rec", "REG")
    # Wilson, 100 of 200, by hand with z = 1.959964.
    assert (first["PGD"], first["PGD low"], first["PGD high"]) == ("50.00", "43.14", "56.86")
    assert (first["PGD n"], first["PGD paper"]) == ("200", "3.13")
    assert first["worst case"] == "50.00"
    assert first["worst case paper"] == ""


@pytest.mark.parametrize("number", plan.NUMBERS)
def test_smoke_says_so_and_shows_no_figure_of_the_paper(number, tmp_path, fill):
    store = Store(tmp_path, SCALES["smoke"])
    table = plan.table(number, recipe("smoke"))
    fill(store, table)
    page = layout.markdown(table, store, recipe("smoke"))
    title = page.splitlines()[0]
    assert "smoke: digits in place of " in title
    assert "not the paper's data" in title
    assert all(name in title for name in table.datasets)
    assert not any("[" in cell for row in rows_of(page) for cell in row)
    assert "paper" not in layout.csv_text(table, store)


def test_several_seeds_give_mean_deviation_and_students_interval(tmp_path, fill):
    store = Store(tmp_path, SCALES["cpu"])
    several = recipe(seeds=(1, 2, 3))
    table = plan.table("3", several)
    fill(store, table, lambda run, measure: 0.4 + run.config.seed / 10)
    outcome = store.outcome(table.rows[0].cells["Gaussian Noise"][0])
    assert (outcome.value, outcome.spread) == (pytest.approx(60), pytest.approx(10))
    # 4.3027 is the 97.5 % quantile of Student's t with 2 degrees of freedom.
    assert outcome.high - outcome.value == pytest.approx(4.3027 * 10 / 3**0.5, abs=1e-3)
    assert "60.00 ± 10.00" in layout.markdown(table, store, several)


def test_a_result_asked_otherwise_counts_as_missing(tmp_path, fill, write):
    table = plan.table("3", recipe())
    fill(Store(tmp_path, SCALES["cpu"]), table)
    reading = table.rows[0].cells["Clean"][0]
    assert Store(tmp_path, SCALES["cpu"]).outcome(reading).value == 50
    task = attack_groups.Task(reading.runs[0], "strongest")
    write(Store(tmp_path, SCALES["cpu"]), task, {"worst_case": 0.2})
    assert Store(tmp_path, SCALES["cpu"]).result(task) is not None
    assert Store(tmp_path, SCALES["paper"]).result(task) is None


@pytest.mark.parametrize("number", plan.NUMBERS)
def test_every_table_is_drawn(number, tmp_path, fill):
    store = Store(tmp_path, SCALES["cpu"])
    table = plan.table(number, recipe())
    fill(store, table)
    pictures.plot_table(tmp_path / "table.png", table, store)
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")


def test_durations_are_told_in_words():
    told = [durations.duration(seconds) for seconds in (40, 700, 12_000, 432_000)]
    assert told == ["40 s", "12 min", "3 h 20 min", "5 days"]


def test_finished_runs_scale_the_estimates_of_the_others(tmp_path):
    store = Store(tmp_path, SCALES["cpu"])
    run, other = (recipe().runs("CIFAR-10", "VGG11", m, 4)[0] for m in ("REG", "Ours"))
    before = durations.Durations(store, [run, other])
    assert before.finished == 0
    folder = store.folder(run)
    folder.path.mkdir(parents=True)
    folder.done_path.touch()
    store.add_seconds(run, "training", 3 * before.training(run))
    after = durations.Durations(store, [run, other])
    assert after.training(other) == pytest.approx(3 * before.training(other), rel=0.01)
    assert "1 finished run" in after.source
