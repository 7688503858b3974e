"""Known-bad models as a control: robustness that is fake must be found out by suite and checks."""

import keras
import pytest
import tensorflow as tf

from keras_mpdsgr import attacks, data, evaluation, layers, surrogates

EPS = 0.1
# What an attack must leave to be fooled, and how near the honest twin the suite must come.
FOOLED, NEAR = 0.25, 0.1


@keras.saving.register_keras_serializable("tests.fake_robustness")
class AlwaysNoise(keras.layers.Layer):
    """Adds Gaussian noise at inference too."""

    def __init__(self, std, seed=0, **options):
        super().__init__(**options)
        self.std, self.seed = std, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        return inputs + self.std * keras.random.normal(tf.shape(inputs), seed=self.generator)

    def get_config(self):
        return {**super().get_config(), "std": self.std, "seed": self.seed}


@keras.saving.register_keras_serializable("tests.fake_robustness")
def normal_step(potential):
    """The mean of sign(potential + standard normal noise)."""
    return tf.math.erf(potential / 2**0.5)


@keras.saving.register_keras_serializable("tests.fake_robustness")
def steep(potential):
    return tf.tanh(100 * potential)


@pytest.fixture(scope="module")
def digits():
    loaded = data.load("digits", limit_test=100)
    train = data.to_pixels(loaded.x_train), loaded.y_train
    return train, (data.to_pixels(loaded.x_test), loaded.y_test.astype(int))


def trained(model, digits, epochs, learning_rate):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(learning_rate), loss)
    model.fit(*digits[0], epochs=epochs, batch_size=64, verbose=0)
    return model


@pytest.fixture(scope="module")
def convolutional(digits):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    return trained(model, digits, epochs=6, learning_rate=3e-3)


@pytest.fixture(scope="module")
def saturated(convolutional):
    return keras.Sequential(
        [keras.Input((16, 16, 1)), *convolutional.layers, keras.layers.Rescaling(1e3)]
    )


def spiking_network(gamma):
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(96),
            keras.layers.BatchNormalization(),
            layers.DirectEncoder(4),
            layers.LIFLayer(tau=0.5, surrogate=surrogates.get("triangle", gamma=gamma)),
            layers.FoldTime(keras.layers.Dense(64)),
            keras.layers.BatchNormalization(),
            layers.LIFLayer(tau=0.5, surrogate=surrogates.get("triangle", gamma=gamma)),
            layers.FoldTime(keras.layers.Dense(10)),
            layers.TemporalMean(),
        ]
    )


@pytest.fixture(scope="module")
def wide(digits):
    keras.utils.set_random_seed(0)
    return trained(spiking_network(gamma=1.0), digits, epochs=8, learning_rate=5e-3)


@pytest.fixture(scope="module")
def narrow(wide):
    model = spiking_network(gamma=0.001)
    model.set_weights(wide.get_weights())
    return model


@pytest.fixture(scope="module")
def calm(digits):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(1024, activation=normal_step),
            keras.layers.Dense(10),
        ]
    )
    return trained(model, digits, epochs=8, learning_rate=1e-3)


@pytest.fixture(scope="module")
def noisy(calm):
    """Steps under noise in the place of their mean: few of the units have a gradient at a time."""
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(1024),
            AlwaysNoise(1.0),
            keras.layers.Activation(steep),
            keras.layers.Dense(10),
        ]
    )
    model.layers[1].set_weights(calm.layers[1].get_weights())
    model.layers[4].set_weights(calm.layers[2].get_weights())
    return model


def pgd(**options):
    return attacks.PGD(eps=EPS, step_size=EPS / 4, **options)


def accuracy(model, digits, attack):
    report = evaluation.evaluate(model, *digits[1], {"attack": attack}, drop_broken=False)
    return report.accuracy["attack"]


def worst_case(model, digits, suite):
    return evaluation.evaluate(model, *digits[1], suite, eps=EPS).worst_case


