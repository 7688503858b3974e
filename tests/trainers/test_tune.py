"""The search program: choices, kills, failures, and what it leaves and prints."""

import contextlib
import functools
import json
import signal
import socket
import time

import keras
import numpy as np
import pytest
from absl import flags

from keras_mpdsgr import data, tuning
from keras_mpdsgr.errors import SetupError
from trainers import cifar
from trainers.tuning import control, results, search, trials, workers
from trainers.tuning.config import SearchConfig
from trainers.tuning.show import SearchShow
from trainers.tuning.tuner import SearchTuner, damaged, is_over, make_oracle

ENVIRONMENT = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID")
SMALL = {
    "dataset": "digits",
    "width": 0.02,
    "timesteps": 2,
    "epochs": 1,
    "limit_train": 192,
    "batch_size": 32,
    "search_images": 20,
    "search_steps": 2,
}
FLAGS = """--dataset digits --width 0.05 --timesteps 2 --epochs 3 --limit_train 800 --batch_size 16
    --noaugment --learning_rate 0.05 --eta_range 0.001,0.01 --gamma_range 0.9,1.1 --search_images 20
    --search_steps 2 --deterministic""".split()  # noqa: SIM905


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    # Each collects garbage, which takes longer than a trial here.
    monkeypatch.setattr(keras.utils, "clear_session", lambda: None)


def asked(**changed):
    return SearchConfig(**{**SMALL, **changed})


class Formula(tuning.MPDSGRHyperModel):
    """Accuracies by a formula of eta and gamma, in the place of a training."""

    def __init__(self, breaks_at=(), kill_at=None):
        x, y = np.full((4, 2, 2, 1), 0.5, "float32"), np.arange(4)
        super().__init__(tuning.RobustObjective(x, y))
        self.ran, self.said = [], []
        self._breaks_at, self._kill_at = breaks_at, kill_at

    def build(self, hp):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd")
        return model

    def fit(self, hp, model, *args, **kwargs):
        if len(self.ran) == self._kill_at:
            raise KeyboardInterrupt
        values = self.space.values(hp)
        self.ran.append(values)
        if len(self.ran) - 1 in self._breaks_at:
            raise RuntimeError("out of\nmemory")
        clean = 1 - values["eta"] / 2
        robust = clean * values["gamma"] / 4
        measured = {"clean": clean, "robust": robust, "pgd": clean, "sapgd": robust}
        return {"score": robust, **measured, "failed": 0.0}

    def say_failure(self, reason):
        self.said.append(reason)


class Silence(SearchShow):
    def __init__(self):
        pass

    def trial(self, number, values):
        return contextlib.nullcontext([])

    def result(self, *arguments):
        pass


def run(folder, algorithm="random", max_trials=8, model=None):
    model = model or Formula()
    goal = model.objective.tuner_objective
    oracle = make_oracle(algorithm, goal, max_trials, 9, model.space.dimensions, seed=0)
    SearchTuner(oracle, model, folder, Silence()).search(verbose=0)
    return oracle


def outcome(oracle):
    return [
        (trial.trial_id, trial.hyperparameters.values, trial.score, trial.status)
        for trial in oracle.trials.values()
    ]


@pytest.mark.parametrize(("algorithm", "n"), [("random", 4), ("hyperband", 10), ("bayesian", 4)])
def test_a_search_has_the_trials_asked_for_within_their_ranges(algorithm, n, tmp_path):
    found = results.collect(run(tmp_path, algorithm, max_trials=n))
    assert [trial.number for trial in found] == list(range(1, n + 1))
    for trial in found:
        assert 0.001 <= trial.values["eta"] <= 1
        assert 0.25 <= trial.values["gamma"] <= 4
    epochs = {trial.epochs for trial in found}
    assert epochs == ({1, 3} if algorithm == "hyperband" else {None})


@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
def test_a_search_cut_off_ends_with_the_trials_of_an_unbroken_one(algorithm, tmp_path):
    whole = run(tmp_path / "whole", algorithm)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", algorithm, model=Formula(kill_at=5))
    rest = Formula()
    cut = run(tmp_path / "cut", algorithm, model=rest)
    assert outcome(cut) == outcome(whole)
    assert len(rest.ran) == 3
    assert is_over(cut)


def test_a_bayesian_search_cut_off_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "bayesian", max_trials=4, model=Formula(kill_at=3))
    rest = Formula()
    assert len(results.collect(run(tmp_path, "bayesian", max_trials=4, model=rest))) == 4
    assert len(rest.ran) == 1


