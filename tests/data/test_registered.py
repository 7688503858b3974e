"""Data sets of a user's own: registered by a name, checked when they are loaded."""

import dataclasses

import numpy as np
import pytest

from keras_mpdsgr import data
from keras_mpdsgr.experiments import ExperimentConfig

RANDOM = np.random.default_rng(0)
GOOD = data.ImageData(
    name="another name",
    x_train=RANDOM.integers(0, 256, (12, 8, 8, 3), np.uint8),
    y_train=np.arange(12) % 3,
    x_test=RANDOM.integers(0, 256, (6, 8, 8, 3), np.uint8),
    y_test=np.arange(6) % 3,
    mean=(0.5, 0.5, 0.5),
    std=(0.1, 0.2, 0.3),
    flip=True,
    class_names=("a", "b", "c"),
)


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setattr(data.datasets, "_registry", {})


def register(images, name="mine"):
    @data.register(name)
    def load(data_dir, limit_train, limit_test):
        return images

    return load


def test_a_data_set_is_loaded_by_its_name_with_what_load_was_given():
    asked = []

    @data.register("mine")
    def load(data_dir, limit_train, limit_test):
        asked.append((data_dir, limit_train, limit_test))
        return GOOD

    found = data.load("mine", "a/folder", limit_train=5, limit_test=4)
    assert asked == [("a/folder", 5, 4)]
    assert found.name == "mine"
    # It had not looked at the limits.
    np.testing.assert_array_equal(found.x_train, GOOD.x_train[:5])
    np.testing.assert_array_equal(found.y_test, GOOD.y_test[:4])
    assert found.y_train.dtype == np.int32
    assert "mine" in data.names()


def test_limits_that_it_cannot_keep_are_refused():
    register(GOOD)
    for limits in ({"limit_train": 13}, {"limit_test": 7}, {"limit_train": 0}):
        (name,) = limits
        with pytest.raises(ValueError, match=f"`{name}` must be a whole number in"):
            data.load("mine", **limits)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x_train": GOOD.x_train / 255}, "`x_train` as uint8 .*float64"),
        ({"x_test": GOOD.x_test[0]}, "`x_test` as uint8 .*\\(8, 8, 3\\)"),
        ({"x_test": GOOD.x_test[:0], "y_test": GOOD.y_test[:0]}, "`x_test` as uint8"),
        ({"x_test": GOOD.x_test[:, :4]}, "`x_test` in the shape \\(8, 8, 3\\)"),
        ({"y_train": GOOD.y_train[:5]}, "`y_train` as one whole number for each of 12"),
        ({"y_test": GOOD.y_test.astype(float)}, "`y_test` as one whole number"),
        ({"y_train": GOOD.y_train + 1}, "labels in `y_train` from 0 to 2.*1 to 3"),
        ({"mean": (0.5,)}, "`mean` as a number for each of 3"),
        ({"std": (0.1, 0.2, np.nan)}, "`std` as a number for each of 3"),
        ({"std": (0.1, 0.2, 0.0)}, "a positive `std`"),
    ],
)
def test_what_a_function_returns_is_checked(change, said):
    register(dataclasses.replace(GOOD, **change))
    with pytest.raises(ValueError, match=f"The data set 'mine' must give {said}") as caught:
        data.load("mine")
    assert "Received: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_image_data_is_refused():
    register((GOOD.x_train, GOOD.y_train))
    with pytest.raises(ValueError, match="'mine' must return an `ImageData`"):
        data.load("mine")


def test_a_name_that_is_taken_is_refused():
    for name in ("digits", "mine"):
        register(GOOD) if name == "mine" else None
        with pytest.raises(ValueError, match=f"`name` must be free. Received: name='{name}'"):
            data.register(name)(lambda *_: GOOD)
    register(GOOD)  # the same function again, as in a notebook


def test_a_run_of_ones_own_images_is_known_by_name_and_folder():
    register(GOOD)
    register(GOOD, "other")
    configs = [
        ExperimentConfig(dataset="mine"),
        ExperimentConfig(dataset="other"),
        ExperimentConfig(dataset="mine", data_dir="a"),
        ExperimentConfig(dataset="mine", data_dir="b"),
    ]
    assert len({config.key() for config in configs}) == 4
    assert ExperimentConfig(dataset="digits", data_dir="a").key() == (
        ExperimentConfig(dataset="digits").key()
    )
