"""The moving average of weights against its formula in numpy; who sees it, and when."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, TDBatchNormalization, fitting, layers, models
from keras_mpdsgr.fitting import DefendedModel, WeightAverage, averaged

X = np.random.default_rng(0).uniform(size=(24, 6)).astype("float32")
Y = (X.mean(1) > 0.5).astype("int32")
DECAY = 0.5


def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((6,))
    hidden = TDBatchNormalization()(layers.DirectEncoder(2)(keras.layers.Dense(8)(image)))
    spikes = LIFLayer(eta=0.1)(hidden)
    return models.SpikingModel(image, keras.layers.Dense(2)(layers.TemporalMean()(spikes)))


class Weights(keras.callbacks.Callback):
    """The weights of the model inside after each step."""

    def __init__(self):
        super().__init__()
        self.after = []

    def on_train_batch_end(self, batch, logs=None):
        self.after.append([w.astype("float64") for w in self.model.model.get_weights()])


def compiled(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss)
    return model


@pytest.fixture(scope="module")
def trained():
    """A trained model, its weights after each step, its history."""
    model = compiled(DefendedModel(network(), average=WeightAverage(DECAY)))
    weights = Weights()
    options = {"batch_size": 3, "shuffle": False, "verbose": 0, "validation_data": (X, Y)}
    history = model.fit(X, Y, epochs=2, callbacks=[weights], **options).history
    return model, weights.after, history


def test_all_weights_are_averaged_moving_statistics_too_by_a_decay_that_rises(trained):
    model, after, _ = trained
    expected = after[0]
    for t, weights in enumerate(after[1:], start=1):
        decay = min(DECAY, (1 + t) / (10 + t))
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, weights, strict=True)]
    own = model.model.get_weights()
    with model.average.applied():
        names = [weight.path for weight in model.model.weights]
        for name, weight, other in zip(names, model.model.get_weights(), expected, strict=True):
            np.testing.assert_allclose(weight, other, rtol=1e-5, atol=1e-6, err_msg=name)
            assert np.any(weight != own[names.index(name)])
        assert any("moving_variance" in name for name in names)


def test_behind_the_scope_the_weights_are_what_they_were_to_the_last_bit(trained):
    model, after, _ = trained
    with pytest.raises(KeyError), averaged(model), model.average.applied():
        raise KeyError
    for weight, other in zip(model.model.get_weights(), after[-1], strict=True):
        np.testing.assert_array_equal(weight, other)


def test_validation_and_what_is_saved_are_of_the_average_and_the_training_is_not(trained, tmp_path):
    model, _, history = trained
    model.save(tmp_path / "model.keras")
    loaded = compiled(models.load(tmp_path / "model.keras"))
    assert type(loaded) is models.SpikingModel
    loss = loaded.evaluate(X, Y, batch_size=3, verbose=0)
    assert history["val_loss"][-1] == pytest.approx(loss, rel=1e-6)
    assert model.evaluate(X, Y, batch_size=3, verbose=0) == pytest.approx(loss, rel=1e-6)
    np.testing.assert_array_equal(model.predict(X, verbose=0), loaded.predict(X, verbose=0))
    own = compiled(model.model).evaluate(X, Y, batch_size=3, verbose=0)
    assert abs(own - loss) > 1e-3
    assert model.count_params() == loaded.count_params()
    plain = compiled(DefendedModel(network()))
    losses = plain.fit(X, Y, epochs=2, batch_size=3, shuffle=False, verbose=0).history["loss"]
    assert history["loss"] == losses


def test_inside_the_scope_nothing_is_trained_or_saved_that_would_be_lost(trained, tmp_path):
    model, *_ = trained
    with model.average.applied():
        with pytest.raises(ValueError, match="`fit` must be called outside of `average.applied"):
            model.fit(X, Y, verbose=0)
        with pytest.raises(ValueError, match="`save_weights` must be called outside"):
            model.save_weights(tmp_path / "a.weights.h5")
    assert not list(tmp_path.iterdir())


def test_before_the_first_step_the_model_is_what_it_is():
    model = DefendedModel(network(), average=WeightAverage())
    model.model.set_weights([weight + 1 for weight in model.model.get_weights()])
    before = model.model.get_weights()
    with averaged(model):
        for weight, other in zip(model.model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, other)
    with averaged(model.model):  # keeps no average
        pass


def test_what_cannot_be_averaged_is_refused():
    for decay in (0, 1, 1.5, "0.9"):
        with pytest.raises(ValueError, match=f"`decay` must be.*{decay}"):
            WeightAverage(decay)
    with pytest.raises(ValueError, match="`average` must be None or a `WeightAverage`.*0.9"):
        DefendedModel(network(), average=0.9)
    with pytest.raises(ValueError, match="`model` must be built where its weights are averaged"):
        DefendedModel(keras.Sequential([keras.layers.Dense(2)]), average=WeightAverage())
    average = WeightAverage()
    DefendedModel(network(), average=average)
    with pytest.raises(ValueError, match="belongs to one model"):
        DefendedModel(network(), average=average)


# Rates and labels ---------------------------------------------------------------------------------


def rates(*arguments, **options):
    rate = fitting.learning_rate(*arguments, **options)
    return [float(rate(step)) for step in range(11)]


def test_rates_are_piecewise_linear_or_a_cosine():
    steps = np.arange(11)
    triangle = np.interp(steps, [0, 5, 10], [0, 0.3, 0])
    np.testing.assert_allclose(rates(0.3, 10, "cyclic"), triangle, atol=1e-7)
    ramp = np.interp(steps, [0, 4], [0, 0.3])
    np.testing.assert_allclose(rates(0.3, 10, "constant", 4), ramp, atol=1e-7)
    cosine = np.where(steps < 4, ramp, 0.15 * (1 + np.cos(np.pi * (steps - 4) / 6)))
    np.testing.assert_allclose(rates(0.3, 10, "cosine", 4), cosine, atol=1e-7)
    assert fitting.learning_rate(0.3, 10, "constant") == 0.3
    plain = keras.optimizers.schedules.CosineDecay(0.3, 10)
    assert fitting.learning_rate(0.3, 10).get_config() == plain.get_config()
    assert rates(0.3, 10, "cosine", 10)[9] == pytest.approx(0.27)


def test_a_rate_is_saved_by_its_configuration():
    schedule = fitting.Cyclic(0.3, 10)
    saved = keras.optimizers.schedules.serialize(schedule)
    assert keras.optimizers.schedules.deserialize(saved).get_config() == schedule.get_config()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0.1, 10, "linear"), "`schedule` must be one of 'cosine', 'cyclic', 'constant'"),
        ((0.1, 10, "cyclic", 2), "`warmup_steps` must be 0 with schedule='cyclic'"),
        ((0.1, 10, "cosine", 11), "`warmup_steps` must be.*11"),
        ((0.0, 10), "`peak` must be.*0"),
        ((0.1, 0), "`steps` must be.*0"),
    ],
)
def test_a_rate_that_cannot_be_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        fitting.learning_rate(*arguments)


def test_smoothed_labels_are_a_mixture_with_the_uniform_distribution():
    logits = np.random.default_rng(1).normal(size=(4, 5))
    y = np.array([0, 4, 2, 2])
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -(0.8 * log_p[np.arange(4), y] + 0.2 * log_p.mean(1)).mean()
    for labels in (y, y[:, None]):
        loss = fitting.SmoothedCrossEntropy(0.2)(labels, logits)
        assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert fitting.SmoothedCrossEntropy.from_config(
        fitting.SmoothedCrossEntropy(0.2).get_config()
    ).smoothing == pytest.approx(0.2)
