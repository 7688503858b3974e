"""The plans are the paper's tables and figures, row by row; the paper's figures are its own."""

import numpy as np
import pytest

from keras_mpdsgr import surrogates
from trainers.reproduction import attack_groups, figure_plans, paper, plan
from trainers.reproduction.execution import Agenda
from trainers.reproduction.runs import Recipe
from trainers.reproduction.scales import SCALES
from trainers.reproduction.store import Store

RIVALS = ["StoG", "DLIF", "FEEL", "SR"]


def recipe(scale="paper", **options):
    return Recipe(SCALES[scale], **options)


def labels(number):
    return [row.labels for row in plan.table(number, recipe()).rows]


def columns(number):
    return [column.key for column in plan.table(number, recipe()).columns]


def config_of(row, column, part=0):
    return row.cells[column][part].runs[0].config


def test_table_1_has_both_halves_of_six_methods_on_two_data_sets():
    table = plan.table("1", recipe())
    assert [row.labels[0] for row in table.rows] == [
        "REG", *RIVALS, "Ours", "RAT", *RIVALS, "Ours",
    ]  # fmt: skip
    assert [row.section for row in table.rows] == ["Vanilla Training"] * 6 + [
        "Adversarial Training"
    ] * 6
    measured = ["Clean", "FGSM", "PGD", "BIM", "worst case"]
    assert columns("1") == [f"{d} {m}" for d in ("CIFAR-10", "CIFAR-100") for m in measured]
    assert table.improvement
    for row in table.rows:
        trained = config_of(row, "CIFAR-10 FGSM")
        assert (trained.model, trained.timesteps, trained.width) == ("vgg11", 8, 1.0)
        assert trained.adversarial_training == (row.section == "Adversarial Training")
        assert config_of(row, "CIFAR-100 FGSM").dataset == "cifar100"


def test_each_method_of_table_1_is_the_defence_of_its_name():
    found = {
        row.labels[0]: config_of(row, "CIFAR-10 PGD") for row in plan.table("1", recipe()).rows
    }
    assert {name: one.defense for name, one in found.items()} == {
        "REG": "reg", "RAT": "reg", "StoG": "stog", "DLIF": "dlif", "FEEL": "feel", "SR": "sr",
        "Ours": "mpd_sgr",
    }  # fmt: skip
    assert {name: one.eta for name, one in found.items() if one.eta} == {"Ours": 0.05}
    assert {one.epochs for name, one in found.items() if name != "DLIF"} == {200}
    assert found["DLIF"].epochs == 100
    assert found["SR"].batch_size == 32


def test_table_2_has_sixteen_rows_of_two_backwards_on_the_same_eight_pairs():
    models = ["VGG11, BPTT", "VGG11, BPTR", "VGG11, BPTT, AT", "VGG11, BPTR, AT",
              "WRN16, BPTT", "WRN16, BPTR", "WRN16, BPTT, AT", "WRN16, BPTR, AT"]  # fmt: skip
    assert labels("2") == [(d, m) for d in ("CIFAR-10", "CIFAR-100") for m in models]
    assert columns("2") == ["Clean", "FGSM", "PGD", "BIM", "CW", "worst case"]
    table = plan.table("2", recipe())
    assert table.parts == ("vanilla", "ours")
    runs = attack_groups.runs(table.readings())
    assert len(runs) == 16
    assert {run.config.timesteps for run in runs} == {4}
    for bptt, bptr in zip(table.rows[::2], table.rows[1::2], strict=True):
        assert [one.runs for one in bptt.cells["PGD"]] == [one.runs for one in bptr.cells["PGD"]]
        assert [one.measure for one in bptr.cells["CW"]] == ["cw_bptr", "cw_bptr"]
        assert "Clean" not in bptr.cells
        vanilla, ours = (one.runs[0].config for one in bptt.cells["FGSM"])
        assert (vanilla.defense, ours.defense) == ("reg", "mpd_sgr")
        assert vanilla.adversarial_training == ours.adversarial_training


def test_table_3_has_four_defences_under_two_kinds_of_noise():
    assert labels("3") == [("REG",), ("FEEL",), ("SR",), ("Ours",)]
    assert columns("3") == ["Clean", "Gaussian Noise", "Uniform Noise"]
    row = plan.table("3", recipe()).rows[0]
    assert config_of(row, "Clean").dataset == "cifar100"
    assert config_of(row, "Clean").timesteps == 8


def test_table_4_has_two_networks_with_three_surrogates_without_and_with_ours():
    assert labels("4") == [
        (f"{model}+{short}", method)
        for model in ("VGG11", "WRN16")
        for short in ("Rec", "Sig", "Sup")
        for method in ("REG", "Ours")
    ]
    assert columns("4") == ["Clean", "FGSM", "PGD", "BIM", "worst case"]
    surrogates = [config_of(row, "PGD").surrogate for row in plan.table("4", recipe()).rows]
    assert surrogates[::2] == ["rectangular", "sigmoid", "superspike"] * 2


