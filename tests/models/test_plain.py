"""The plain twin: an ordinary network of convolutions, batch normalization and ReLU."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import (
    LIFLayer,
    attacks,
    data,
    evaluation,
    experiments,
    keras_internals,
    models,
)
from keras_mpdsgr.attacks.target import has_spiking_neurons
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import theory_report
from keras_mpdsgr.models.policies import policy_scope
from keras_mpdsgr.pages import page

SHAPE, CLASSES = (16, 16, 3), 4
X = np.random.default_rng(0).uniform(size=(6, *SHAPE)).astype("float32")
Y = np.arange(6) % CLASSES
every_network = pytest.mark.parametrize("name", models.names())


def twin(name, **options):
    return models.get(name)(SHAPE, CLASSES, width=0.05, neuron="relu", **options)


def normalized(x):
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return keras.layers.ReLU()(x)


def convolution(x, filters, kernel=3, strides=1):
    if strides > 1 and kernel > 1:
        x = keras.layers.ZeroPadding2D(1)(x)
    padding = "same" if strides == 1 else "valid"
    return keras.layers.Conv2D(filters, kernel, strides, padding, use_bias=False)(x)


def entry():
    image = keras.Input(SHAPE)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    return image, keras.layers.Normalization(mean=mean, variance=np.square(std))(image)


def vgg_by_hand(plan):
    image, x = entry()
    for step in plan:
        if step == "pool":
            x = keras.layers.AveragePooling2D(2)(x) if min(x.shape[1:3]) > 1 else x
        else:
            x = normalized(convolution(x, max(1, round(0.05 * step))))
    x = keras.layers.Flatten()(x)
    for _ in range(2):
        x = keras.layers.Dense(round(0.05 * 4096), activation="relu")(x)
    return keras.Model(image, keras.layers.Dense(CLASSES)(x))


def wrn_by_hand():
    image, x = entry()
    x = convolution(x, 1)
    for filters, strides in [(3, 1), (6, 2), (13, 2)]:
        for number in range(2):
            first = number == 0
            activated = normalized(x)
            inner = normalized(convolution(activated, filters, 3, strides if first else 1))
            inner = convolution(inner, filters)
            x = convolution(activated, filters, 1, strides) if first else x
            x = keras.layers.Add()([x, inner])
    x = keras.layers.AveragePooling2D(4)(normalized(x))
    return keras.Model(image, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(x)))


VGG11 = [64, "pool", 128, 256, "pool", 512, 512, 512, "pool", 512, 512]
VGG16 = [64, 64, "pool", 128, 128, "pool", *3 * [256], "pool", *3 * [512], "pool", *3 * [512]]
BY_HAND = {
    "vgg11": lambda: vgg_by_hand(VGG11),
    "vgg16": lambda: vgg_by_hand([*VGG16, "pool"]),
    "wrn16": wrn_by_hand,
}


def loss_and_gradients(model, training):
    with tf.GradientTape() as tape:
        logits = model(tf.constant(X), training=training)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(Y, logits, True))
    return logits, tape.gradient(loss, model.trainable_weights)


@every_network
def test_it_is_the_network_written_by_hand_in_keras_own_layers(name):
    model, by_hand = twin(name), BY_HAND[name]()
    rng = np.random.default_rng(1)
    values = [
        w if w.ndim > 1 else rng.uniform(0.5, 1.5, w.shape) if w.size else w
        for w in model.get_weights()
    ]
    for network in (model, by_hand):  # the weights lie in the same order
        network.set_weights(values)
    for training in (False, True):
        found, expected = loss_and_gradients(model, training), loss_and_gradients(by_hand, training)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-3, atol=1e-4)
        for one, other in zip(found[1], expected[1], strict=True):
            scale = float(tf.reduce_max(tf.abs(other))) or 1.0
            np.testing.assert_allclose(one, other, rtol=1e-2, atol=2e-3 * scale)
    # Statistics of one step in training.
    for one, other in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@every_network
def test_its_weights_are_those_of_the_spiking_network(name):
    spiking = models.get(name)(SHAPE, CLASSES, timesteps=2, width=0.05)
    model = twin(name)
    assert [w.shape for w in model.weights] == [w.shape for w in spiking.weights]
    model.set_weights(spiking.get_weights())
    assert not any(isinstance(x, LIFLayer) for x in keras_internals.all_layers(model))
    assert not has_spiking_neurons(model, X)


@pytest.mark.parametrize("recompute", [False, True])
def test_it_is_saved_loaded_and_trained(recompute, tmp_path):
    model = twin("vgg11", recompute=recompute)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss)
    history = model.fit(X, Y, epochs=3, verbose=0).history
    assert list(history) == ["loss"] and history["loss"][-1] < history["loss"][0]
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(models.load(tmp_path / "model.keras")(X), model(X))


def test_its_logits_are_float32_under_mixed_precision():
    with policy_scope("mixed_bfloat16"):
        model = twin("wrn16")
    assert model(X).dtype == "float32"
    assert model.get_layer("final_relu").compute_dtype == "bfloat16"


def test_attacks_for_spiking_networks_run_along_its_own_gradient():
    model = twin("vgg11")
    labels = model(X).numpy().argmax(1)
    with pytest.warns(UserWarning, match="no spiking neurons"):
        report = evaluation.evaluate(model, X, labels, [attacks.SAPGD(eps=0.01, steps=2)], eps=0.01)
    assert report.clean == 1 and len(report.adapted) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"timesteps": 4}, {"coding": "poisson"}, {"eta": 0.1}, {"tau": 0.9}, {"reset": "soft"},
        {"surrogate": "arctan", "gamma": 2.0}, {"after_neurons": keras.layers.Identity},
    ],
)  # fmt: skip
def test_what_only_spiking_neurons_have_is_refused_by_name(options):
    with pytest.raises(ValueError, match=f"has no {', '.join(options)}. Leave them out") as caught:
        twin("wrn16", **options)
    assert "\n" not in str(caught.value)


def test_neurons_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match="`neuron` must be one of 'lif', 'relu'. Received: 'elu'"):
        models.vgg11(SHAPE, CLASSES, neuron="elu")


CONFIG = {"dataset": "digits", "neuron": "relu", "width": 0.02, "epochs": 1, "batch_size": 16}


def test_its_configuration_has_no_defence_unless_one_is_named():
    assert experiments.ExperimentConfig(neuron="relu").defense == "none"
    assert experiments.ExperimentConfig(neuron="relu", defense="sr").defense == "sr"
    assert experiments.ExperimentConfig().defense == "mpd_sgr"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"timesteps": 4, "learn_tau": "layer"}, "has no `timesteps`, `learn_tau`. Leave"),
        ({"eta": 0.5}, "has no `eta`. Leave"),
        ({"defense": "mpd_sgr"}, "`defense` mpd_sgr acts on spiking neurons"),
        ({"defense": "stog"}, "`defense` stog acts on spiking neurons"),
    ],
)
def test_its_configuration_refuses_what_only_spiking_neurons_have(given, said):
    with pytest.raises(SetupError, match=said):
        experiments.ExperimentConfig(**CONFIG, **given)


@pytest.fixture(scope="module")
def trained(shallow, tmp_path_factory):
    config = experiments.ExperimentConfig(
        **CONFIG, limit_train=32, limit_test=10, eval_limit=4, defense="reg",
        adversarial_training=True, run_dir=str(tmp_path_factory.mktemp("runs") / "plain"),
    )  # fmt: skip
    return experiments.train(config, verbose=False)


def test_a_run_of_it_has_metrics_and_results_and_no_probe(trained):
    assert trained.done and trained.probe() == {}
    assert {"loss", "val_accuracy", "input_gradient_l1"} <= set(trained.metrics())
    assert not any("omega" in name for name in trained.metrics())
    (report,) = trained.reports().values()
    assert {"fgsm", "pgd", "sapgd50"} <= set(report.accuracy) and report.adapted == {}
    images = data.to_pixels(trained.images().x_test)
    assert trained.model()(images).shape == (10, 10)


def test_the_page_of_it_has_curves_and_no_membrane_potentials(trained, tmp_path):
    text = page.write([trained.path], tmp_path / "page.html").read_text()
    assert "Cross-entropy" in text
    assert "Membrane potentials" not in text and "Omega, mean over layers" not in text


def test_there_is_no_theory_of_it(trained):
    with pytest.raises(SetupError, match="has no spiking neurons"):
        theory_report.write(trained.path)
