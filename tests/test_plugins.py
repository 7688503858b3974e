"""Entry points of installed packages: found by name, loaded late, left out where they fail."""

import itertools
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, attacks, data, defenses, plugins, surrogates
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import ExperimentConfig

MODULE = """
import dataclasses
import keras
from keras_mpdsgr import attacks, data, defenses, surrogates

@dataclasses.dataclass(frozen=True)
class Attack(attacks.PGD):
    steps: int = 3

class Defense(defenses.Defense):
    name = "{0}_defense"

class Surrogate(surrogates.Surrogate):
    def unit_derivative(self, x):
        return keras.ops.exp(-keras.ops.abs(x)) / 2

def images(data_dir, limit_train, limit_test):
    return data.load("digits", limit_train=40, limit_test=10)

def fails(*_):
    raise KeyError("a part")
"""
NUMBERS = itertools.count()  # an entry point is loaded once in a process
PARTS = {
    plugins.ATTACKS: ("attack", "Attack"),
    plugins.DEFENSES: ("defense", "Defense"),
    plugins.SURROGATES: ("surrogate", "Surrogate"),
    plugins.DATASETS: ("images", "images"),
}


def distribution(folder, package, entries, module=MODULE):
    """Puts a package with entry points into a folder, as an installer leaves it."""
    (folder / f"{package}.py").write_text(module.replace("{0}", package))
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    groups = [f"[{group}]\n{line}\n" for group, line in entries]
    (info / "entry_points.txt").write_text("\n".join(groups))


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    for registry in (attacks, defenses.base, surrogates.base, data.datasets):
        monkeypatch.setattr(registry, "_registry", dict(registry._registry))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The name of a package that is found among the installed ones and offers one part a group."""
    package = f"plugin_{next(NUMBERS)}"
    entries = [(g, f"{package}_{name} = {package}:{made}") for g, (name, made) in PARTS.items()]
    distribution(tmp_path, package, entries)
    monkeypatch.syspath_prepend(tmp_path)
    return package


def test_a_part_is_loaded_when_its_name_is_looked_up(installed):
    assert attacks.get("fgsm") == attacks.FGSM()
    assert installed not in sys.modules  # a name that is known loads nothing
    assert attacks.get(f"{installed}_attack", eps=0.1).steps == 3
    assert type(defenses.get(f"{installed}_defense")).__module__ == installed
    assert surrogates.get(f"{installed}_surrogate", gamma=0.5).gamma == 0.5
    assert len(data.load(f"{installed}_images", limit_train=8).x_train) == 8


@pytest.mark.parametrize("group", PARTS)
def test_a_part_is_among_the_names_listed(group, installed):
    name = f"{installed}_{PARTS[group][0]}"
    registry = dict(zip(PARTS, (attacks, defenses, surrogates, data), strict=True))[group]
    assert plugins.names(group) == [name]
    assert installed not in sys.modules
    assert name in registry.names()


def test_a_layer_with_a_surrogate_of_a_plug_in_comes_back_from_its_configuration(installed):
    name = f"{installed}_surrogate"
    config = {
        "module": None, "class_name": name, "registered_name": f"keras_mpdsgr.surrogates>{name}",
        "config": {"gamma": 0.5, "half_width": 1.0},
    }  # fmt: skip
    layer = LIFLayer.from_config({"surrogate": config})
    assert (type(layer.surrogate).__module__, layer.surrogate.gamma) == (installed, 0.5)
    assert layer(np.ones((2, 3, 4), "float32")).shape == (2, 3, 4)


def test_a_configuration_takes_the_names_of_plug_ins(installed):
    config = ExperimentConfig(
        dataset=f"{installed}_images", defense=f"{installed}_defense",
        surrogate=f"{installed}_surrogate",
    )  # fmt: skip
    assert config.command()[1] == f"--dataset={installed}_images"
    with pytest.raises(SetupError, match=f"Did you mean {installed}_images"):
        ExperimentConfig(dataset=f"{installed}_image")


@pytest.mark.parametrize(
    ("group", "value", "said"),
    [
        (plugins.ATTACKS, "{0}:absent", "AttributeError"),
        (plugins.ATTACKS, "no_such_module_here:x", "No module named 'no_such_module_here'"),
        (plugins.ATTACKS, "{0}:Defense", "must be a class that extends `Attack`"),
        (plugins.DEFENSES, "{0}:Attack", "must be a class that extends `Defense`"),
        (plugins.DEFENSES, "{0}:Defense", "`name` must be the entry point's, 'broken'"),
        (plugins.SURROGATES, "{0}:Attack", "must be a class that extends `Surrogate`"),
        (plugins.DATASETS, "{0}:MODULE_NAME", "must be a function"),
    ],
)
def test_a_plug_in_that_fails_is_named_once_and_breaks_nothing_else(
    group, value, said, tmp_path, monkeypatch
):
    package = f"plugin_{next(NUMBERS)}"
    good = ("good_" + package, PARTS[group][1])
    lines = f"broken = {value.format(package)}\n{good[0]} = {package}:{good[1]}"
    module = MODULE.replace("{0}_defense", good[0]) if "entry point's" not in said else MODULE
    distribution(tmp_path, package, [(group, lines)], f"{module}\nMODULE_NAME = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = dict(zip(PARTS, (attacks, defenses, surrogates, data), strict=True))[group]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        known = registry.names()
        registry.names()
    messages = [str(one.message) for one in caught if "plug-in 'broken'" in str(one.message)]
    assert len(messages) == 1
    assert package in messages[0] and said in messages[0]
    assert "\n" not in messages[0]
    assert "broken" not in known
    assert (good[0] in known) == ("entry point's" not in said)
    assert {"digits", "pgd", "none", "triangle"} & set(known)


def test_a_plug_in_does_not_replace_what_is_there(tmp_path, monkeypatch):
    distribution(tmp_path, "plugin_taken", [(plugins.ATTACKS, "pgd = plugin_taken:Attack")])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match="'pgd' of plugin_taken .*`name` must be free"):
        attacks.names()
    assert type(attacks.get("pgd")) is attacks.PGD


def test_importing_the_library_loads_no_plug_in(tmp_path):
    distribution(
        tmp_path, "plugin_late", [(plugins.ATTACKS, "late = plugin_late:Attack")], "print('loaded')"
    )
    text = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import keras_mpdsgr; print('end')"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.stdout == "end\n", done.stderr[-500:]


def test_keras_saves_and_loads_a_surrogate_of_a_plug_in(installed):
    surrogate = surrogates.get(f"{installed}_surrogate", gamma=2.0)
    saved = keras.saving.serialize_keras_object(surrogate)
    assert surrogates.get(saved) == surrogate