def test_table_5_has_three_codings_without_and_with_ours():
    assert labels("5") == [
        ("Tiny-ImageNet", "VGG16", name)
        for name in ("DIR", "DIR+Ours", "POS", "POS+Ours", "RSC", "RSC+Ours")
    ]
    assert columns("5") == ["Clean", "FGSM", "PGD", "worst case"]
    found = [config_of(row, "PGD") for row in plan.table("5", recipe()).rows]
    assert [one.coding for one in found[::2]] == ["direct", "poisson", "smoothing"]
    assert {(one.dataset, one.model) for one in found} == {("tiny_imagenet", "vgg16")}
    assert [one.defense for one in found] == ["none", "mpd_sgr"] * 3


def test_figure_2_has_four_curves_of_each_network_over_eps_and_over_steps():
    figure = figure_plans.figure("2", recipe())
    assert [panel.title.split(":")[0] for panel in figure.panels] == ["VGG11", "WRN16"] * 2
    for panel in figure.panels:
        names = [curve.label for curve in panel.curves]
        assert names == ["vanilla", "ours", "vanilla, AT", "ours, AT"]
    attacked = figure.panels[0].curves[0].readings[0].runs[0]
    task = attack_groups.Task(attacked, "eps")
    built = attack_groups.build(task, SCALES["paper"])
    assert {attack.steps for attack in built.values()} == {4}
    assert built["pgd_eps8"].eps == pytest.approx(8 / 255)
    built = attack_groups.build(attack_groups.Task(attacked, "steps"), SCALES["paper"])
    assert {attack.eps for attack in built.values()} == {8 / 255}
    assert built["pgd_steps10"].steps == 10


def test_figure_3_attacks_through_a_substitute_without_regularizer_of_the_same_network():
    for panel in figure_plans.figure("3", recipe()).panels:
        white, black = panel.curves[:2]
        assert [one.measure for one in white.readings] == ["fgsm", "pgd", "bim"]
        for reading in black.readings:
            (target,), (substitute,) = reading.runs, reading.substitutes
            assert substitute.config.defense == "none"
            assert substitute.config.eta == 0
            assert substitute.config.seed != target.config.seed
            same = ("dataset", "model", "width", "timesteps", "surrogate")
            assert all(getattr(substitute.config, k) == getattr(target.config, k) for k in same)


def test_a_substitute_comes_before_every_run_that_is_attacked_through_it():
    readings = figure_plans.figure("3", recipe("smoke")).readings()
    order = attack_groups.runs(readings)
    through = [
        (substitute, run)
        for reading in readings
        for substitute, run in zip(reading.substitutes, reading.runs, strict=False)
    ]
    assert through
    assert all(order.index(substitute) < order.index(run) for substitute, run in through)


def test_every_figure_has_a_plan_and_the_smoke_scale_takes_two_lengths_of_time():
    assert figure_plans.NAMES == ("2", "3", "omega", "eta", "mpd", "timesteps")
    paper_t = figure_plans.figure("timesteps", recipe()).panels[0].curves[0].values
    smoke_t = figure_plans.figure("timesteps", recipe("smoke")).panels[0].curves[0].values
    assert (paper_t, smoke_t) == ((2, 4, 6, 8), (2, 4))


def test_tables_share_runs_of_the_same_settings(tmp_path):
    plans = [plan.table(number, recipe()) for number in "13"]
    together = Agenda(Store(tmp_path, SCALES["paper"]), plans)
    # Table 3's four models are Table 1's of CIFAR-100.
    assert len(together.runs) == 24


@pytest.mark.parametrize("number, count", [("1", 12), ("2", 16)])
def test_at_smoke_scale_each_row_is_a_model_of_its_own(number, count):
    runs = attack_groups.runs(plan.table(number, recipe("smoke")).readings())
    assert len(runs) == count
    assert {run.config.dataset for run in runs} == {"digits"}


def test_columns_of_a_data_set_that_digits_stand_for_already_are_left_out():
    # Two data sets side by side are one at smoke scale; rows, each a model of its own, are not.
    assert {c.group for c in plan.table("1", recipe("smoke")).columns} == {"CIFAR-10"}
    assert {c.group for c in plan.table("1", recipe("cpu")).columns} == {"CIFAR-10", "CIFAR-100"}
    smoke = plan.table("2", recipe("smoke"))
    assert [row.labels for row in smoke.rows] == labels("2")


def test_a_run_is_known_by_what_it_computes_and_not_by_where_it_lies():
    (run,) = recipe().runs("CIFAR-10", "VGG11", "Ours", 8)
    (elsewhere,) = recipe(changes={"run_dir": "x", "data_dir": "y", "jit": "on"}).runs(
        "CIFAR-10", "VGG11", "Ours", 8
    )
    (other,) = recipe().runs("CIFAR-10", "VGG11", "Ours", 8, at=True)
    assert run == elsewhere
    assert run.folder == elsewhere.folder
    assert run != other


