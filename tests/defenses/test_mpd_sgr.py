"""MPD-SGR over a whole model: the weight of Omega, and its warm-up."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_mpdsgr import LIFLayer, defenses, dynamics, layers, models, set_regularization

X = np.random.default_rng(0).normal(0.4, 0.8, (12, 3, 4)).astype("float32")
Y = np.arange(12) % 2


def build(eta=0.0, rate=0.0, kind=keras.Model):
    """Two layers of neurons; with the learning rate 0, every epoch sees the same weights."""
    inputs = keras.Input((3, 4))
    x = LIFLayer(tau=0.9, eta=eta, name="one")(layers.FoldTime(keras.layers.Dense(6))(inputs))
    x = LIFLayer(tau=0.9, eta=eta, name="two")(layers.FoldTime(keras.layers.Dense(5))(x))
    model = kind(inputs, keras.layers.Dense(2)(layers.TemporalMean()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(rate), loss=loss)
    return model


def fitted_loss(model, **options):
    return model.fit(X, Y, batch_size=12, verbose=0, **options).history["loss"][0]


def mean_omega_by_hand(model, half_width=1.0, scale_free=False):
    with dynamics.capture_potentials() as captured:
        model(X)
    shares = []
    for layer in captured:
        v = layer.membranes.numpy().astype("float64") - 1.0
        mean, std = v.mean(0), v.std(0)
        mean, std = (mean / std, 1.0) if scale_free else (mean, std)
        density = scipy.stats.norm(mean, std)
        shares.append((density.cdf(half_width) - density.cdf(-half_width)).mean())
    return np.mean(shares)


# The weight ---------------------------------------------------------------------------------------


def test_each_of_the_layers_gets_its_share_of_eta():
    model = build()
    assert set_regularization(model, eta=0.5) == {"one": 0.25, "two": 0.25}
    assert [model.get_layer(name).eta for name in ("one", "two")] == [0.25, 0.25]


def test_layers_of_a_model_inside_the_model_count_too():
    inputs = keras.Input((3, 4))
    inner = keras.Sequential([keras.Input((3, 4)), LIFLayer(name="inner")])
    model = keras.Model(inputs, LIFLayer(name="outer")(inner(inputs)))
    assert set_regularization(model, eta=3.0) == {"inner": 1.5, "outer": 1.5}


@pytest.mark.parametrize("kind", [keras.Model, models.SpikingModel])
def test_a_model_already_fitted_has_the_new_loss_at_its_next_fit(kind):
    model = build(kind=kind)
    plain = fitted_loss(model)
    omega = mean_omega_by_hand(model)
    set_regularization(model, eta=0.5)
    assert fitted_loss(model) == pytest.approx(plain + 0.5 * omega, rel=1e-5)
    set_regularization(model, eta=2.0)
    assert fitted_loss(model) == pytest.approx(plain + 2.0 * omega, rel=1e-5)
    set_regularization(model, eta=0.0)
    assert fitted_loss(model) == pytest.approx(plain, rel=1e-6)


def test_half_width_and_form_are_set_on_all_layers():
    model = build()
    plain = fitted_loss(model)
    set_regularization(model, eta=1.0, half_width=0.3)
    expected = plain + mean_omega_by_hand(model, half_width=0.3)
    assert fitted_loss(model) == pytest.approx(expected, rel=1e-5)
    set_regularization(model, eta=1.0, half_width=0.3, form="scale_free")
    expected = plain + mean_omega_by_hand(model, half_width=0.3, scale_free=True)
    assert fitted_loss(model) == pytest.approx(expected, rel=1e-5)
    set_regularization(model, eta=1.0)
    assert fitted_loss(model) == pytest.approx(plain + mean_omega_by_hand(model), rel=1e-5)


def test_evaluation_holds_no_omega():
    model = build()
    plain = model.evaluate(X, Y, verbose=0)
    set_regularization(model, eta=5.0)
    fitted_loss(model)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(plain, rel=1e-6)


def test_what_was_set_is_saved_with_the_model(tmp_path):
    model = build()
    set_regularization(model, eta=0.5, half_width=0.3, form="analytic")
    model.save(tmp_path / "model.keras")
    for layer in ("one", "two"):
        loaded = models.load(tmp_path / "model.keras").get_layer(layer)
        assert (loaded.eta, loaded.half_width, loaded.omega_form) == (0.25, 0.3, "analytic")


def test_a_model_without_spiking_layers_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="plain")
    with pytest.raises(ValueError, match="at least one LIFLayer. Received: 'plain'"):
        set_regularization(model, eta=0.5)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"eta": -1.0}, "`eta`.*-1.0"),
        ({"eta": float("nan")}, "`eta`.*nan"),
        ({"eta": "0.5"}, "`eta`.*'0.5'"),
        ({"eta": None}, "`eta`.*None"),
        ({"eta": 1.0, "form": "exact"}, "form.*'exact'"),
        ({"eta": 1.0, "form": None}, "form.*None"),
        ({"eta": 1.0, "half_width": 0.0}, "`half_width`.*0.0"),
        ({"eta": 1.0, "half_width": "wide"}, "`half_width`.*'wide'"),
    ],
    ids=str,
)
def test_a_bad_argument_is_refused_and_leaves_the_model_as_it_was(arguments, words):
    model = build()
    set_regularization(model, eta=0.5, half_width=0.3, form="scale_free")
    with pytest.raises(ValueError, match=words):
        set_regularization(model, **arguments)
    for layer in (model.get_layer("one"), model.get_layer("two")):
        assert (layer.eta, layer.half_width, layer.omega_form) == (0.25, 0.3, "scale_free")


# The warm-up --------------------------------------------------------------------------------------


class Factors(keras.callbacks.Callback):
    """Notes (optimizer step, factor of each layer) as each batch is about to run."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        names = ("one", "two")
        factors = [float(self.model.get_layer(name).eta_factor) for name in names]
        self.seen.append((int(self.model.optimizer.iterations), *factors))


