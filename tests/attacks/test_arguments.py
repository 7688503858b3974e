"""What attacks refuse, each by one clear ValueError, and what they take though it looks odd."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, attacks, layers

IMAGES = np.full((3, 4), 0.5, np.float32)
LABELS = np.array([0, 1, 1])


def plain_model():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


def stateful_model():
    image = keras.Input(batch_shape=(3, 4))
    spikes = LIFLayer(stateful=True)(layers.DirectEncoder(2)(image))
    readout = layers.FoldTime(keras.layers.Dense(2))(spikes)
    return keras.Model(image, layers.TemporalMean()(readout))


def attacked(x=IMAGES, y=LABELS, model=plain_model, attack=attacks.PGD, call=(), **arguments):
    return attack(**arguments)(model(), x, y, **dict(call))


def with_pixel(value, dtype=np.float32):
    images = IMAGES.astype(dtype)
    images[1, 2] = value
    return images


UINT8 = np.full((3, 4), 128, np.uint8)
REFUSED = {
    "negative eps": ({"eps": -0.1}, "eps", "[0, 1]"),
    "eps of 8": ({"eps": 8}, "eps", "[0, 1]"),
    "eps just above 1": ({"eps": 1.0000001}, "eps", "[0, 1]"),
    "eps is NaN": ({"eps": float("nan")}, "eps", "[0, 1]"),
    "eps is infinite": ({"eps": float("inf")}, "eps", "[0, 1]"),
    "eps is a string": ({"eps": "8/255"}, "eps", "[0, 1]"),
    "eps is None": ({"eps": None}, "eps", "[0, 1]"),
    "eps is a truth value": ({"eps": True}, "eps", "[0, 1]"),
    "FGSM's eps": ({"eps": -0.1, "attack": attacks.FGSM}, "eps", "[0, 1]"),
    "negative step": ({"step_size": -0.01}, "step_size", "[0, 1]"),
    "step is NaN": ({"step_size": float("nan")}, "step_size", "[0, 1]"),
    "no steps": ({"steps": 0}, "steps", ">= 1"),
    "half a step": ({"steps": 1.5}, "steps", ">= 1"),
    "no draws": ({"eot": 0}, "eot", ">= 1"),
    "half a draw": ({"eot": 0.5}, "eot", ">= 1"),
    "unknown gradient": ({"gradient": "stdp"}, "gradient", "bptt"),
    "gradient is None": ({"gradient": None}, "gradient", "bptt"),
    "unknown surrogate": ({"surrogate": "step"}, "surrogate", "triangle"),
    "unknown jit": ({"jit": "maybe"}, "jit", "auto"),
    "jit is a truth value": ({"jit": True}, "jit", "auto"),
    "unknown keep": ({"keep": "best"}, "keep", "first"),
    "unknown attack": ({"attack": lambda: attacks.get("deepfool")}, "attacks", "fgsm"),
    "rate gradient, no neurons": ({"gradient": "bptr"}, "gradient", "spiking"),
    "surrogate, no neurons": ({"surrogate": "arctan"}, "surrogate", "spiking"),
    "a model that keeps its state": ({"model": stateful_model}, "model", "stateful"),
    "pixel below 0": ({"x": with_pixel(-0.1)}, "x", "[0, 1]"),
    "pixel above 1": ({"x": with_pixel(1.1)}, "x", "[0, 1]"),
    "pixel a little above 1": ({"x": with_pixel(1.0001)}, "x", "[0, 1]"),
    "pixel is NaN": ({"x": with_pixel(np.nan)}, "x", "[0, 1]"),
    "pixels up to 255": ({"x": UINT8.astype(np.float32)}, "x", "[0, 1]"),
    "8-bit pixels": ({"x": UINT8}, "x", "255"),
    "8-bit black": ({"x": np.zeros_like(UINT8)}, "x", "255"),
    "no images": ({"x": IMAGES[:0], "y": LABELS[:0]}, "x", "at least one"),
    "one flat image": ({"x": IMAGES[0], "y": LABELS[:1]}, "x", "(n, ...)"),
    "labels in a column": ({"y": LABELS[:, None]}, "y", "(3,)"),
    "one-hot labels": ({"y": np.eye(2, dtype=int)[LABELS]}, "y", "(3,)"),
    "too few labels": ({"y": LABELS[:2]}, "y", "(3,)"),
    "one label": ({"y": 1}, "y", "(3,)"),
    "labels are floats": ({"y": LABELS.astype(np.float32)}, "y", "integers"),
    "labels are strings": ({"y": np.array(["0", "1", "1"])}, "y", "integers"),
    "negative label": ({"y": np.array([0, -1, 1])}, "y", ">= 0"),
    "label without a class": ({"y": np.array([0, 1, 2])}, "y", "2"),
    "label without a class, XLA": ({"y": np.array([0, 1, 2]), "jit": "on"}, "y", "2"),
    "no images at a time": ({"call": {"batch_size": 0}}, "batch_size", ">= 1"),
    "negative seed": ({"call": {"seed": -1}}, "seed", ">= 0"),
    "too few sample numbers": ({"call": {"indices": [0, 1]}}, "indices", "3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_clear_error_says_which_argument_and_what_is_allowed(case):
    arguments, name, allowed = REFUSED[case]
    with pytest.raises(ValueError) as raised:
        attacked(**arguments)
    message = str(raised.value)
    assert f"`{name}`" in message or f"{name}=" in message
    assert allowed in message
    assert "\n" not in message


@pytest.mark.parametrize("value", [-3e-8, 1 + 3e-8, -1e-7, 1 + 1e-7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_rounding_outside_the_pixels_is_no_mistake(value, dtype):
    found = attacked(with_pixel(value, dtype), eps=0.0)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found[1, 2] == pytest.approx(value, abs=2e-7)


@pytest.mark.parametrize(
    "x, y",
    [
        (IMAGES.astype(np.float16), LABELS),
        (IMAGES.astype(np.float64), LABELS.astype(np.int8)),
        (IMAGES.tolist(), LABELS.tolist()),
        (IMAGES, LABELS.astype(np.uint8)),
    ],
    ids=["half", "double", "lists", "unsigned"],
)
def test_other_floats_and_integers_are_taken_as_they_are_meant(x, y):
    model = plain_model()
    expected = attacks.FGSM()(model, IMAGES, LABELS)
    np.testing.assert_array_equal(attacks.FGSM()(model, x, y), expected)


def test_the_callers_arrays_are_left_alone():
    x, y = IMAGES.copy(), LABELS.copy()
    attacked(x, y)
    np.testing.assert_array_equal(x, IMAGES)
    np.testing.assert_array_equal(y, LABELS)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "bim"])
def test_a_name_gives_an_attack_with_the_arguments_it_was_asked_for(name):
    assert name in attacks.names()
    attack = attacks.get(name, eps=0.25, surrogate="arctan")
    assert attack.eps == 0.25
    assert attack.get_config()["surrogate"] == "arctan"
    assert type(attack)(**attack.get_config()).get_config() == attack.get_config()
    assert attacks.get(attack) is attack


def test_the_defaults_are_the_papers():
    assert attacks.FGSM().eps == 8 / 255
    for kind in (attacks.PGD, attacks.BIM):
        assert (kind().eps, kind().steps, kind().step_size, kind().keep) == (
            8 / 255, 7, 0.01, "last",
        )  # fmt: skip