def strong_suite(model, eot=1):
    """The attacks of the strongest suite in small."""
    options = {"eps": EPS, "eot": eot}
    suite = {
        "sapgd": attacks.SAPGD(steps=20, gradient="bptt", **options),
        "apgd_dlr": attacks.APGD(steps=20, loss="dlr", **options),
        "square": attacks.Square(eps=EPS, steps=300),
    }
    if any(isinstance(layer, layers.LIFLayer) for layer in model.layers):
        suite["sapgd"] = attacks.SAPGD(steps=20, gradient="assg", **options)
        suite["wider"] = pgd(steps=20, surrogate="triangle", keep="first")
    return suite


def checks(model, digits, **options):
    return evaluation.Obfuscation(model, *digits[1], eps=EPS, steps=20, queries=300, **options)


@pytest.mark.parametrize(
    "fake, twin", [("saturated", "convolutional"), ("narrow", "wide"), ("noisy", "calm")]
)
def test_seven_steps_of_pgd_are_fooled(fake, twin, digits, request):
    fake, twin = request.getfixturevalue(fake), request.getfixturevalue(twin)
    assert accuracy(fake, digits, pgd()) > accuracy(twin, digits, pgd()) + FOOLED


@pytest.mark.parametrize("fake, twin", [("saturated", "convolutional"), ("narrow", "wide")])
def test_the_strong_attacks_break_a_fake_like_its_honest_twin(fake, twin, digits, request):
    fake, twin = request.getfixturevalue(fake), request.getfixturevalue(twin)
    honest = worst_case(twin, digits, strong_suite(twin))
    assert worst_case(fake, digits, strong_suite(fake)) <= honest + NEAR


def test_averaged_gradients_break_a_random_fake_nearer_to_its_honest_twin(noisy, calm, digits):
    once = accuracy(noisy, digits, pgd(steps=40))
    averaged = accuracy(noisy, digits, pgd(steps=40, eot=10))
    assert averaged < once - 0.1
    assert averaged <= accuracy(calm, digits, pgd(steps=40)) + 2 * NEAR


def test_the_strong_attacks_with_averaged_gradients_break_a_random_fake(noisy, calm, digits):
    honest = worst_case(calm, digits, strong_suite(calm))
    assert worst_case(noisy, digits, strong_suite(noisy, eot=10)) <= honest + 2 * NEAR


def test_keeping_the_first_success_is_no_weaker_on_a_random_fake(noisy, digits):
    last = accuracy(noisy, digits, pgd(steps=20, eot=10, keep="last"))
    assert accuracy(noisy, digits, pgd(steps=20, eot=10, keep="first")) <= last + 0.05


def test_saturated_logits_are_flagged(saturated, digits):
    found = checks(saturated, digits)
    assert found.gradients_are_not_zero().status == "fail"
    assert found.gradient_beats_search().status == "fail"
    assert found.large_eps_reaches_zero().status == "fail"
    assert found.loss_rises_along_gradient().status == "fail"


def test_a_narrow_surrogate_is_flagged_and_wider_ones_named_as_the_way_out(narrow, digits):
    found = checks(narrow, digits)
    zero = found.gradients_are_not_zero()
    assert zero.status == "fail"
    assert zero.figures["own"] > 0.5
    assert zero.figures["triangle"] == 0
    assert found.training_surrogate_is_enough().status == "fail"


def test_noise_at_inference_is_flagged(noisy, digits):
    found = checks(noisy, digits)
    assert found.random_models_need_eot().status in ("warn", "fail")


@pytest.mark.parametrize("twin", ["convolutional", "wide", "calm"])
def test_an_honest_twin_is_not_flagged(twin, digits, request):
    found = checks(request.getfixturevalue(twin), digits)
    assert found.gradients_are_not_zero().status == "pass"
    assert found.gradient_beats_search().status == "pass"
    assert found.large_eps_reaches_zero().status == "pass"
    assert found.loss_rises_along_gradient().status == "pass"
    assert found.random_models_need_eot().status == "not run"