def test_a_finished_search_runs_no_trial_again_and_goes_on_if_more_are_asked_for(tmp_path):
    before = outcome(run(tmp_path, max_trials=3))
    again, more = Formula(), Formula()
    assert outcome(run(tmp_path, max_trials=3, model=again)) == before
    assert again.ran == []
    assert outcome(run(tmp_path, max_trials=5, model=more))[:3] == before
    assert len(more.ran) == 2


def test_another_seed_chooses_other_values(tmp_path):
    model = Formula()
    goal = model.objective.tuner_objective
    chosen = []
    for seed in (0, 0, 1):
        oracle = make_oracle("random", goal, 3, 9, 2, seed)
        folder = tmp_path / str(len(chosen))
        SearchTuner(oracle, model, folder, Silence()).search(verbose=0)
        chosen.append([trial.values for trial in results.collect(oracle)])
    assert chosen[0] == chosen[1] != chosen[2]


def test_a_trial_that_fails_is_said_scores_0_and_the_search_goes_on(tmp_path):
    model = Formula(breaks_at=(0, 1, 2, 3, 5))
    found = results.collect(run(tmp_path, model=model))
    assert [trial.failed for trial in found] == [*[True] * 4, False, True, False, False]
    assert {trial.measured["score"] for trial in found if trial.failed} == {0}
    assert model.said == ["RuntimeError: out of memory"] * 5
    assert not any(trial.on_front for trial in found if trial.failed)
    assert results.best_of(found).number in (5, 7, 8)


def test_a_trial_that_a_kill_has_left_without_an_owner_is_run_again(tmp_path):
    run(tmp_path, max_trials=2)
    state = json.loads((tmp_path / "search" / "trial_1" / "trial.json").read_text())
    state |= {"trial_id": "2", "status": "RUNNING", "score": None, "metrics": {"metrics": {}}}
    orphan = tmp_path / "search" / "trial_2" / "trial.json"
    orphan.parent.mkdir()
    orphan.write_text(json.dumps(state))
    model = Formula()
    found = results.collect(run(tmp_path, max_trials=3, model=model))
    assert len(found) == 3
    assert model.ran == [found[2].values]


def test_a_damaged_file_is_named(tmp_path):
    run(tmp_path, max_trials=1)
    assert damaged(tmp_path) is None
    oracle = tmp_path / "search" / "oracle.json"
    oracle.write_text(oracle.read_text()[:100])
    assert damaged(tmp_path) == oracle


def test_the_best_of_equal_scores_is_the_cleaner_one():
    def trial(number, clean, score, failed=0.0):
        measured = {"clean": clean, "robust": score, "score": score, "failed": failed}
        return results.Trial(number, {"eta": 0.1}, None, measured)

    found = [trial(0, 0.8, 0.4), trial(1, 0.9, 0.4), trial(2, 0.95, 0.3), trial(3, 1, 0.9, 1.0)]
    assert results.best_of(found).number == 1
    assert results.best_of([found[3]]) is None


def test_the_command_printed_asks_for_the_very_settings_of_the_trial():
    config = asked(
        data_dir="my data", coding="smoothing", coding_options={"std": 0.2}, eval_eps=0.1
    )
    trial = results.Trial(0, {"eta": 0.0123, "gamma": 2.5, "surrogate": "arctan"}, 3, {})
    found = results.training_of(config, trial)
    assert found == config.training(eta=0.0123, gamma=2.5, surrogate="arctan", epochs=3)
    program, *words = found.command()
    assert program == "trainers.cifar"
    parsed = flags.FlagValues()
    names = cifar.define(into=parsed)
    parsed(["cifar", *words])
    assert cifar.config_of(names, parsed) == found


def test_what_judges_a_trial_is_kept_out_of_training_and_out_of_the_test_set():
    digits = data.load("digits", limit_train=100)
    split = trials.keep_out(digits, 0.2, seed=3)
    own, judged, test = (
        {image.tobytes() for image in part} for part in (split.x_train, split.x_test, digits.x_test)
    )
    assert (len(split.x_train), len(split.x_test)) == (80, 20)
    assert own | judged == {image.tobytes() for image in digits.x_train}
    assert not judged & own and not judged & test
    label = {x.tobytes(): y for x, y in zip(digits.x_train, digits.y_train, strict=True)}
    assert [label[x.tobytes()] for x in split.x_test] == split.y_test.tolist()
    np.testing.assert_array_equal(trials.keep_out(digits, 0.2, seed=3).x_test, split.x_test)


