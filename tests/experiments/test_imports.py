"""Modules of a user's own: imported before names are looked up, and remembered by a run."""

import json
import os
import subprocess
import sys
import tomllib

import keras
import pytest
from absl import flags

from keras_mpdsgr import attacks, data, defenses, experiments, surrogates
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import AttackConfig, ExperimentConfig, Run, imports
from keras_mpdsgr.experiments.run_folder import RunFolder
from trainers import attack, cifar, program, report, settings_flags, tune
from trainers.tuning.config import SearchConfig

PARTS = """
import dataclasses
import keras
from keras_mpdsgr import attacks, data, defenses, surrogates

@attacks.register("own_attack")
@dataclasses.dataclass(frozen=True)
class Attack(attacks.FGSM):
    pass

@defenses.register
class Defense(defenses.Defense):
    name = "own_defense"

    def __init__(self, strength=1.0):
        self.strength = strength

@surrogates.register("own_surrogate")
class Surrogate(surrogates.Surrogate):
    def unit_derivative(self, x):
        return keras.ops.exp(-keras.ops.abs(x)) / 2

@keras.saving.register_keras_serializable("own")
class Layer(keras.layers.Layer):
    def call(self, x):
        return 2 * x

@data.register("own_data")
def images(data_dir, limit_train, limit_test):
    if data_dir == "lost":
        raise data.DataNotFoundError("own_data looked into it")
    return data.load("digits")
"""
OWN = {
    "dataset": "own_data", "defense": "own_defense", "defense_options": {"strength": 2.0},
    "surrogate": "own_surrogate",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with the module own_parts, of which nothing is left afterwards."""
    for registry in (attacks, defenses.base, surrogates.base, data.datasets):
        monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    (tmp_path / "own_parts.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_parts", None)


def parsed(define, *words):
    values = flags.FlagValues()
    names = define(into=values)
    program.parsed(["program", *words], values)
    return names, values


def test_a_configuration_names_modules_and_repeats_them_in_its_command():
    config = ExperimentConfig(imports=["own_parts", "package.module"], dataset="own_data")
    assert config.imports == ("own_parts", "package.module")
    words = ["--dataset=own_data", "--import=own_parts,package.module"]
    assert config.command() == ["trainers.cifar", *words]
    assert ExperimentConfig.from_words(words) == config
    assert cifar.config_of(*parsed(cifar.define, *words)) == config
    assert SearchConfig(imports=("own_parts",)).training().imports == ("own_parts",)
    asked = AttackConfig(run_dir="a", imports=("own_parts",))
    assert asked.command()[-1] == "--import=own_parts"
    assert AttackConfig(**program.values(*parsed(attack.define, *asked.command()[1:]))) == asked


def test_a_module_alone_makes_no_other_experiment(tmp_path):
    config = ExperimentConfig(dataset="digits")
    same = config.replace(imports=("own_parts",))
    assert same.key() == config.key()
    with RunFolder.for_training(same.replace(run_dir=tmp_path / "run")):
        pass
    assert Run(tmp_path / "run").imports == ("own_parts",)
    with RunFolder.for_training(config.replace(run_dir=tmp_path / "run")):
        pass  # the same run


def test_names_are_checked_once_the_modules_are_imported(folder):
    config = ExperimentConfig(imports=("own_parts",), **OWN)
    assert "own_parts" not in sys.modules
    wrong = config.replace(defense="own_defence")
    imports.load(config.imports)
    config.check_names()
    for check in (wrong.check_names, lambda: config.replace(defense="own_defence")):
        with pytest.raises(SetupError, match="`defense` must be one of .*Received: 'own_defence'"):
            check()
    assert ExperimentConfig(dataset="own_data").dataset == "own_data"
    with pytest.raises(SetupError, match="`dataset` must be one of .*Did you mean own_data?"):
        ExperimentConfig(dataset="owndata")


def test_training_imports_what_the_configuration_names(folder):
    config = ExperimentConfig(imports=("own_parts",), data_dir="lost", **OWN)
    with pytest.raises(SetupError, match="own_data looked into it"):
        experiments.train(config, verbose=False)
    with pytest.raises(SetupError, match="`defense` must be one of .*'no_such'"):
        experiments.train(config.replace(data_dir=None, defense="no_such"), verbose=False)
    assert not (folder / "runs").exists()


@pytest.fixture
def run(folder):
    """A run whose model and configuration need the module."""
    config = ExperimentConfig(imports=("own_parts",), run_dir=str(folder / "run"), **OWN)
    with RunFolder.for_training(config) as run:
        pass
    imports.load(config.imports)
    layer = sys.modules["own_parts"].Layer()
    head = [keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential([keras.Input((16, 16, 1)), layer, *head]).save(run.model_path)
    for registry in (attacks, defenses.base, surrogates.base, data.datasets):
        registry._registry = {k: v for k, v in registry._registry.items() if "own" not in k}
    keras.saving.get_custom_objects().pop("own>Layer")
    del sys.modules["own_parts"]
    return run.path


def test_a_run_remembers_its_modules_and_is_attacked_without_naming_them(run):
    assert Run(run).config.imports == ("own_parts",)
    assert "own_parts" not in sys.modules  # to read it imports nothing
    assert type(Run(run).model().layers[0]).__module__ == "own_parts"
    config = AttackConfig(run_dir=str(run), attacks=("own_attack",), limit=3)
    report = experiments.attack(config, verbose=False)
    assert report.config["dataset"] == "own_data"
    assert report.records["own_attack"].attack["class"] == "Attack"


def test_an_attack_comes_from_a_module_of_its_own(run, folder):
    text = PARTS.partition("@defenses")[0].replace("own_attack", "another_attack")
    (folder / "own_attacks.py").write_text(text)
    config = AttackConfig(
        run_dir=str(run), imports=("own_attacks",), attacks=("another_attack",), dry_run=True
    )
    assert experiments.attack(config, verbose=False) is None
    with pytest.raises(SetupError, match="`attacks` must be one of .*Received: 'no_such'"):
        experiments.attack(config.replace(attacks=("no_such",)), verbose=False)
    del sys.modules["own_attacks"]


def test_a_run_is_gone_on_with_without_naming_them(run):
    words = ["--dataset=own_data", "--defense=own_defense", f"--run_dir={run}"]
    assert cifar.config_of(*parsed(cifar.define, *words)).imports == ("own_parts",)
    assert settings_flags.imported(parsed(tune.define, *words)[1]) == ("own_parts",)


def test_a_run_whose_module_is_gone_says_where_it_is_named(run, folder):
    (folder / "own_parts.py").unlink()
    assert Run(run).config.dataset == "own_data"
    with pytest.raises(SetupError, match="imports in .*config.json must name.*no own_parts"):
        Run(run).model()


@pytest.mark.parametrize("places", [None, {}, 3, {"imports": "a b"}, {"imports": [3]}])
def test_a_run_of_another_version_or_a_damaged_one_names_no_modules(places, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"flags": {}, "places": places}))
    assert Run(tmp_path).imports == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "`imports` must name modules .* there is no faulty. Received: 'faulty'."),
        ("import no_such_package", "`imports` faulty .*line 1.*No module named 'no_such_package'"),
        ("x = 1\n1 / 0", "`imports` faulty cannot be imported .line 2.: ZeroDivisionError"),
        ("def f(:", "`imports` faulty cannot be imported: SyntaxError: .*faulty.py, line 1"),
        ("raise SystemExit(3)", "`imports` faulty cannot be imported .line 1.: SystemExit: 3"),
    ],
)
def test_a_module_that_is_not_there_or_fails_is_one_line(text, said, folder):
    if text is not None:
        (folder / "faulty.py").write_text(text)
    with pytest.raises(SetupError, match=said):
        imports.load(("faulty",))
    assert "faulty" not in sys.modules


# Programs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("define", [cifar.define, tune.define])
def test_a_data_set_of_a_module_is_taken_whatever_the_order_of_the_flags(define):
    for words in (("--dataset=own_data", "--import=m"), ("--import=m", "--dataset=own_data")):
        _, values = parsed(define, *words)
        assert values["dataset"].value == "own_data"
    with pytest.raises(SetupError) as caught:
        parsed(define, "--dataset=digts", "--epochs=3")
    assert str(caught.value).startswith("flag --dataset=digts: must be one of cifar10, ")
    assert str(caught.value).endswith(" Did you mean digits?")


def test_a_program_without_a_configuration_takes_modules_too():
    names, values = parsed(report.define, "--import=a,b.c")
    assert values["import"].value == ("a", "b.c")
    assert "import" not in names


@pytest.fixture(scope="module")
def scripts(pytestconfig):
    text = (pytestconfig.rootpath / "pyproject.toml").read_text()
    return tomllib.loads(text)["project"]["scripts"]


def started(words, folder, root):
    """What a process gives that is started in a folder; its status, output and errors."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def script(target, *words):
    """The words that run the file which an installer makes of a script, where Python lies."""
    module, _, name = target.partition(":")
    text = (
        f"import sys; sys.path.remove(''); sys.argv[0] = '/usr/bin/mpdsgr'; "
        f"from {module} import {name}; sys.exit({name}())"
    )
    return ["-c", text, *words]


@pytest.mark.parametrize(
    "name",
    ["attack", "card", "predict", "report", "reproduce", "theory", "train", "tune", "verify-card"],
)
def test_a_script_is_its_program(name, scripts, tmp_path, pytestconfig):
    target = scripts[f"mpdsgr-{name}"]
    module = target.partition(":")[0]
    for words in (["--help"], ["--no_such"], ["--import=no_such_module"]):
        ours = started(script(target, *words), tmp_path, pytestconfig.rootpath)
        theirs = started(["-m", module, *words], tmp_path, pytestconfig.rootpath)
        assert ours == theirs
        assert ours[0] == (0 if words == ["--help"] else 2)
    assert ours[2].startswith("error: --import must name modules in the current folder")
    assert not [name for name in scripts if not name.startswith("mpdsgr-")]


@pytest.mark.parametrize("as_script", [False, True])
def test_a_module_of_the_current_folder_is_imported_first(as_script, tmp_path, pytestconfig):
    (tmp_path / "own_module.py").write_text("print('imported'); import own_sibling")
    (tmp_path / "own_sibling.py").write_text("raise ValueError('here')")
    words = ["--import", "own_module", "--run_dir", "no/such"]
    command = ["-m", "trainers.attack", *words]
    if as_script:
        command = script("trainers.attack:start", *words)
    status, out, err = started(command, tmp_path, pytestconfig.rootpath)
    assert (status, out) == (2, "imported\n")
    assert err == "error: --import own_module cannot be imported (line 1): ValueError: here\n"
