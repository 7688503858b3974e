"""Saved models are found by name, and know their classes."""

import pathlib
import shutil

import keras
import numpy as np
import pytest

from keras_mpdsgr import models
from keras_mpdsgr.models import saved

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "saved_models" / "digits"


def small(**options):
    image = keras.Input((2,))
    return models.SpikingModel(image, keras.layers.Dense(3)(image), **options)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of two saved models and what is none, named by the variable."""
    for name in ("one-eta0.05", "two"):
        (tmp_path / name).mkdir()
        small(name=name.split("-")[0]).save(tmp_path / name / "model.keras")
    (tmp_path / "empty").mkdir()
    (tmp_path / "README.md").write_text("no model")
    monkeypatch.setenv("KERAS_MPDSGR_MODELS", str(tmp_path))
    return tmp_path


def test_the_projects_own_models_are_there():
    folders = {path.parent.name for path in DIGITS.parent.glob("*/model.keras")}
    assert set(models.available()) == folders >= {"digits"}


def test_a_model_loads_by_its_name(home):
    assert models.available() == ["one-eta0.05", "two"]
    assert models.load("one-eta0.05").name == "one"


def test_an_argument_goes_before_the_variable(home, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(home / "two", other / "three")
    assert models.available(other) == ["three"]
    assert models.load("three", folder=other).name == "two"
    with pytest.raises(FileNotFoundError, match="There are: three"):
        models.load("two", folder=other)


def test_an_existing_path_goes_before_a_name(home, tmp_path_factory, monkeypatch):
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    shutil.copytree(home / "one-eta0.05", here / "two")
    assert models.load("two").name == "one"
    assert models.load(here / "two" / "model.keras").name == "one"
    (here / "one-eta0.05").mkdir()
    with pytest.raises(FileNotFoundError, match="There is no model at one-eta0.05.$"):
        models.load("one-eta0.05")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tow", "no saved model of that name. Did you mean 'two'\\? There are: one-eta0.05, two.$"),
        ("xyz", "no model at xyz, and no saved model of that name. There are: one-eta0.05, two.$"),
        ("no/two", "There is no model at no/two.$"),
        ("two.keras", "There is no model at two.keras.$"),
        ("../two", "There is no model at ../two.$"),
        ("", "There is no model at .$"),
    ],
)
def test_what_is_neither_is_told_in_one_line(home, name, said):
    with pytest.raises(FileNotFoundError, match=said) as caught:
        models.load(name)
    assert "\n" not in str(caught.value)


def test_a_package_without_the_models_says_where_they_are(tmp_path, monkeypatch):
    """As from a wheel, beside which there is no source tree."""
    monkeypatch.delenv("KERAS_MPDSGR_MODELS", raising=False)
    (tmp_path / "saved_models" / "alien").mkdir(parents=True)
    (tmp_path / "saved_models" / "alien" / "model.keras").touch()
    monkeypatch.setattr(saved, "_PROJECT", tmp_path)
    assert models.available() == []
    with pytest.raises(
        FileNotFoundError, match="project's source.*KERAS_MPDSGR_MODELS or `folder`"
    ):
        models.load("digits")


def test_a_wrong_folder_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="`folder` must be a folder of saved models.*absent"):
        models.available(tmp_path / "absent")
    with pytest.raises(ValueError, match="`folder` must be"):
        models.available(3)
    monkeypatch.setenv("KERAS_MPDSGR_MODELS", str(tmp_path / "gone"))
    with pytest.raises(ValueError, match=r"\$KERAS_MPDSGR_MODELS must be a folder.*gone"):
        models.load("digits")


def test_class_names_are_saved_with_a_model(tmp_path):
    model = small()
    assert model.class_names == ()
    model.class_names = ("cat", "dog", "Möwe")
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path)
    assert loaded.class_names == ("cat", "dog", "Möwe")
    assert models.load(tmp_path, dtype="float16").class_names == loaded.class_names
    x = np.array([[0.25, 0.5]], "float32")
    np.testing.assert_array_equal(loaded(x), model(x))


def test_a_file_without_class_names_loads_as_before(tmp_path):
    model = small()
    assert "class_names" not in model.get_config()
    model.save(tmp_path / "model.keras")
    assert models.load(tmp_path).class_names == ()