@pytest.mark.parametrize(
    ("address", "name", "part"),
    [
        (None, None, workers.ALONE),
        ("127.0.0.1:7000", "chief", workers.CHIEF),
        ("127.0.0.1:7000", "worker-1", workers.WORKER),
    ],
)
def test_a_process_takes_the_part_that_its_flags_name(address, name, part):
    took, chief = workers.take_part(address, name)
    assert took == part
    assert chief == (None if address is None else ("127.0.0.1", 7000))


def test_a_process_takes_the_part_that_its_environment_names(monkeypatch):
    for name, value in zip(ENVIRONMENT, ("localhost", "7000", "chief"), strict=True):
        monkeypatch.setenv(name, value)
    assert workers.take_part() == (workers.CHIEF, ("localhost", 7000))


@pytest.mark.parametrize(
    ("address", "name", "said"),
    [
        (None, "worker-1", "--chief_address must be HOST:PORT"),
        ("127.0.0.1", "worker-1", "--chief_address"),
        ("127.0.0.1:port", "worker-1", "127.0.0.1:port"),
        ("127.0.0.1:70000", "worker-1", "65535"),
        ("127.0.0.1:7000", None, "--worker_id must name"),
        ("127.0.0.1:7000", "../worker", "--worker_id"),
        ("127.0.0.1:7000", "oracle", "--worker_id"),
    ],
)
def test_a_part_that_is_none_gets_one_clear_line(address, name, said):
    with pytest.raises(SetupError, match=said):
        workers.take_part(address, name)


