"""What the library cannot do is refused in one line that names it and says what to do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import LIFLayer, attacks, defenses, evaluation, layers, models

X = np.random.default_rng(0).uniform(size=(12, 6)).astype("float32")
Y = np.arange(12) % 2


def one_line(error):
    """The message, if it is one line."""
    message = str(error.value)
    assert "\n" not in message
    return message


# One output for two classes -----------------------------------------------------------------------


def single(activation=None):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, activation=activation)])


class Subclassed(keras.Model):
    """It does not say its output's shape."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


def flat():
    """One logit a sample, without an axis for classes."""
    image = keras.Input((6,))
    return keras.Model(image, keras.layers.Reshape(())(keras.layers.Dense(1)(image)))


SINGLE = {
    "logit": single,
    "sigmoid": lambda: single("sigmoid"),
    "softmax": lambda: single("softmax"),
    "subclassed": lambda: Subclassed(single()),
    "flat": flat,
}
ATTACKED = {
    "attack": lambda model, y: attacks.PGD(steps=1)(model, X, y),
    "attack under XLA": lambda model, y: attacks.FGSM(jit="on")(model, X, y),
    "without a gradient": lambda model, y: evaluation.evaluate(model, X, y, attacks=["uniform"]),
    "evaluate": lambda model, y: evaluation.evaluate(model, X, y, attacks=["fgsm"]),
}


@pytest.mark.parametrize("y", [Y, np.zeros(12, "int32")], ids=["two classes", "class 0 alone"])
@pytest.mark.parametrize("way", ATTACKED)
@pytest.mark.parametrize("kind", SINGLE)
def test_an_attack_on_one_score_for_two_classes_is_refused(kind, way, y):
    with pytest.raises(ValueError) as error:
        ATTACKED[way](SINGLE[kind](), y)
    assert "of at least two" in one_line(error) and "needs two outputs" in one_line(error)


def objectives():
    adversary = defenses.AdversarialTraining(eps=0.1)
    return {
        "pgd": adversary.objective(),
        "trades": defenses.AdversarialTraining(loss="trades").objective(),
        "sr": defenses.SparseGradient().objective(),
        "sr against pgd": defenses.SparseGradient().objective(adversary),
    }


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", objectives())
def test_a_training_on_adversarial_images_of_one_score_is_refused(name, jit):
    model = defenses.DefendedModel(single(), objectives()[name])
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=jit)
    with pytest.raises(ValueError) as error:
        model.fit(X, Y, verbose=0)
    assert "needs two outputs" in one_line(error)


def test_one_score_may_be_trained_by_its_plain_loss():
    model = defenses.DefendedModel(single())
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"][0])


@pytest.mark.parametrize("build", [models.vgg11, models.vgg16, models.wrn16])
def test_a_network_of_one_class_is_refused(build):
    with pytest.raises(ValueError, match="`num_classes`.*two") as error:
        build((8, 8, 1), 1, timesteps=2, width=0.02)
    one_line(error)


# Several outputs ----------------------------------------------------------------------------------


def several(wrap):
    image = keras.Input((6,))
    return keras.Model(image, wrap([keras.layers.Dense(2, name=name)(image) for name in "ab"]))


SEVERAL = {
    "list": lambda: several(list),
    "dictionary": lambda: several(lambda outputs: dict(zip("ab", outputs, strict=True))),
    "subclassed": lambda: Subclassed(several(list)),
    "subclassed dictionary": lambda: Subclassed(SEVERAL["dictionary"]()),
}


@pytest.mark.parametrize("way", ATTACKED)
@pytest.mark.parametrize("kind", SEVERAL)
def test_an_attack_on_several_outputs_is_refused(kind, way):
    with pytest.raises(ValueError, match="must have one output") as error:
        ATTACKED[way](SEVERAL[kind](), Y)
    assert "keras.Model(model.inputs, output)" in one_line(error)


# Data sets ----------------------------------------------------------------------------------------


def test_a_data_set_in_place_of_arrays_is_refused_with_the_way_to_arrays():
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(5)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    for go in (
        lambda: evaluation.evaluate(model, dataset, Y),
        lambda: evaluation.evaluate(model, X, dataset),
        lambda: attacks.PGD()(model, dataset, Y),
    ):
        with pytest.raises(ValueError, match="tf.data.Dataset") as error:
            go()
        one_line(error)
    code = str(error.value).split("`")[3]
    found = {"np": np, "dataset": dataset}
    exec(code, found)
    np.testing.assert_array_equal(found["x"], X)
    np.testing.assert_array_equal(found["y"], Y)


# Layers -------------------------------------------------------------------------------------------


def lstm():
    return layers.FoldTime(keras.layers.LSTM(4, return_state=True, name="memory"))


@pytest.mark.parametrize(
    "go",
    [lambda: lstm()(np.ones((2, 3, 7, 8), "float32")), lambda: lstm()(keras.Input((3, 7, 8)))],
    ids=["eager", "symbolic"],
)
def test_folding_time_around_a_layer_of_several_outputs_is_refused(go):
    with pytest.raises(ValueError, match="layer of one output. Received: 'memory'") as error:
        go()
    one_line(error)


def stateful():
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(4, 3, 6)),
            LIFLayer(stateful=True),
            layers.TemporalMean(),
            keras.layers.Dense(2),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize(
    "go",
    [
        lambda model, x: model.fit(x, np.zeros(len(x)), batch_size=4, verbose=0),
        lambda model, x: model.evaluate(x, np.zeros(len(x)), batch_size=4, verbose=0),
        lambda model, x: model.predict(x, batch_size=4, verbose=0),
        lambda model, x: model(x[:3]),
    ],
    ids=["fit", "evaluate", "predict", "call"],
)
def test_a_ragged_batch_of_neurons_that_keep_their_potential_is_refused(go):
    x = np.ones((10, 3, 6), "float32")
    with pytest.raises(ValueError, match="potentials of 4 samples") as error:
        go(stateful(), x)
    assert "drop_remainder=True" in one_line(error)


def test_whole_batches_of_such_neurons_train():
    x = np.ones((8, 3, 6), "float32")
    history = stateful().fit(x, np.zeros(8), batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_neurons_that_run_backwards_in_time_are_refused():
    with pytest.raises(ValueError, match="LIFLayer runs forwards in time") as error:
        keras.layers.Bidirectional(LIFLayer())
    assert "Bidirectional" in one_line(error)


def test_a_clone_of_a_defended_model_is_refused():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="cannot be cloned") as error:
        keras.models.clone_model(defenses.DefendedModel(model))
    assert "DefendedModel(keras.models.clone_model(defended.model), objective)" in one_line(error)
