"""Every command that a run, a report or the report page shows gives that very experiment."""

import html
import json
import re
import shlex

import pytest
from absl import flags

from keras_mpdsgr import experiments
from keras_mpdsgr.pages import page
from trainers import attack, cifar, program

SMALL = {
    "dataset": "digits", "width": 0.02, "timesteps": 1, "epochs": 1, "limit_train": 64,
    "limit_test": 30, "batch_size": 32, "eval_limit": 10, "eta": 0.5, "augment": False,
    "surrogate": "superspike", "surrogate_options": {"beta": 2}, "detach_reset": True,
    "eval_eps": 4 / 255,
}  # fmt: skip


@pytest.fixture(scope="module")
def attacked(shallow, tmp_path_factory):
    """A run whose folder has a blank in its name, attacked in two ways."""
    folder = tmp_path_factory.mktemp("some runs") / "one run"
    config = experiments.ExperimentConfig(**SMALL, run_dir=folder)
    run = experiments.train(config, verbose=False)
    for given in (
        {"attacks": ("fgsm", "gaussian"), "eps": 0, "limit": 6, "drop_broken": False},
        {"attacks": ("uniform",), "limit": 6, "seed": 3, "sweep_eps": (0, 1 / 255),
         "sweep_attack": "fgsm"},
    ):  # fmt: skip
        config = experiments.AttackConfig(run_dir=folder, **given)
        experiments.attack(config, verbose=False)
    return run


def meant(command):
    """The configuration that a command asks for, by its program's own flags."""
    python, dash, name, *words = shlex.split(command)
    assert (python, dash) == ("python", "-m")
    kind, define = {
        "trainers.cifar": (experiments.ExperimentConfig, cifar.define),
        "trainers.attack": (experiments.AttackConfig, attack.define),
    }[name]
    values = flags.FlagValues()
    names = define(into=values)
    program.parsed([name, *words], values)
    return kind(**program.values(names, values))


def test_the_command_of_a_run_trains_that_run(attacked):
    config = json.loads(attacked.config_path.read_text())
    assert meant(config["command"]) == attacked.config
    assert attacked.config == experiments.ExperimentConfig(**SMALL, run_dir=attacked.path)


def test_the_command_of_a_report_makes_that_report(attacked):
    asked = {name: meant(report.command) for name, report in attacked.reports().items()}
    assert asked.pop("final") == attacked.config
    assert {(config.eps, config.drop_broken, config.seed) for config in asked.values()} == {
        (0, False, 0), (8 / 255, None, 3)
    }  # fmt: skip
    assert all(config.run_dir == str(attacked.path) for config in asked.values())


def test_the_page_shows_these_commands(attacked, tmp_path):
    page.write([attacked.path], tmp_path / "page.html", histograms=False)
    marked = re.findall(r"<code>(.*?)</code>", (tmp_path / "page.html").read_text(), re.DOTALL)
    shown = [html.unescape(re.sub("<[^>]*>", "", one)).strip() for one in marked]
    shown = [command for command in shown if command.startswith("python -m")]
    of_page, others = [c for c in shown if "trainers.report" in c], []
    for command in shown:
        if command not in of_page:
            others.append(meant(command))
    assert len(of_page) == 1 and str(tmp_path / "page.html") in shlex.split(of_page[0])
    assert attacked.config in others
    wanted = [meant(report.command) for report in attacked.reports().values()]
    assert all(config in others for config in wanted)


def test_a_command_run_as_it_stands_finds_the_experiment_done(attacked, run):
    line = experiments.Run(attacked.path).reports()["final"].command
    _, _, module, *words = shlex.split(line)
    status, out, err = run(module, *words)
    assert status == 0, err[-2000:]
    assert "is done already" in out