def test_a_worker_without_a_chief_says_so():
    with pytest.raises(workers.RunError, match="no chief answers at 127.0.0.1"):
        workers.wait_for_chief(("127.0.0.1", free_port()), seconds=0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"eta_range": (1, 0.1)}, "`eta_range`"),
        ({"gamma_range": ("wide",)}, "`gamma_range`"),
        ({"eta_range": (1, 1), "gamma_range": (1, 1)}, "nothing to search"),
        ({"surrogates": ["boxcar"]}, "boxcar"),
        ({"validation_share": 1.0}, "`validation_share`"),
        ({"validation_share": 0.9}, "`batch_size`"),
        ({"objective": "constrained", "clean_floor": 2.0}, "`clean_floor`"),
        ({"model": "resnet"}, "vgg11"),
        ({"defense": "armour"}, "`defense`"),
        ({"coding": "morse"}, "coding"),
        ({"jit": "on", "deterministic": True}, "`deterministic`"),
        ({"distribute": "mirrored"}, "`distribute` is for one training"),
    ],
)
def test_a_bad_setting_gets_one_clear_line_and_leaves_no_folder(changed, said, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(SetupError, match=said):
        search.tune(asked(run_dir=folder, **changed))
    assert not folder.exists()


def test_a_search_on_digits_leaves_trials_table_picture_and_command(
    shallow, tmp_path, monkeypatch, capsys
):
    seen = []

    def measure(self, model):
        accuracy = (0.9, 0.3) if not seen else (0.8, 0.4)
        seen.append(model)
        self.right = np.arange(20) < 20 * accuracy[1]
        shares = dict(zip(("clean", "robust"), accuracy, strict=True))
        return {"score": accuracy[1], **shares, "pgd": 0.5, "sapgd": accuracy[1], "failed": 0.0}

    monkeypatch.setattr(tuning.RobustObjective, "measure", measure)
    folder = tmp_path / "run"
    config = asked(run_dir=folder, timesteps=1, max_trials=2)
    search.tune(config)
    printed = capsys.readouterr().out
    kept = json.loads((folder / "results" / "search.json").read_text())
    assert kept["best"] == 2
    assert [trial["on_front"] for trial in kept["trials"]] == [True, True]
    assert kept["command"] in printed
    assert "trial 2/2" in printed and "40.0%" in printed
    assert (folder / "results" / "trade-off.png").stat().st_size > 1000
    assert not list((folder / "search").rglob("*.h5"))
    assert "control, eta 0 with the best trial's other values: clean 80.0%, robust 40.0%" in printed
    assert kept["control"].endswith(
        "not shown that the regularizer makes a difference, by one seed."
    )
    assert seen[2].get_layer("conv1_lif").eta == 0
    for model, trial in zip(seen, [*kept["trials"], kept["trials"][1]], strict=True):
        lif = model.get_layer("conv1_lif")
        assert lif.surrogate.gamma == trial["values"]["gamma"]
        if model is not seen[2]:
            assert lif.eta == pytest.approx(trial["values"]["eta"] / 3)

    search.tune(config)
    assert len(seen) == 3
    assert kept["command"] in capsys.readouterr().out
    with pytest.raises(SetupError, match="`search_steps`=2, now 5"):
        search.tune(config.replace(search_steps=5))


@pytest.mark.parametrize(
    ("best", "alone", "trials", "said"),
    [
        # 10 to 0: p = 2 / 2**10, times 8 trials 0.016; times 30 it is shown no more.
        (
            range(30),
            range(20),
            8,
            "p = 0.016 (McNemar, times 8 trials). The regularizer has helped",
        ),
        (range(30), range(20), 30, "p = 0.059 (McNemar, times 30 trials). It is not shown that"),
        (range(20), range(30), 8, "The regularizer has harmed"),
        (range(20), range(20), 8, "p = 1 (McNemar, times 8 trials). It is not shown that"),
    ],
)
def test_a_control_says_whether_the_regularizer_helped(best, alone, trials, said):
    right, other = ([int(i in which) for i in range(50)] for which in (best, alone))
    measured = {"clean": 0.9, "robust": len(alone) / 50, "failed": 0.0}
    told = control.verdict(control.Control({}, None, measured, other), right, trials)
    assert said in told


def test_a_control_that_cannot_be_compared_says_so():
    failed = control.Control({}, None, {"clean": 0.1, "robust": 0.0, "failed": 1.0}, [0] * 9)
    assert "it has failed" in control.verdict(failed, [1] * 9, 8)
    alive = control.Control({}, None, {"clean": 0.9, "robust": 0.5, "failed": 0.0}, [0] * 9)
    assert "not compared" in control.verdict(alive, None, 8)


@pytest.fixture
def tune(start):
    return functools.partial(start, "trainers.tune")


def finish(process, timeout=600):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, [x for x in err.splitlines() if x.startswith("error:")]


def test_help_lists_the_flags_and_their_own_defaults(tune):
    status, out, errors = finish(tune("--help"))
    assert (status, errors) == (0, [])
    for flag in ("--algorithm", "--gamma_range", "--defense", "--worker_id"):
        assert flag in out
    assert "--width=0.125 " in out
    assert "--patience" not in out and "--eta=" not in out


def test_a_value_for_what_is_searched_is_refused(tune):
    status, out, (line,) = finish(tune("--dataset", "digits", "--eta", "0.1"))
    assert (status, out) == (2, "")
    assert "--eta_range" in line


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_a_killed_search_goes_on_to_the_same_trials(tune, tmp_path):
    asked = [*FLAGS, "--max_trials", "4", "--algorithm", "hyperband", "--run_dir"]
    finish(tune(*asked, str(tmp_path / "whole")))
    process = tune(*asked, str(tmp_path / "cut"))
    second = tmp_path / "cut" / "search" / "trial_1" / "trial.json"
    while not second.is_file() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, out, _ = finish(tune(*asked, str(tmp_path / "cut")))
    assert "trial 2/4" in out and "trial 1/4" not in out
    kept = (tmp_path / name / "results" / "search.json" for name in ("whole", "cut"))
    whole, cut = (json.loads(path.read_text()) for path in kept)
    assert whole["trials"] == cut["trials"]
    assert [trial["epochs"] for trial in cut["trials"]] == [1, 1, 1, 3]
    assert cut["trials"][3]["values"] in [trial["values"] for trial in cut["trials"][:3]]


@pytest.mark.slow
def test_a_chief_and_two_workers_share_a_search(tune, tmp_path):
    folder = tmp_path / "run"
    where = ["--chief_address", f"127.0.0.1:{free_port()}", "--run_dir", str(folder)]
    asked = [*FLAGS, "--max_trials", "4", *where]
    chief = tune(*asked, KERASTUNER_TUNER_ID="chief")
    shared = [tune(*asked, "--worker_id", f"worker-{i}") for i in (1, 2)]
    printed = []
    for process in [*shared, chief]:
        status, out, errors = finish(process)
        assert (status, errors) == (0, [])
        printed.append(out)
    assert all("trial " in out for out in printed)
    kept = json.loads((folder / "results" / "search.json").read_text())
    assert [trial["number"] for trial in kept["trials"]] == [1, 2, 3, 4]
    assert kept["command"] in printed[-1]
    assert {"worker-1.json", "worker-2.json"} <= {f.name for f in (folder / "search").iterdir()}
    # The chief, started again, has nothing left to give out.
    status, out, errors = finish(tune(*asked, "--worker_id", "chief"))
    assert (status, errors) == (0, [])
    assert kept["command"] in out