def test_eta_given_by_the_user_is_that_of_ours_alone():
    changed = recipe(changes={"eta": 0.3})
    assert changed.runs("CIFAR-10", "VGG11", "Ours", 8)[0].config.eta == 0.3
    assert changed.runs("CIFAR-10", "VGG11", "REG", 8)[0].config.eta == 0


def test_each_seed_is_a_run():
    runs = recipe(seeds=(1, 2)).runs("CIFAR-10", "VGG11", "REG", 8)
    assert [run.config.seed for run in runs] == [1, 2]


def test_a_share_of_the_steps_is_taken_of_every_attack_but_never_below_the_papers_pgd():
    (run,) = recipe("smoke").runs("CIFAR-10", "VGG11", "REG", 2)
    built = attack_groups.build(attack_groups.Task(run, "strongest"), SCALES["smoke"])
    # 100 and 500 steps, 100 towards each class, and 3,000 queries in full.
    assert built["sapgd"].steps == 10 and built["hill_climbing"].start.steps == 50
    assert built["hill_climbing_targeted"].start.attack.steps == 10
    assert built["hill_climbing"].queries == 300
    assert {attack.norm for attack in built.values()} == {"linf"}


def test_random_codings_average_gradients_over_draws():
    (run,) = recipe().runs("Tiny-ImageNet", "VGG16", "none", 4, coding="poisson")
    built = attack_groups.build(attack_groups.Task(run, "white_box"), SCALES["paper"])
    assert {attack.eot for attack in built.values()} == {10}


def test_the_papers_figures_are_those_printed():
    def of(number, labels, key, section=""):
        return paper.of_cell(number, labels, section, key)

    assert of("1", ["Ours"], "CIFAR-10 PGD", "Vanilla Training") == (20.55,)
    assert of("1", ["SR"], "CIFAR-100 Clean", "Adversarial Training") == (61.26,)
    assert of("2", ["CIFAR-100", "WRN16, BPTR, AT"], "CW") == (43.23, 53.21)
    assert of("2", ["CIFAR-10", "VGG11, BPTT"], "Clean") == (92.45, 90.62)
    assert of("2", ["CIFAR-10", "VGG11, BPTR"], "Clean") == ()
    assert of("3", ["SR"], "Uniform Noise") == (61.37,)
    assert of("4", ["WRN16+Sup", "Ours"], "BIM") == (4.74,)
    assert of("5", ["Tiny-ImageNet", "VGG16", "RSC+Ours"], "PGD") == (17.60,)
    assert of("5", ["Tiny-ImageNet", "VGG16", "DIR"], "worst case") == ()


@pytest.mark.parametrize("number", plan.NUMBERS)
def test_the_paper_has_a_figure_for_each_cell_of_a_plan(number):
    table = plan.table(number, recipe())
    rows = paper.printed()["tables"][number]["rows"]
    assert len(rows) == len(table.rows) + 2 * table.improvement
    for row in table.rows:
        printed = paper.row(number, row.labels, row.section)
        assert set(printed) == set(row.cells) - {key for key in row.cells if "worst" in key}
        assert all(
            0 <= value <= 100
            for key in printed
            for value in paper.of_cell(number, row.labels, row.section, key)
        )


def test_the_papers_improvements_are_ours_less_the_best_rival():
    for section, first in (("Vanilla Training", "REG"), ("Adversarial Training", "RAT")):
        improvement = paper.row("1", ["Improvement"], section)
        for key, printed in improvement.items():
            rivals = [paper.row("1", [name], section)[key] for name in (first, *RIVALS)]
            ours = paper.row("1", ["Ours"], section)[key]
            assert printed == pytest.approx(ours - max(rivals), abs=1e-9)


def test_the_papers_losses_are_noise_less_clean_but_for_one_misprint():
    for row in paper.printed()["tables"]["3"]["rows"]:
        for key, loss in row["loss_against_clean"].items():
            assert loss == pytest.approx(row["values"][key] - row["values"]["Clean"], abs=1e-9)
    (slip,) = [one for one in paper.printed()["misprints"] if one["table"] == "3"]
    assert (slip["printed"], slip["here"]) == (-23.86, -22.96)


def test_superspike_has_a_beta_at_which_its_integral_is_that_of_the_others():
    runs = attack_groups.runs(plan.table("4", recipe("smoke")).readings())
    options = {run.config.surrogate: run.config.surrogate_options for run in runs}
    assert options.keys() == {"rectangular", "sigmoid", "superspike"}
    for name, given in options.items():
        slope = surrogates.get(name, **given)
        v = np.linspace(-400, 400, 800_001)
        assert np.trapezoid(slope.derivative(v).numpy(), v) == pytest.approx(1, abs=0.01)