def factors_of_fit(model, warmup, epochs):
    """With 3 batches an epoch."""
    factors = Factors()
    model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=[warmup, factors])
    return factors.seen


@pytest.mark.parametrize(
    "steps, expected", [(4, [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]), (1, [0.0, 1.0]), (0, [1.0, 1.0])]
)
def test_the_factor_rises_linearly_to_one(steps, expected):
    warmup = defenses.EtaWarmup(steps)
    assert [warmup.factor(i) for i in range(len(expected))] == expected


def test_every_batch_of_fit_runs_with_the_factor_of_its_step():
    seen = factors_of_fit(build(eta=1.0), defenses.EtaWarmup(5), epochs=3)
    assert [step for step, *_ in seen] == list(range(9))
    expected = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0]
    for _, *factors in seen:
        assert factors == pytest.approx([expected.pop(0)] * 2, abs=1e-6)


def test_the_loss_of_each_step_holds_the_factors_share_of_omega():
    model = build(kind=models.SpikingModel)
    plain, omega = fitted_loss(model), mean_omega_by_hand(model)
    model.optimizer.iterations.assign(0)
    set_regularization(model, eta=0.5)
    history = model.fit(
        X, Y, batch_size=12, epochs=4, verbose=0, callbacks=[defenses.EtaWarmup(2)]
    ).history
    expected = plain + 0.5 * omega * np.array([0.0, 0.5, 1.0, 1.0])
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)


def test_a_training_resumed_midway_goes_on_with_the_same_factors(tmp_path):
    model = build(eta=1.0, rate=0.1)
    whole = factors_of_fit(build(eta=1.0, rate=0.1), defenses.EtaWarmup(5), epochs=3)
    first = factors_of_fit(model, defenses.EtaWarmup(5), epochs=1)
    model.save(tmp_path / "model.keras")
    resumed = models.load(tmp_path / "model.keras")
    assert first + factors_of_fit(resumed, defenses.EtaWarmup(5), epochs=2) == whole


def test_after_fit_omega_counts_in_full_again():
    model = build(eta=1.0)
    factors_of_fit(model, defenses.EtaWarmup(100), epochs=1)
    assert [float(model.get_layer(name).eta_factor) for name in ("one", "two")] == [1.0, 1.0]


class Interrupting(keras.callbacks.Callback):
    """Stops a training by an exception, at the third batch."""

    def __init__(self, hook, error):
        super().__init__()
        setattr(self, hook, self._stop)
        self._error = error

    def _stop(self, batch, logs=None):
        if batch == 2:
            raise self._error


@pytest.fixture(scope="module")
def in_full():
    """A model that is traced once, and its loss with eta in full."""
    model = build(eta=1.0)
    return model, fitted_loss(model)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("disk")], ids=repr)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_train_batch_end"])
