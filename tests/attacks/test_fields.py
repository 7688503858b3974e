"""Fields of an attack: their checks, and how their marks decide what a compiled step is given."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import attacks
from keras_mpdsgr.arguments import check_number
from keras_mpdsgr.attacks.compiled import CompiledFunctions
from keras_mpdsgr.attacks.fields import outside, static, tensor

X = np.full((2, 3), 0.5, "float32")
Y = np.zeros(2, int)


@dataclasses.dataclass(frozen=True)
class Shift(attacks.Attack):
    """Moves all pixels, in a compiled step, by the sum of its fields."""

    marked_tensor: float = tensor(0.01, check_number, least=0)
    marked_static: float = static(0.02)
    unmarked: float = 0.03
    marked_outside: float = outside(0.04)

    def perturb(self, target, x, y, draws):
        return target.call(self.moved, x, y) + self.marked_outside

    def moved(self, target, x, y):
        return x + self.marked_tensor + self.marked_static + self.unmarked


@dataclasses.dataclass(frozen=True)
class Careless(Shift):
    """Reads in its step what is marked as outside of it."""

    def moved(self, target, x, y):
        return x + self.marked_outside


class Plain(attacks.Attack):
    """An attack with an `__init__` of its own, whose attributes have no marks."""

    def __init__(self, by=0.1, **options):
        super().__init__(**options)
        self.by = by

    def perturb(self, target, x, y, draws):
        return target.call(self.moved, x, y)

    def moved(self, target, x, y):
        return x + self.by


@pytest.fixture
def model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


def compiled(model):
    kept = CompiledFunctions.of(model).values()
    return sum(step.experimental_get_tracing_count() for step in kept)


@pytest.mark.parametrize(
    "name, steps",
    [("marked_tensor", 1), ("marked_outside", 1), ("marked_static", 2), ("unmarked", 2)],
)
def test_another_value_of_a_field_is_used_whatever_its_mark(model, name, steps):
    np.testing.assert_allclose(Shift()(model, X, Y), X + 0.1, atol=1e-6)
    changed = Shift().replace(**{name: getattr(Shift(), name) + 0.2})
    np.testing.assert_allclose(changed(model, X, Y), X + 0.3, atol=1e-6)
    assert compiled(model) == steps


def test_a_field_marked_as_outside_cannot_be_read_in_a_step(model):
    with pytest.raises(AttributeError, match="`marked_outside` is marked as outside"):
        Careless()(model, X, Y)


def test_an_attribute_that_is_no_field_is_static(model):
    for by in (0.1, 0.2):
        np.testing.assert_allclose(Plain(by)(model, X, Y), X + by, atol=1e-6)
    assert repr(Plain(0.3, eot=2)).startswith("Plain(by=0.3, detach_reset='auto', eot=2")
    assert Plain(0.3, eot=2).replace(by=0.4).get_config()["eot"] == 2


def test_an_attack_cannot_be_written_into_and_its_replacement_is_checked_anew():
    attack = attacks.PGD(0.1, steps=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.eps = 0.2
    assert attack.replace(eps=0.2) == attacks.PGD(eps=0.2, steps=3) != attack
    with pytest.raises(ValueError, match=r"`eps` must be a number in \[0, 1.*Received: 8"):
        attack.replace(eps=8)
    with pytest.raises(ValueError, match=r"`step_size` must be a number in \[0, 1"):
        attacks.PGD(norm="l2", step_size=3.0).replace(norm="linf")


@pytest.mark.parametrize(
    "name, argument",
    [
        ("sapgd", "step_size"),
        ("sapgd", "norm"),
        ("apgd", "step_size"),
        ("hart", "gradient"),
        ("square", "gradient"),
        ("random", "eot"),
        ("gaussian", "surrogate"),
    ],
)
def test_an_argument_that_an_attack_does_not_use_is_refused(name, argument):
    value = {"step_size": 0.1, "norm": "l2", "gradient": "bptr", "eot": 2, "surrogate": "arctan"}
    kind = type(attacks.get(name))
    with pytest.raises((TypeError, ValueError), match=argument):
        kind(**{argument: value[argument]})
    with pytest.raises(ValueError, match=f"'{name}' takes .*Received: {argument}"):
        attacks.get(name, **{argument: value[argument]})


def test_of_every_attack_there_are_its_arguments_and_no_others():
    common = ["detach_reset", "eot", "gradient", "jit", "sharpness", "surrogate"]
    ball = ["eps", "keep", "loss", "restarts", "steps", "targeted"]
    assert attacks.FGSM.argument_names() == sorted([*common, "eps"])
    assert attacks.PGD.argument_names() == sorted([*common, *ball, "norm", "step_size"])
    assert attacks.APGD.argument_names() == sorted([*common, *ball, "norm"])
    assert attacks.SAPGD.argument_names() == sorted([*common, *ball])
    assert attacks.argument_names("square") == [
        "eps",
        "initial_share",
        "jit",
        "rescale_schedule",
        "steps",
    ]


def test_a_step_is_told_by_its_function_not_by_its_name(model):
    class Other(Plain):
        def moved(self, target, x, y):
            return x - self.by

    np.testing.assert_allclose(Plain()(model, X, Y), X + 0.1, atol=1e-6)
    np.testing.assert_allclose(Other()(model, X, Y), X - 0.1, atol=1e-6)
    target = Plain().target(model)
    doubled = target.call(Plain().moved, tf.constant(X), tf.constant(Y))
    np.testing.assert_allclose(doubled, X + 0.1, atol=1e-6)
