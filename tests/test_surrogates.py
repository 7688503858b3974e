"""Each surrogate against its printed formula, its integral and its half-width."""

import json
import math

import keras
import numpy as np
import pytest
import scipy.integrate
import tensorflow as tf

from keras_mpdsgr import surrogates
from keras_mpdsgr.surrogates import base

FORMULAS = {
    "triangle": lambda v: np.maximum(1 - np.abs(v), 0),
    "rectangular": lambda v: np.where(np.abs(v) < 1, 0.5, 0.0),
    "sigmoid": lambda v: 4 * np.exp(-4 * np.abs(v)) / (1 + np.exp(-4 * np.abs(v))) ** 2,
    "superspike": lambda v: 1 / (1 + 10 * np.abs(v)) ** 2,
    "arctan": lambda v: 1 / (1 + (np.pi * v) ** 2),
    "dspike": lambda v: np.where(
        np.abs(v) < 1, 3 / 4 / np.tanh(1.5) / np.cosh(np.minimum(np.abs(v), 1) * 1.5) ** 2, 0
    ),
}
NAMES = sorted(FORMULAS)
UNBOUNDED = ["arctan", "sigmoid", "superspike"]
POINTS = np.array([-30.0, -2.0, -1.0, -0.99, -0.3, 0.0, 1e-3, 0.5, 1.0, 7.0])


def height(surrogate, v):
    return float(surrogate.derivative(tf.constant(v, tf.float64)))


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(base, "_registry", dict(base._registry))


@pytest.mark.parametrize("name", NAMES)
def test_derivative_is_the_printed_formula_at_gamma_one(name):
    computed = surrogates.get(name).derivative(tf.constant(POINTS, tf.float64))
    np.testing.assert_allclose(computed, FORMULAS[name](POINTS), rtol=1e-12)


@pytest.mark.parametrize("gamma", [0.25, 0.7, 3.0])
def test_triangle_and_rectangular_are_the_printed_formulas_at_any_gamma(gamma):
    v = tf.constant(POINTS, tf.float64)
    triangle = np.maximum(gamma - np.abs(POINTS), 0) / gamma**2
    rectangular = np.where(np.abs(POINTS) < gamma, 1 / (2 * gamma), 0)
    np.testing.assert_allclose(surrogates.Triangle(gamma).derivative(v), triangle, atol=1e-14)
    np.testing.assert_allclose(surrogates.Rectangular(gamma).derivative(v), rectangular)


def test_rectangular_is_open_at_its_ends():
    for gamma in (0.1, 0.7, 1.0, 3.0):
        surrogate = surrogates.Rectangular(gamma)
        assert height(surrogate, gamma) == 0.0
        assert height(surrogate, np.nextafter(gamma, 0.0)) == pytest.approx(0.5 / gamma)