def test_an_interrupted_warm_up_leaves_eta_in_full(error, first, hook, in_full):
    model, expected = in_full
    callbacks = [Interrupting(hook, error), defenses.EtaWarmup(100)]
    with pytest.raises(type(error)):
        model.fit(X, Y, batch_size=4, verbose=0, callbacks=callbacks[:: 1 if first else -1])
    assert [float(model.get_layer(name).eta_factor) for name in ("one", "two")] == [1.0, 1.0]
    assert fitted_loss(model) == pytest.approx(expected, rel=1e-6)


def test_an_error_inside_a_step_of_a_warm_up_leaves_eta_in_full():
    def batches():
        yield X[:4], Y[:4]
        yield X[4:8], Y[4:8]
        raise OSError("the disk is gone")

    model, other = build(eta=1.0), build(eta=1.0)
    other.set_weights(model.get_weights())
    signature = (tf.TensorSpec((4, 3, 4)), tf.TensorSpec((4,), tf.int32))
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    with pytest.raises(Exception, match="the disk is gone"):
        model.fit(data, verbose=0, callbacks=[defenses.EtaWarmup(100)])
    assert [float(model.get_layer(name).eta_factor) for name in ("one", "two")] == [1.0, 1.0]
    assert fitted_loss(model) == pytest.approx(fitted_loss(other), rel=1e-6)


def test_loading_weights_leaves_the_factor_as_it_is(tmp_path):
    model = build(eta=1.0)
    model.get_layer("one").eta_factor.assign(0.25)
    model.save_weights(tmp_path / "some.weights.h5")
    weights = model.get_weights()
    model.get_layer("one").eta_factor.assign(0.75)
    model.load_weights(tmp_path / "some.weights.h5")
    model.set_weights(weights)
    assert float(model.get_layer("one").eta_factor) == 0.75


@pytest.mark.parametrize("steps", [-1, 2.5, "10", None, True])
def test_a_warm_up_without_a_whole_number_of_steps_is_refused(steps):
    with pytest.raises(ValueError, match=f"`steps` must be a whole number.*Received: {steps!r}"):
        defenses.EtaWarmup(steps)


def test_a_warm_up_of_a_model_without_spiking_layers_is_refused():
    model = keras.Sequential([keras.Input((3, 4)), keras.layers.Dense(2)], name="plain")
    model.compile(optimizer="sgd", loss="mse")
    with pytest.raises(ValueError, match="at least one LIFLayer"):
        model.fit(X, np.zeros((12, 3, 2)), verbose=0, callbacks=[defenses.EtaWarmup(3)])


def test_a_warm_up_raises_every_layer_that_has_a_factor():
    inputs = keras.Input((3, 4))
    x = LIFLayer(name="one")(inputs)
    x = layers.FiringRatePenalty(1.0, name="two")(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(layers.TemporalMean()(x)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    seen = factors_of_fit(model, defenses.EtaWarmup(2), epochs=1)
    assert seen == [(0, 0.0, 0.0), (1, 0.5, 0.5), (2, 1.0, 1.0)]


# The defence --------------------------------------------------------------------------------------


def test_the_defence_gives_a_builder_its_options():
    defence = defenses.MPDSGR(eta=1.0, omega_form="scale_free")
    options = defence.model_options(timesteps=2)
    model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02, **options)
    for layer in model.layers:
        if isinstance(layer, LIFLayer):
            assert (layer.eta, layer.omega_form) == (pytest.approx(0.1), "scale_free")
    assert defenses.MPDSGR(half_width=0.3).model_options(2)["half_width"] == 0.3


def test_the_defence_warms_up():
    (warmup,) = defenses.MPDSGR().callbacks(total_steps=100, warmup_steps=30)
    assert isinstance(warmup, defenses.EtaWarmup)
    assert warmup.steps == 30


def test_the_defence_is_found_by_its_name():
    assert repr(defenses.get("mpd_sgr", eta=0.5)) == (
        "MPDSGR(eta=0.5, omega_form='batch', half_width=None)"
    )


@pytest.mark.parametrize(
    "options, words",
    [
        ({"eta": -1.0}, "`eta`"),
        ({"omega_form": "exact"}, "form"),
        ({"half_width": 0}, "half_width"),
    ],
    ids=str,
)
def test_the_defence_refuses_a_bad_argument(options, words):
    with pytest.raises(ValueError, match=words):
        defenses.MPDSGR(**options)
