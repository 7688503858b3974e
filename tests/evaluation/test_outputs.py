"""Logits, probabilities and sigmoids of one network: the same attacks, the same figures."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import attacks, evaluation, layers
from keras_mpdsgr.attacks.outputs import fit, seen_in

GENERATOR = np.random.default_rng(0)
X = GENERATOR.random((40, 6)).astype("float32")
WEIGHTS = [GENERATOR.normal(size=(6, 3)).astype("float32"), np.zeros(3, "float32")]
Y = (X @ WEIGHTS[0]).argmax(axis=1)
Y[::5] = (Y[::5] + 1) % 3
EPS = 0.05


def network(activation=None, scale=1.0, dtype=None, wrap=None):
    head = keras.layers.Dense(3, activation=activation, dtype=dtype)
    model = keras.Sequential([keras.Input((6,)), head, *([wrap] if wrap else [])])
    head.set_weights([scale * weight for weight in WEIGHTS])
    return model


class Subclass(keras.Model):
    """Whose graph is not known, with a softmax that is not its end as its last attribute."""

    def __init__(self, ending=None, scale=1.0, shift=0.0):
        super().__init__()
        self.ending, self.scale, self.shift = ending, scale, shift
        self.head = keras.layers.Dense(3)
        self.gate = keras.layers.Dense(6, activation="softmax")
        self(X[:1])
        self.head.set_weights(WEIGHTS)

    def call(self, x, training=None):
        self.gate(x)
        logits = self.scale * self.head(x) + self.shift
        return logits if self.ending is None else self.ending(logits)


def figures(model, **options):
    suite = {
        "fgsm": attacks.FGSM(eps=EPS),
        "apgd": attacks.APGD(eps=EPS, steps=5),
        "dlr": attacks.PGD(eps=EPS, steps=3, loss="margin"),
    }
    report = evaluation.evaluate(model, X, Y, suite, batch_size=40, drop_broken=False, **options)
    model.compile(metrics=["accuracy"], loss="sparse_categorical_crossentropy")
    assert report.clean == pytest.approx(model.evaluate(X, Y, verbose=0)[1])
    return report.clean, report.accuracy, report.config["outputs"]


@pytest.fixture(scope="module")
def right():
    found = figures(network())
    assert found[1]["fgsm"] < found[0]
    return found[:2]


@pytest.mark.parametrize(
    "activation, kind", [("softmax", "probabilities"), ("sigmoid", "sigmoids")]
)
def test_an_activation_of_the_last_layer_changes_no_figure_and_needs_no_warning(
    right, activation, kind
):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert figures(network(activation)) == (*right, kind)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_behind_a_saturated_activation_gradients_are_those_of_the_logits(activation, dtype):
    target = attacks.FGSM().target(network(activation, scale=3000.0, dtype=dtype))
    plain = attacks.FGSM().target(network(scale=3000.0, dtype=dtype))
    np.testing.assert_array_equal(target.predict(X), plain.predict(X))
    for attack in (attacks.FGSM(eps=EPS), attacks.PGD(eps=EPS), attacks.APGD(eps=EPS, steps=5)):
        ours, theirs = (
            attack(network(one, scale=300.0, dtype=dtype), X, Y) for one in (activation, None)
        )
        np.testing.assert_array_equal(ours, theirs)
        assert np.isfinite(ours).all() and (ours != X).any()


@pytest.mark.parametrize(
    "ending, kind",
    [(keras.ops.softmax, "probabilities"), (keras.ops.sigmoid, "sigmoids")],
    ids=["softmax", "sigmoids"],
)
def test_a_subclass_is_told_by_its_answers_with_a_warning_that_says_so(right, ending, kind):
    with pytest.warns(UserWarning, match=f"taken for {kind}, by their values"):
        found = figures(Subclass(ending))
    assert found == (*right, kind)
    # Said in words, nothing need be told.
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert figures(Subclass(ending), outputs=kind) == found


@pytest.mark.parametrize("shift", [0.0, -50.0])
def test_logits_of_a_subclass_stay_logits_whatever_layers_it_has(right, shift):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert figures(Subclass(shift=shift)) == (*right, "logits")
    assert not attacks.Target(Subclass()).probabilities


def test_an_attack_alone_is_told_the_outputs_too():
    attack = attacks.APGD(eps=EPS, steps=5)
    expected = attack(network(), X, Y)
    model = Subclass(keras.ops.sigmoid)
    with pytest.warns(UserWarning, match="taken for sigmoids"):
        np.testing.assert_allclose(attack(model, X, Y), expected, atol=1e-6)
    found = attack(model, X, Y, outputs="sigmoids")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    both = attacks.Ensemble([attacks.FGSM(eps=EPS), attack])
    np.testing.assert_allclose(
        both(model, X, Y, outputs="sigmoids"), both(network(), X, Y), atol=1e-6
    )


@pytest.mark.parametrize(
    "activation, kind, wrap",
    [
        ("softmax", "probabilities", layers.TemporalMean()),
        ("sigmoid", "sigmoids", layers.TemporalMean()),
        (None, "logits", layers.TemporalMean()),
        ("softmax", "probabilities", keras.layers.Identity()),
    ],
)
def test_the_layers_before_the_last_tell_where_it_only_passes_on(activation, kind, wrap):
    head = keras.layers.Dense(3, activation=activation)
    sequence = isinstance(wrap, layers.TemporalMean)
    before = [layers.DirectEncoder(2)] if sequence else []
    model = keras.Sequential(
        [keras.Input((6,)), *before, layers.FoldTime(head) if sequence else head, wrap]
    )
    assert attacks.Target(model).outputs == kind
    inside = keras.Input((6,))
    assert attacks.Target(keras.Model(inside, model(inside))).outputs == kind


@pytest.mark.parametrize(
    "values, kind",
    [
        ([[0.2, 0.8], [1.0, 0.0]], "probabilities"),
        ([[0.21, 0.83], [0.99, 0.137]], "sigmoids"),
        ([[-1e-3, 1.0], [0.5, 0.5]], "logits"),
        ([[1.5, 0.2], [0.1, 0.3]], "logits"),
        ([[0.25, 0.5], [0.75, 1.0]], "logits"),  # rates of spikes in 4 steps
        ([[0.0, 0.0], [0.0, 0.0]], "logits"),
    ],
)
def test_values_tell_what_they_can_be(values, kind):
    outputs = tf.constant(values)
    assert seen_in(outputs) == kind
    assert fit(outputs, kind) and fit(outputs, "logits")


@pytest.mark.parametrize("said", ["probabilities", "sigmoids"])
def test_outputs_that_cannot_be_what_is_said_are_refused(said):
    with pytest.raises(ValueError, match="`outputs` must be what the model gives") as error:
        evaluation.evaluate(network(), X, Y, ["fgsm"], outputs=said)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="`outputs` must be"):
        evaluation.evaluate(network(), X, Y, ["fgsm"], outputs="odds")


def test_shares_in_half_precision_before_the_end_are_refused():
    model = network("softmax", dtype="mixed_float16", wrap=keras.layers.Identity(dtype="float16"))
    with pytest.raises(ValueError, match="half precision, where their gradients are lost"):
        evaluation.evaluate(model, X, Y, ["fgsm"])


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
def test_a_model_of_whole_numbers_is_refused_in_one_line(dtype):
    head = keras.layers.Dense(3)
    model = keras.Sequential([keras.Input((6,), dtype=dtype), keras.layers.Rescaling(1.0), head])
    for ask in (evaluation.evaluate, attacks.FGSM(), evaluation.Obfuscation):
        with pytest.raises(ValueError, match="`model` must take floating-point pixels") as error:
            ask(model, X, Y)
        assert "\n" not in str(error.value)


def test_a_models_activation_is_put_back():
    model = network("softmax")
    attacks.FGSM()(model, X, Y)
    assert model.layers[-1].activation is keras.activations.softmax
    np.testing.assert_allclose(model.predict(X, verbose=0).sum(axis=1), 1, rtol=1e-6)


class ByBatch(keras.Model):
    """Whose answers depend on how many images there are beside."""

    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(
            3, kernel_initializer=keras.initializers.RandomNormal(seed=1)
        )

    def call(self, x, training=None):
        size = tf.cast(tf.shape(x)[0], tf.float32)
        return tf.sign(size - 20) * self.head(x)


class Turned(keras.Sequential):
    """Whose `predict` is not what it computes."""

    def predict_step(self, data):
        return -super().predict_step(data)


def test_a_model_that_answers_otherwise_when_asked_otherwise_stops_the_evaluation():
    turned = Turned([keras.Input((6,)), keras.layers.Dense(3)])
    for model in (ByBatch(), turned):
        with pytest.raises(ValueError, match="`model` must answer alike") as error:
            evaluation.evaluate(model, X, Y, ["fgsm"], batch_size=40)
        assert "\n" not in str(error.value)


class Meddles(attacks.FGSM):
    """Trains the model that it attacks, or freezes it."""

    def perturb(self, target, x, y, draws):
        self.meddle(target.model)
        return super().perturb(target, x, y, draws)


@pytest.mark.parametrize("meddle", ["weights", "trainable", None])
def test_every_report_says_whether_the_model_is_as_it_was(meddle):
    class Attack(Meddles):
        def meddle(self, model):
            if meddle == "weights":
                model.set_weights([weight + 1e-6 for weight in model.get_weights()])
            if meddle == "trainable":
                model.layers[-1].trainable = False

    report = evaluation.evaluate(network(), X, Y, {"a": Attack()})
    assert report.self_check == {"eps_0_is_clean": True, "model_is_as_before": meddle is None}
    assert report.to_dict()["self_check"] == report.self_check
    assert ("failed a check of itself" in report.to_markdown()) == (meddle is not None)