@pytest.mark.parametrize("gamma", [0.5, 4.0])
@pytest.mark.parametrize("name", NAMES)
def test_gamma_scales_the_width_and_keeps_the_integral(name, gamma):
    computed = surrogates.get(name, gamma=gamma).derivative(tf.constant(POINTS, tf.float64))
    np.testing.assert_allclose(computed, FORMULAS[name](POINTS / gamma) / gamma, rtol=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize(
    "name, options, expected",
    [
        ("triangle", {}, 1.0),
        ("rectangular", {}, 1.0),
        ("sigmoid", {}, 1.0),
        ("sigmoid", {"sharpness": 1.5}, 1.0),
        ("arctan", {}, 1.0),
        ("arctan", {"alpha": 0.8}, 1.0),
        ("superspike", {}, 0.2),
        ("superspike", {"beta": 3.0}, 2 / 3),
        ("dspike", {}, 1.0),
        ("dspike", {"temperature": 0.2}, 1.0),
    ],
)
def test_integral_is_one_but_for_superspike(name, options, expected, gamma):
    surrogate = surrogates.get(name, gamma=gamma, **options)
    # v = gamma tan(angle): the whole axis on a bounded interval
    angles, weights = np.polynomial.legendre.leggauss(400)
    if surrogate.unit_half_width == 1.0:
        integral, _ = scipy.integrate.quad(lambda v: height(surrogate, v), -gamma, gamma)
    else:
        angles = (angles + 1) * np.pi / 4
        heights = surrogate.derivative(tf.constant(gamma * np.tan(angles))).numpy()
        integral = 2 * np.sum(weights * heights * gamma / np.cos(angles) ** 2) * np.pi / 4
    assert integral == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("name", ["triangle", "rectangular"])
def test_half_width_of_a_compact_surrogate_is_its_support(name, gamma):
    surrogate = surrogates.get(name, gamma=gamma)
    assert surrogate.half_width == gamma
    assert height(surrogate, gamma * 0.999) > 0.0
    assert height(surrogate, gamma) == 0.0


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize(
    "surrogate_class, options",
    [
        (surrogates.Sigmoid, {}),
        (surrogates.Sigmoid, {"sharpness": 1.3}),
        (surrogates.SuperSpike, {}),
        (surrogates.SuperSpike, {"beta": 3.0}),
        (surrogates.Arctan, {}),
        (surrogates.Arctan, {"alpha": 5.0}),
    ],
)
def test_an_unbounded_surrogate_falls_to_a_tenth_of_its_peak_at_its_half_width(
    surrogate_class, options, gamma
):
    surrogate = surrogate_class(gamma=gamma, **options)
    for side in (-1, 1):
        at_end = height(surrogate, side * surrogate.half_width)
        assert at_end == pytest.approx(0.1 * height(surrogate, 0.0), rel=1e-9)


@pytest.mark.parametrize("name", UNBOUNDED)
def test_numeric_half_width_agrees_with_the_closed_form(name):
    surrogate = surrogates.get(name, gamma=0.7)
    assert 0.7 * surrogate._numeric_unit_half_width() == pytest.approx(
        surrogate.half_width, rel=1e-9
    )


def test_dspike_lies_between_the_rectangle_and_the_spike():
    # The slope of a tanh that runs from 0 to 1 over the window (Li et al., 2021, Eq. 7).
    def run(v, b):
        return np.tanh(b * v / 2) / (2 * np.tanh(b / 2)) + 0.5

    for b in (0.5, 3.0, 10.0):
        surrogate = surrogates.get("dspike", temperature=b)
        for v in (-0.8, -0.1, 0.4):
            slope = (run(v + 1e-5, b) - run(v - 1e-5, b)) / 2e-5
            assert height(surrogate, v) == pytest.approx(slope, rel=1e-6)
    assert height(surrogates.get("dspike", temperature=1e-3), 0.7) == pytest.approx(0.5, rel=1e-5)


def test_a_copy_of_another_width_scales_the_half_width_along():
    assert surrogates.Triangle(2.0).with_width(0.5).half_width == 0.5
    assert surrogates.Triangle(2.0, half_width=3.0).with_width(0.5).half_width == 0.75
    assert surrogates.Arctan(1.0).with_width(4.0) == surrogates.Arctan(4.0)


def test_a_given_half_width_overrides():
    assert surrogates.Arctan(gamma=2.0, half_width=0.3).half_width == 0.3
    assert surrogates.Triangle(gamma=2.0, half_width=0.3).half_width == 0.3


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
@pytest.mark.parametrize("name", NAMES)
def test_derivative_keeps_shape_and_dtype_and_is_finite_at_any_distance(name, dtype):
    limit = float(dtype.max)
    v = tf.constant([[0.0, 1e-7, -0.5], [limit, -limit, 6e4]], dtype)
    for gamma in (0.01, 1.0, 100.0):
        surrogate = surrogates.get(name, gamma=gamma)
        for run in (surrogate.derivative, tf.function(surrogate.derivative)):
            computed = run(v)
            assert computed.dtype == dtype and computed.shape == v.shape
            assert np.all(np.isfinite(tf.cast(computed, tf.float64)))
            assert np.all(computed.numpy() >= 0)


@pytest.mark.parametrize("name", NAMES)
def test_xla_computes_the_same_derivative(name):
    surrogate, v = surrogates.get(name, gamma=0.6), tf.constant(POINTS, tf.float32)
    compiled = tf.function(surrogate.derivative, jit_compile=True)(v)
    np.testing.assert_allclose(compiled, surrogate.derivative(v), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_go_in_as_tensors_without_a_second_trace(name):
    template, traces = surrogates.get(name), []

    @tf.function
    def derivative(v, numbers):
        traces.append(1)
        return template.with_numbers(numbers).derivative(v)

    v = tf.constant(POINTS, tf.float32)
    for factor in (1.0, 0.5):
        numbers = {key: factor * value for key, value in template.numbers().items()}
        tensors = {key: tf.constant(value, tf.float64) for key, value in numbers.items()}
        expected = surrogates.get(name, **numbers).derivative(v)
        np.testing.assert_allclose(derivative(v, tensors), expected, rtol=1e-6)
    assert len(traces) == 1
    assert template == surrogates.get(name)


def test_numbers_are_the_parameters_by_name():
    assert surrogates.Triangle(0.5).numbers() == {"gamma": 0.5}
    assert surrogates.Sigmoid(sharpness=3).numbers() == {"gamma": 1.0, "sharpness": 3.0}
    assert surrogates.SuperSpike().numbers() == {"gamma": 1.0, "beta": 10.0}
    assert surrogates.Arctan().numbers() == {"gamma": 1.0, "alpha": 2.0}


def test_with_numbers_refuses_what_is_no_number_of_the_surrogate():
    with pytest.raises(ValueError, match="Triangle takes gamma. Received: alpha=2.0"):
        surrogates.Triangle().with_numbers({"alpha": 2.0})
    with pytest.raises(ValueError, match="`gamma` must be a positive number"):
        surrogates.Triangle().with_numbers({"gamma": -1.0})


@pytest.mark.parametrize("name", NAMES)
def test_keras_serialization_round_trips(name):
    surrogate = surrogates.get(name, gamma=0.3, half_width=0.9)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(surrogate)))
    assert config["registered_name"] == f"keras_mpdsgr>{type(surrogate).__name__}"
    for restored in (keras.saving.deserialize_keras_object(config), surrogates.get(config)):
        assert restored == surrogate and restored is not surrogate
        assert hash(restored) == hash(surrogate)
        assert restored.get_config() == surrogate.get_config()


