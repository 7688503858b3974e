"""What is done, what is reused, and where a command that was cut off goes on."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import rich.console

from keras_mpdsgr import evaluation, models
from keras_mpdsgr.errors import RunError, SetupError
from keras_mpdsgr.experiments import ExperimentConfig
from trainers.reproduction import attack_groups, command, plan
from trainers.reproduction.execution import Agenda, Attacker, Execution
from trainers.reproduction.runs import PlannedRun, Recipe
from trainers.reproduction.scales import SCALES
from trainers.reproduction.store import Store

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SMOKE = SCALES["smoke"]


class Workshop:
    """Trains and attacks by writing down that it was asked to."""

    def __init__(self, root, failing=(), cut_at=None):
        self.store = Store(root, SMOKE)
        self.trained, self.attacked, self.written = [], [], []
        self._failing, self._cut_at = failing, cut_at
        console = rich.console.Console(quiet=True)
        self._execution = Execution(
            self.store, console, lambda dataset: dataset, self.train, self.attack
        )

    def carry_out(self, *numbers):
        recipe = Recipe(SMOKE)
        plans = [plan.table(number, recipe) for number in numbers]
        self._execution.carry_out(plans, done=lambda one: self.written.append(one.number))
        return plans

    def train(self, config):
        if len(self.trained) == self._cut_at:
            raise KeyboardInterrupt
        self.trained.append(config.defense)
        folder = pathlib.Path(config.run_dir)
        (folder / "results").mkdir(parents=True, exist_ok=True)
        if config.defense in self._failing:
            raise RunError("the loss is nan in epoch 1.")
        (folder / "done").touch()

    def attack(self, task):
        self.attacked.append((task.run.config.defense, task.group))
        measures = ("gaussian", "uniform", "fgsm", "pgd", "bim", "worst_case")
        right, attack = np.array([0, 0, 1, 1]), {"class": "PGD", "arguments": {}}
        record = evaluation.AttackRecord("linf", attack, right, *np.zeros((3, 4)))
        return evaluation.Report(np.zeros(4, int), right, dict.fromkeys(measures, record), 0.03)


def test_every_run_is_trained_once_and_attacked_once_and_nothing_is_done_twice(tmp_path):
    first = Workshop(tmp_path)
    first.carry_out("3")
    assert first.trained == ["reg", "feel", "sr", "mpd_sgr"]
    assert sorted(first.attacked) == sorted(
        (defense, group) for defense in first.trained for group in ("clean", "noise")
    )
    assert first.written == ["3"]
    second = Workshop(tmp_path)
    second.carry_out("3")
    assert (second.trained, second.attacked, second.written) == ([], [], ["3"])


def test_what_one_order_of_tables_has_trained_another_finds(tmp_path):
    shop = Workshop(tmp_path)
    shop.carry_out("3", "1")
    # Table 3's four, of the data set that Table 1 leaves out at this scale, and Table 1's twelve.
    assert len(shop.trained) == 16
    again = Workshop(tmp_path)
    again.carry_out("1", "3")
    assert again.trained == []
    assert shop.written == ["3", "1"]


def test_a_command_that_was_cut_off_goes_on_where_it_was(tmp_path):
    cut = Workshop(tmp_path, cut_at=2)
    with pytest.raises(KeyboardInterrupt):
        cut.carry_out("3")
    assert cut.written == []
    after = Workshop(tmp_path)
    after.carry_out("3")
    assert after.trained == ["sr", "mpd_sgr"]


def test_a_run_that_fails_does_not_stop_the_others_and_is_not_tried_again(tmp_path):
    shop = Workshop(tmp_path, failing=("sr",))
    (table,) = shop.carry_out("3")
    assert shop.trained == ["reg", "feel", "sr", "mpd_sgr"]
    assert ("sr", "noise") not in shop.attacked
    outcome = shop.store.outcome(table.rows[2].cells["Clean"][0])
    assert outcome.value is None
    assert outcome.trouble == "failed: the loss is nan in epoch 1."
    again = Workshop(tmp_path)
    again.carry_out("3")
    assert again.trained == []


def test_a_full_disk_is_no_failure_of_the_run(tmp_path):
    class Full(Workshop):
        def train(self, config):
            raise RunError("cannot write") from OSError("No space left on device")

    shop = Full(tmp_path)
    with pytest.raises(RunError, match="cannot write"):
        shop.carry_out("3")
    run = shop.store.folder(plan.table("3", Recipe(SMOKE)).readings()[0].runs[0])
    assert not (run.path / "failed.json").exists()


def test_the_seconds_taken_are_kept(tmp_path):
    shop = Workshop(tmp_path)
    (table,) = shop.carry_out("3")
    run = table.readings()[0].runs[0]
    assert set(shop.store.seconds(run)) == {"training", "clean", "noise"}
    assert Agenda(shop.store, [table]).seconds_left() == 0


@pytest.fixture(scope="module")
def two_models(shallow, tmp_path_factory):
    """Runs of one architecture with other weights, and a store that holds their models."""
    store = Store(tmp_path_factory.mktemp("runs"), SMOKE)
    runs = []
    for seed, eta in ((0, 0.0), (1, 1.0)):
        config = ExperimentConfig(
            dataset="digits", defense="none", timesteps=2, seed=seed, eval_batch_size=20
        )
        run = PlannedRun(config, (1437, 16, 1))
        model = models.vgg11((16, 16, 1), 10, timesteps=2, width=0.02, eta=eta)
        rng = np.random.default_rng(seed)
        model.set_weights([w + 0.3 * rng.standard_normal(w.shape) for w in model.get_weights()])
        store.folder(run).path.mkdir(parents=True)
        model.save(store.folder(run).model_path)
        runs.append(run)
    return store, runs


def test_models_of_one_architecture_share_what_is_compiled_and_give_their_own_figures(two_models):
    store, runs = two_models
    attacker = Attacker(store, lambda dataset: None, None, "auto")
    images, _ = attacker.test_images(runs[0], 20)
    shared = [attacker.model(run) for run in runs]
    assert shared[0] is shared[1]
    for run in runs:
        loaded = models.load(store.folder(run).model_path)
        np.testing.assert_array_equal(attacker.model(run).predict(images, verbose=0),
                                      loaded.predict(images, verbose=0))  # fmt: skip


def test_a_task_gives_what_an_evaluation_of_its_model_gives(two_models):
    store, runs = two_models
    attacker = Attacker(store, lambda dataset: None, None, "auto")
    task = attack_groups.Task(runs[1], "noise")
    attacker(attack_groups.Task(runs[0], "noise"))
    found = attacker(task)
    x, y = attacker.test_images(runs[1], None)
    model = models.load(store.folder(runs[1]).model_path)
    expected = evaluation.evaluate(model, x, y, ["gaussian", "uniform"], batch_size=20, seed=1)
    assert found.accuracy == expected.accuracy
    assert found.n == 360
    clean = attacker(attack_groups.Task(runs[1], "clean"))
    assert clean.clean == pytest.approx(expected.clean)


def test_a_damaged_model_is_named_with_what_to_do(two_models):
    store, runs = two_models
    broken = PlannedRun(runs[0].config.replace(seed=9), runs[0].size)
    folder = store.folder(broken)
    folder.path.mkdir(parents=True)
    folder.model_path.write_bytes(b"PK")
    with pytest.raises(SetupError, match="Remove the folder"):
        Attacker(store, lambda dataset: None, None, "auto").model(broken)


@pytest.mark.parametrize(
    ("numbers", "names", "expected"),
    [
        (["all"], [], (["1", "2", "3", "4", "5"], [])),
        (["3", "1", "3"], ["mpd"], (["3", "1"], ["mpd"])),
        (["1,2"], ["all"], (["1", "2"], ["2", "3", "omega", "eta", "mpd", "timesteps"])),
    ],
)
def test_tables_and_figures_may_be_several(numbers, names, expected):
    assert command.chosen(numbers, names) == expected


def program(*flags):
    found = subprocess.run(
        [sys.executable, "-m", "trainers.reproduce", *flags],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    lines = [line for line in found.stderr.splitlines() if line.startswith("error:")]
    return found.returncode, found.stdout, lines


def test_a_dry_run_lists_runs_and_time_and_writes_nothing(tmp_path):
    where = tmp_path / "reproduce"
    status, out, errors = program(
        "--table",
        "3",
        "--figure",
        "omega",
        "--scale",
        "paper",
        "--dry_run",
        "--run_dir",
        str(where),
    )
    assert (status, errors) == (0, [])
    for defense in ("reg", "feel", "sr", "mpd_sgr"):
        assert f"cifar100-vgg11-{defense}-T8-seed42-" in out
    assert "cifar10-vgg11-reg-T8-seed42-" in out
    assert "6 of 6 runs left, about" in out
    assert "a formula measured on 2 CPU cores" in out
    assert not where.exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "--table"),
        ("--table 6", "6"),
        ("--figure 4", "timesteps"),
        ("--table 1 --seeds one", "--seeds"),
        ("--table 1 --epochs 3", "epochs"),
        ("--table 1 --scale huge", "huge"),
        ("--table 1 --eta -1", "eta"),
    ],
)
def test_wrong_flags_get_one_clear_line(flags, said):
    status, out, errors = program(*flags.split())
    assert status == 2
    assert len(errors) == 1
    assert said in errors[0]
    assert out == ""


@pytest.mark.slow
def test_the_cheapest_table_is_made_from_nothing_at_smoke_scale(tmp_path):
    flags = ("--table", "3", "--scale", "smoke", "--run_dir", str(tmp_path))
    status, out, errors = program(*flags)
    assert (status, errors) == (0, []), out[-3000:]
    page = (tmp_path / "tables" / "table3.md").read_text()
    assert "smoke: digits in place of CIFAR-100" in page
    for kind in ("csv", "png"):
        assert (tmp_path / "tables" / f"table3.{kind}").stat().st_size > 0
    for path in tmp_path.glob("runs/*/results/reproduce-clean.json"):
        assert json.loads(path.read_text())["clean"] > 0.6
    assert len(list(tmp_path.glob("runs/*/done"))) == 4
    status, out, _ = program(*flags, "--dry_run")
    assert status == 0
    assert "0 of 4 runs left" in out