def test_surrogates_are_equal_by_class_and_config():
    assert surrogates.Triangle(0.5) == surrogates.get("triangle", gamma=0.5)
    assert surrogates.Triangle(0.5) != surrogates.Triangle(0.6)
    assert surrogates.Triangle(0.5) != surrogates.Rectangular(0.5)
    assert repr(surrogates.Sigmoid(0.5)) == "Sigmoid(gamma=0.5, sharpness=4.0)"


def test_the_registry_has_the_names_of_the_field():
    assert set(NAMES) <= set(surrogates.names())
    assert list(surrogates.names()) == sorted(surrogates.names())


def test_get_returns_an_object_unchanged():
    surrogate = surrogates.Sigmoid()
    assert surrogates.get(surrogate) is surrogate


@pytest.mark.parametrize("identifier", ["triangel", "Triangle", None, 3, surrogates.Triangle, {}])
def test_an_unknown_identifier_is_refused_with_the_list_of_names(identifier):
    with pytest.raises(ValueError, match="arctan, .*triangle.*Received: surrogate="):
        surrogates.get(identifier)


def test_a_configuration_of_something_else_is_refused():
    for config in (
        keras.saving.serialize_keras_object(keras.layers.ReLU()),
        {"class_name": "Nowhere", "config": {}, "registered_name": "x>Nowhere", "module": None},
    ):
        with pytest.raises(ValueError, match="`surrogate` must be"):
            surrogates.get(config)


def test_arguments_beside_an_object_are_refused():
    surrogate = surrogates.Triangle()
    for identifier in (surrogate, keras.saving.serialize_keras_object(surrogate)):
        with pytest.raises(ValueError, match="arguments with a name only.*gamma"):
            surrogates.get(identifier, gamma=2.0)


def test_an_argument_of_another_surrogate_is_refused():
    with pytest.raises(ValueError, match="Sigmoid takes gamma, sharpness. Received: alpha=2"):
        surrogates.get("sigmoid", alpha=2)


@pytest.mark.parametrize(
    "value", [0, -1, math.nan, math.inf, -math.inf, True, "1", None, [1.0], tf.ones(())]
)
@pytest.mark.parametrize(
    "name, argument",
    [("triangle", "gamma"), ("sigmoid", "sharpness"), ("superspike", "beta"), ("arctan", "alpha")],
)
def test_what_is_not_a_positive_number_is_refused(name, argument, value):
    with pytest.raises(ValueError, match=rf"`{argument}` must be a positive number \(.*\). Rec"):
        surrogates.get(name, **{argument: value})


def test_the_message_names_argument_meaning_and_value():
    with pytest.raises(ValueError) as error:
        surrogates.Triangle(gamma=-1)
    assert str(error.value) == (
        "`gamma` must be a positive number (width of the surrogate's window, in units of membrane "
        "potential). Received: -1."
    )
    with pytest.raises(ValueError, match="`half_width` must be a positive number"):
        surrogates.Triangle(half_width=0)


def test_numpy_numbers_are_numbers():
    surrogate = surrogates.Triangle(gamma=np.float32(0.5), half_width=np.int64(2))
    assert surrogate.get_config() == {"gamma": 0.5, "half_width": 2.0}
    assert {type(value) for value in surrogate.get_config().values()} == {float}


@pytest.mark.parametrize("name", ["gamma", "sharpness"])
def test_a_surrogate_does_not_change(name):
    surrogate = surrogates.get("sigmoid")
    with pytest.raises(AttributeError, match=f"does not change. Received: {name}=0.1. .*with_numb"):
        setattr(surrogate, name, 0.1)
    assert surrogate == surrogates.get("sigmoid")
    assert surrogate.with_numbers({name: 0.1}).numbers()[name] == 0.1


class Gaussian(surrogates.Surrogate):
    parameters = {"spread": 1.0}

    def unit_derivative(self, x):
        return tf.exp(-tf.square(x / self.spread) / 2.0)


def test_a_users_surrogate_gets_half_width_registry_and_serialization(registry):
    surrogates.register("gaussian")(Gaussian)
    surrogates.register("gaussian")(Gaussian)  # a cell of a notebook run again
    surrogate = surrogates.get("gaussian", gamma=0.5, spread=3.0)
    assert surrogate.half_width == pytest.approx(1.5 * math.sqrt(2 * math.log(10)), rel=1e-9)
    assert height(surrogate, 1.5) == pytest.approx(2 * math.exp(-0.5))
    assert surrogate.numbers() == {"gamma": 0.5, "spread": 3.0}
    assert surrogates.get(keras.saving.serialize_keras_object(surrogate)) == surrogate


def test_a_users_half_width_is_a_number_even_inside_a_graph():
    @tf.function
    def traced():
        width = Gaussian().half_width
        assert isinstance(width, float)
        return tf.constant(width)

    assert float(traced()) == pytest.approx(math.sqrt(2 * math.log(10)))


def test_a_peak_away_from_the_threshold_counts():
    class Shifted(surrogates.Surrogate):
        def unit_derivative(self, x):
            return tf.exp(-tf.square(x - 2.0) / 2.0)

    assert Shifted().half_width == pytest.approx(2 + math.sqrt(2 * math.log(10)), rel=1e-4)


def test_a_surrogate_that_does_not_fall_asks_for_a_half_width():
    class Straight(surrogates.Surrogate):
        def unit_derivative(self, x):
            return tf.ones_like(x)

    with pytest.raises(ValueError, match="does not fall to 10% of its peak: pass `half_width`"):
        _ = Straight().half_width
    assert Straight(half_width=1.0).half_width == 1.0


def test_a_taken_name_is_refused(registry):
    with pytest.raises(ValueError, match="`name` must be free. Received: name='triangle'"):
        surrogates.register("triangle")(Gaussian)


def test_the_base_class_asks_for_its_formula():
    with pytest.raises(NotImplementedError, match="must define `unit_derivative"):
        surrogates.Surrogate().derivative(tf.zeros(3))
