"""LIFLayer as a Keras layer, and the Omega that it adds to the loss."""

import json
import warnings

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_mpdsgr import LIFLayer, dynamics, layers, models, surrogates

SHAPES = {"dense": (6, 4, 5), "images": (3, 4, 4, 4, 2)}


def normal(shape, seed=0, mean=0.4, std=0.8, dtype="float32"):
    return np.random.default_rng(seed).normal(mean, std, shape).astype(dtype)


# Configuration ------------------------------------------------------------------------------------

CONFIGURATIONS = [
    {},
    {"tau": 0.5, "v_threshold": 0.7, "reset": "soft", "detach_reset": True},
    {"surrogate": "arctan", "gamma": 2.0, "eta": 0.3, "omega_form": "analytic", "half_width": 0.4},
    {"surrogate": surrogates.get("sigmoid", gamma=0.5, sharpness=3.0), "track_omega": True},
    {"omega_form": "scale_free", "eta": 1.0, "name": "neurons", "dtype": "mixed_float16"},
    {"learn_tau": "time", "learn_gamma": True, "constant_input": True, "tau": 0.8},
]


@pytest.mark.parametrize("arguments", CONFIGURATIONS)
def test_a_layer_made_from_its_config_is_the_same_layer(arguments):
    layer = LIFLayer(**arguments)
    config = json.loads(json.dumps(layer.get_config()))
    again = LIFLayer.from_config(config)
    for name in set(arguments) - {"surrogate", "gamma", "dtype"}:
        assert getattr(again, name) == arguments[name]
    surrogate = arguments.get("surrogate", "triangle")
    if isinstance(surrogate, str):
        surrogate = surrogates.get(surrogate, gamma=arguments.get("gamma", 1.0))
    assert again.surrogate == surrogate
    assert again.dtype_policy.name == arguments.get("dtype", "float32")
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("shape", [(6, 4, 5), (None, 4, 5), (None, 3, 8, 6, 2)])
def test_the_output_has_the_inputs_shape(shape):
    assert LIFLayer().compute_output_shape(shape) == shape
    assert LIFLayer()(keras.Input(batch_shape=shape)).shape == shape


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_float16", "mixed_bfloat16"])
def test_spikes_come_in_the_policys_compute_dtype(policy):
    spikes = LIFLayer(dtype=policy)(normal((2, 3, 4)))
    assert spikes.dtype.name == policy.removeprefix("mixed_")


def test_the_membrane_is_kept_in_float32_under_mixed_precision():
    # 2^-12 is lost when added to 1/2 in float16: the sum would stay below the threshold.
    current = np.array([0.5] + 8 * [2.0**-12], "float32")[None, :, None]
    spikes = LIFLayer(v_threshold=0.501, dtype="mixed_float16")(current)
    assert spikes[0, :, 0].numpy().tolist() == [0] * 5 + [1] + [0] * 3


def test_float64_neurons_tell_potentials_apart_that_float32_does_not():
    current = np.array([[[1.0 - 1e-12]]])
    assert float(LIFLayer(dtype="float64")(current)[0, 0, 0]) == 0.0
    assert float(LIFLayer(dtype="float32")(current)[0, 0, 0]) == 1.0


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_float16"])
def test_a_saved_model_loads_in_safe_mode_and_gives_the_same_outputs(tmp_path, policy):
    model = keras.Sequential(
        [
            keras.Input((4, 5)),
            layers.FoldTime(keras.layers.Dense(6, dtype=policy), dtype=policy),
            LIFLayer(tau=0.9, reset="soft", eta=0.2, surrogate="arctan", gamma=0.5, dtype=policy),
            layers.TemporalMean(dtype=policy),
        ]
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = normal((6, 4, 5), std=2.0)
    expected = model(x, training=True)
    assert 0 < np.mean(expected) < 1
    np.testing.assert_array_equal(loaded(x, training=True), expected)
    np.testing.assert_array_equal(loaded.losses, model.losses)
    assert loaded.layers[1].dtype_policy.name == policy


# In models ----------------------------------------------------------------------------------------


class Subclassed(keras.Model):
    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def call(self, x, training=None):  # with `training`, Keras hands it on to the layers
        for part in self.parts:
            x = part(x)
        return x


def build(kind, shape, **arguments):
    feature = keras.layers.Conv2D(3, 3) if len(shape) == 5 else keras.layers.Dense(6)
    parts = [
        layers.FoldTime(feature),
        LIFLayer(**arguments),
        layers.TemporalMean(),
        keras.layers.Flatten(),
        keras.layers.Dense(2),
    ]
    if kind == "sequential":
        return keras.Sequential(parts)
    if kind == "subclassed":
        return Subclassed(*parts)
    x = inputs = keras.Input(shape[1:])
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def compiled(model, **options):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss=loss, metrics=["accuracy"], **options)
    return model


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", ["sequential", "functional", "subclassed"])
def test_a_users_model_trains_by_plain_fit_and_shows_omega_and_firing_rate(kind, shape):
    x, y = normal(shape, std=2.0), np.arange(shape[0]) % 2
    model = compiled(build(kind, shape, track_omega=True))
    history = model.fit(x, y, epochs=8, batch_size=3, validation_data=(x, y), verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    for name in ("omega", "firing_rate"):
        assert len(history[name]) == 8 and all(0 < value < 1 for value in history[name])
        assert f"val_{name}" not in history
    # In batches of the same size, for which nothing is traced anew.
    shown = model.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)
    assert set(shown) == {"loss", "accuracy"}
    assert "omega" in model.fit(x, y, batch_size=3, verbose=0).history


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_the_figures_of_fit_are_those_of_the_training_pass(options):
    x, y = normal(SHAPES["dense"], std=2.0), np.arange(6) % 2
    model = compiled(build("functional", x.shape, track_omega=True), **options)
    model.optimizer.learning_rate = 0.0
    history = model.fit(x, y, epochs=1, batch_size=6, verbose=0).history
    with dynamics.capture_potentials() as captured:
        model(x)
    layer = captured[0]
    assert history["firing_rate"][0] == pytest.approx(layer.spikes.numpy().mean(), rel=1e-5)
    assert history["omega"][0] == pytest.approx(omega_by_hand("batch", layer, 1.0), rel=1e-4)
    assert set(model.evaluate(x, y, verbose=0, return_dict=True)) == {"loss", "accuracy"}


def test_omega_is_not_shown_where_it_is_not_computed():
    x, y = normal(SHAPES["dense"]), np.arange(6) % 2
    model = compiled(build("functional", x.shape))
    assert set(model.fit(x, y, verbose=0).history) == {"loss", "accuracy", "firing_rate"}


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbolic", [False, True], ids=["eager", "symbolic"])
@pytest.mark.parametrize("shape", [(4, 5), (4,)])
def test_an_input_without_a_time_axis_is_refused(shape, symbolic):
    x = keras.Input(batch_shape=shape) if symbolic else np.zeros(shape, "float32")
    with pytest.raises(ValueError, match="LIFLayer takes sequences of at least 3 axes"):
        LIFLayer()(x)


def test_an_unknown_number_of_time_steps_is_refused():
    with pytest.raises(ValueError, match=r"time axis must be static.*\(None, None, 5\)"):
        LIFLayer()(keras.Input((None, 5)))


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
@pytest.mark.parametrize("symbolic", [False, True], ids=["eager", "symbolic"])
def test_an_input_that_is_not_floating_point_is_refused(dtype, symbolic):
    x = keras.Input((4, 5), dtype=dtype) if symbolic else np.zeros((2, 4, 5), dtype)
    with pytest.raises(ValueError, match=f"must be floating point. Received: dtype={dtype}"):
        LIFLayer()(x)


BAD_ARGUMENTS = [
    ({"tau": -0.1}, "`tau`.*-0.1"),
    ({"tau": 1.1}, "`tau`.*1.1"),
    ({"tau": float("nan")}, "`tau`.*nan"),
    ({"tau": "0.5"}, "`tau`.*'0.5'"),
    ({"tau": None}, "`tau`.*None"),
    ({"tau": True}, "`tau`.*True"),
    ({"v_threshold": 0}, "`v_threshold`.*0"),
    ({"v_threshold": -1.0}, "`v_threshold`.*-1.0"),
    ({"v_threshold": float("inf")}, "`v_threshold`.*inf"),
    ({"reset": "none"}, "`reset`.*'hard', 'soft'.*'none'"),
    ({"reset": None}, "`reset`.*None"),
    ({"surrogate": "boxcar"}, "triangle.*'boxcar'"),
    ({"surrogate": 3}, "triangle.*3"),
    ({"surrogate": None}, "triangle.*None"),
    ({"gamma": 0.0}, "`gamma`.*0.0"),
    ({"gamma": -1}, "`gamma`.*-1"),
    ({"gamma": "wide"}, "`gamma`.*'wide'"),
    ({"surrogate": surrogates.get("triangle"), "gamma": 2.0}, "gamma.*2.0"),
    ({"eta": -0.5}, "`eta`.*-0.5"),
    ({"eta": float("inf")}, "`eta`.*inf"),
    ({"eta": None}, "`eta`.*None"),
    ({"omega_form": "exact"}, "`omega_form`.*'analytic'.*'exact'"),
    ({"half_width": 0}, "`half_width`.*0"),
    ({"half_width": -2.0}, "`half_width`.*-2.0"),
    ({"half_width": "wide"}, "`half_width`.*'wide'"),
]


@pytest.mark.parametrize("arguments, words", BAD_ARGUMENTS, ids=lambda value: str(value))
def test_an_argument_out_of_its_range_is_refused_by_name_and_value(arguments, words):
    with pytest.raises(ValueError, match=words):
        LIFLayer(**arguments)


def test_a_setting_out_of_its_range_is_refused_after_the_making_too():
    layer = LIFLayer()
    for arguments, words in BAD_ARGUMENTS:
        ((name, value), *others) = arguments.items()
        if not others and name != "gamma":
            with pytest.raises(ValueError, match=words):
                setattr(layer, name, value)
    assert layer.get_config() == {**LIFLayer().get_config(), "name": layer.name}


def test_what_is_fixed_once_a_layer_is_built_is_refused_then():
    layer = LIFLayer(learn_tau="layer")
    layer.stateful, layer.tau = False, 0.5
    layer(tf.zeros((1, 2, 3)))
    assert float(layer.leak) == 0.5
    for name, value in [("stateful", True), ("learn_tau", None), ("learn_gamma", True)]:
        with pytest.raises(ValueError, match=f"^`{name}` of a LIFLayer is fixed once it is built"):
            setattr(layer, name, value)
    with pytest.raises(ValueError, match="^`tau` is learned by .*`layer.leak`. Received: tau=0.9"):
        layer.tau = 0.9


# Omega --------------------------------------------------------------------------------------------


def share_inside(mean, std, half_width):
    density = scipy.stats.norm(mean, std)
    return density.cdf(half_width) - density.cdf(-half_width)


def membrane_moments_by_hand(mean, variance, tau, timesteps, reset, v_threshold):
    """Theorem 1 with the reset in it: the moments of u(t) from those of the current."""
    means, stds = [], []
    u_mean, u_variance = mean, variance
    for _ in range(timesteps):
        means.append(u_mean)
        stds.append(np.sqrt(u_variance))
        first, second = np.empty_like(u_mean), np.empty_like(u_mean)
        for channel, (m, s) in enumerate(zip(means[-1], stds[-1], strict=True)):
            normal = scipy.stats.norm(m, s)
            below = {"lb": m - 12 * s, "ub": v_threshold}
            above = {"lb": v_threshold, "ub": m + 12 * s}
            first[channel] = normal.expect(lambda u: u, **below)
            second[channel] = normal.expect(lambda u: u**2, **below)
            if reset == "soft":
                first[channel] += normal.expect(lambda u: u - v_threshold, **above)
                second[channel] += normal.expect(lambda u: (u - v_threshold) ** 2, **above)
        u_mean = tau * first + mean
        u_variance = tau**2 * (second - first**2) + variance
    return np.array(means), np.array(stds)


def omega_by_hand(form, layer, half_width):
    """Mean over time and channels of Omega (paper, Eq. 13 and 16) from captured potentials."""
    v_threshold = layer.neuron.v_threshold
    if form == "analytic":
        currents = layer.currents.numpy().astype("float64")
        axes = tuple(range(currents.ndim - 1))
        mean, std = membrane_moments_by_hand(
            currents.mean(axes),
            currents.var(axes),
            layer.tau,
            currents.shape[1],
            layer.neuron.reset,
            v_threshold,
        )
        return share_inside(mean - v_threshold, std, half_width).mean()
    v = layer.membranes.numpy().astype("float64") - v_threshold
    axes = (0, *range(2, v.ndim - 1))
    mean, std = v.mean(axes), v.std(axes)
    if form == "scale_free":
        return share_inside(mean / std, 1.0, half_width).mean()
    return share_inside(mean, std, half_width).mean()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("form", ["batch", "analytic", "scale_free"])
def test_the_added_loss_is_eta_times_the_mean_share_inside_the_window(form, reset, shape):
    layer = LIFLayer(
        tau=0.9, v_threshold=0.8, reset=reset, gamma=0.6, eta=0.3, omega_form=form, dtype="float64"
    )
    with dynamics.capture_potentials() as captured:
        layer(normal(shape, dtype="float64"), training=True)
    (loss,) = layer.losses
    expected = 0.3 * omega_by_hand(form, captured[0], 0.6)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "arguments, half_width",
    [
        ({"half_width": 0.25}, 0.25),
        ({"surrogate": "rectangular", "gamma": 0.4}, 0.4),
        ({"surrogate": surrogates.get("arctan", half_width=2.0)}, 2.0),
    ],
    ids=["argument", "support", "surrogate's own"],
)
def test_the_window_is_the_surrogates_unless_another_is_given(arguments, half_width):
    layer = LIFLayer(eta=1.0, **arguments)
    with dynamics.capture_potentials() as captured:
        layer(normal(SHAPES["images"]), training=True)
    expected = omega_by_hand("batch", captured[0], half_width)
    assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("form", ["batch", "analytic", "scale_free"])
def test_omegas_gradient_is_the_change_of_the_loss(form):
    layer = LIFLayer(tau=0.9, detach_reset=True, eta=1.0, omega_form=form, dtype="float64")
    x = tf.constant(normal(SHAPES["dense"], dtype="float64"))
    direction = tf.constant(normal(SHAPES["dense"], seed=1, mean=0.0, dtype="float64"))

    def loss(x):
        layer(x, training=True)
        return layer.losses[0]

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x)
    slope = float(tf.reduce_sum(tape.gradient(value, x) * direction))
    # No spike changes over so small a step, so that Omega is smooth between the two ends.
    ends = [float(loss(x + step * direction)) for step in (1e-6, -1e-6)]
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)


# Learned leak and width ---------------------------------------------------------------------------


@pytest.mark.parametrize("learn_tau, shape", [("layer", ()), ("time", (4,))])
def test_a_learned_leak_starts_at_tau_and_stays_in_the_unit_interval(learn_tau, shape):
    layer = LIFLayer(tau=0.9, learn_tau=learn_tau)
    x = normal(SHAPES["dense"])
    np.testing.assert_array_equal(layer(x), LIFLayer(tau=0.9)(x))
    assert layer.leak.shape == shape
    for rate, end in ((-1e3, 1.0), (1e3, 0.0)):
        keras.optimizers.SGD(rate).apply([tf.ones(shape)], [layer.leak])
        np.testing.assert_array_equal(layer.leak, np.full(shape, end))


def test_a_learned_width_starts_at_gamma_and_stays_positive():
    layer = LIFLayer(gamma=0.4, learn_gamma=True)
    x = tf.constant(normal(SHAPES["dense"]))
    fixed = LIFLayer(gamma=0.4)
    gradients = []
    for one in (layer, fixed):
        with tf.GradientTape() as tape:
            tape.watch(x)
            spikes = one(x)
        gradients.append(tape.gradient(spikes, x))
    np.testing.assert_allclose(*gradients, rtol=1e-5)
    keras.optimizers.SGD(5.0).apply([tf.ones(())], [layer.log_gamma])
    assert 0 < np.exp(layer.log_gamma) < 0.4


def test_weight_decay_is_told_to_leave_leak_and_width_alone():
    layer = LIFLayer(learn_tau="layer", learn_gamma=True)
    layer.build((None, 4, 3))
    assert [weight.name for weight in layer.undecayed] == ["tau", "log_gamma"]
    assert LIFLayer().undecayed == []


@pytest.mark.parametrize("form", ["batch", "analytic", "scale_free"])
def test_omega_follows_a_learned_width_but_its_window_gives_it_no_gradient(form):
    # Detached, as the reset would hand Omega's gradient on to the spikes' own width.
    options = {"eta": 1.0, "omega_form": form, "detach_reset": True}
    layer = LIFLayer(gamma=0.4, learn_gamma=True, learn_tau="layer", **options)
    x = tf.constant(normal(SHAPES["dense"]))
    layer(x)
    layer.log_gamma.assign(np.log(0.9))
    with tf.GradientTape() as tape:
        layer(x, training=True)
        (loss,) = layer.losses
    wider = LIFLayer(gamma=0.9, eta=1.0, omega_form=form)
    wider(x, training=True)
    assert float(loss) == pytest.approx(float(wider.losses[0]), rel=1e-5)
    to_gamma, to_tau = tape.gradient(loss, [layer.log_gamma.value, layer.leak.value])
    assert float(to_gamma or 0.0) == 0.0
    assert float(to_tau) != 0.0


def test_leak_and_width_are_learned_by_plain_fit_saved_and_loaded(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((4, 6)),
            layers.FoldTime(keras.layers.Dense(8)),
            LIFLayer(surrogate="dspike", eta=0.1, learn_tau="time", learn_gamma=True),
            layers.FoldTime(keras.layers.Dense(3)),
            layers.TemporalMean(),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, jit_compile=True)
    x = normal((16, 4, 6))
    before = [np.array(weight) for weight in model.layers[1].trainable_weights]
    model.fit(x, np.arange(16) % 3, epochs=2, verbose=0)
    after = [np.array(weight) for weight in model.layers[1].trainable_weights]
    assert all(np.any(a != b) for a, b in zip(before, after, strict=True))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    np.testing.assert_array_equal(again(x), model(x))


def test_the_analytic_form_of_a_constant_current_is_that_of_theorem_one():
    # Without a leak and far below the threshold, u(t) is t times the current.
    x = np.repeat(normal((5000, 1, 1), mean=0.0, std=0.05, dtype="float64"), 4, axis=1)
    expected = {True: [0.05, 0.1, 0.15, 0.2], False: 0.05 * np.sqrt([1, 2, 3, 4])}
    for constant, stds in expected.items():
        layer = LIFLayer(
            eta=1.0, omega_form="analytic", half_width=0.7, constant_input=constant, dtype="float64"
        )
        layer(x, training=True)
        by_hand = share_inside(-1.0, np.array(stds), 0.7).mean()
        assert float(layer.losses[0]) == pytest.approx(by_hand, rel=0.15)


def test_there_is_no_loss_at_inference():
    layer = LIFLayer(eta=1.0)
    for training in (False, None):
        layer(normal((2, 3, 4)), training=training)
        assert layer.losses == []


def test_there_is_no_loss_with_eta_zero_even_where_omega_is_tracked():
    layer = LIFLayer(eta=0.0, track_omega=True)
    layer(normal((2, 3, 4)), training=True)
    assert layer.losses == []
    assert float(layer.omega_tracker.mean()) > 0


def test_the_warm_ups_factor_scales_the_loss():
    layer, x = LIFLayer(eta=1.0), normal((2, 3, 4))
    layer(x, training=True)
    (full,) = layer.losses
    layer.eta_factor.assign(0.25)
    layer(x, training=True)
    (quarter,) = layer.losses
    assert float(quarter) == pytest.approx(0.25 * float(full), rel=1e-6)


@pytest.mark.parametrize("form", ["batch", "analytic", "scale_free"])
@pytest.mark.parametrize("value", [0.0, -3.0, 1.0, 1e6])
def test_dead_and_huge_channels_give_finite_losses_and_gradients(form, value):
    layer = LIFLayer(eta=1.0, omega_form=form)
    x = tf.fill((4, 3, 2), value)
    with tf.GradientTape() as tape:
        tape.watch(x)
        spikes = layer(x, training=True)
        loss = tf.reduce_sum(spikes) + layer.losses[0]
    assert np.isfinite(loss)
    assert np.isfinite(tape.gradient(loss, x)).all()


# State --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_float16"])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_stream_cut_into_windows_spikes_as_one_window_does(reset, policy):
    x = normal((3, 12, 5), mean=0.2)
    options = {"tau": 0.9, "reset": reset, "dtype": policy}
    whole = LIFLayer(**options)(x).numpy()
    layer = LIFLayer(stateful=True, **options)
    windows = [layer(window).numpy() for window in np.split(x, 4, axis=1)]
    np.testing.assert_array_equal(np.concatenate(windows, axis=1), whole)
    apart = [LIFLayer(**options)(window).numpy() for window in np.split(x, 4, axis=1)]
    assert not np.array_equal(np.concatenate(apart, axis=1), whole)


def test_a_model_streams_by_predict_and_starts_anew_after_reset_state():
    inputs = keras.Input(batch_shape=(3, 4, 5))
    layer = LIFLayer(tau=0.9, stateful=True)
    model = keras.Model(inputs, layer(inputs))
    layer.reset_state()
    x = normal((3, 12, 5), mean=0.2)
    windows = np.split(x, 3, axis=1)
    whole = LIFLayer(tau=0.9)(x).numpy()
    for _ in range(2):
        streamed = [model.predict(window, batch_size=3, verbose=0) for window in windows]
        np.testing.assert_array_equal(np.concatenate(streamed, axis=1), whole)
        layer.reset_state()


def test_the_kept_membrane_is_no_weight_of_the_model():
    layer = LIFLayer(stateful=True)
    layer(normal((2, 3, 4)))
    assert layer.weights == []


def test_building_a_functional_model_leaves_the_state_at_rest():
    inputs = keras.Input(batch_shape=(1, 2, 1))
    model = keras.Model(inputs, LIFLayer(stateful=True)(inputs))
    assert model(np.array([[[0.6], [0.3]]], "float32"))[0, :, 0].numpy().tolist() == [0, 0]
    assert model(np.array([[[0.2], [0.0]]], "float32"))[0, :, 0].numpy().tolist() == [1, 0]


@pytest.mark.parametrize("shape", [(None, 4, 5), (2, 4, None, 3)])
def test_a_stateful_layer_without_static_shapes_is_refused(shape):
    with pytest.raises(ValueError, match="`stateful=True` needs a static batch size"):
        LIFLayer(stateful=True)(keras.Input(batch_shape=shape))


# Replicas -----------------------------------------------------------------------------------------

# Two CPUs must be configured before TensorFlow starts, hence a process of its own. One SGD step by
# `fit` on the batch of 8, and the gradient of Omega alone in a step written by hand.
REPLICAS = """
import json, sys
import keras, numpy as np, tensorflow as tf
from keras_mpdsgr import LIFLayer, layers

x = np.random.default_rng(0).normal(0.4, 0.8, (8, 3, 4)).astype("float32")
y = np.arange(8) % 2

def build(form):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3, 4))
    h = layers.FoldTime(keras.layers.Dense(5))(inputs)
    h = LIFLayer(tau=0.9, eta=2.0, omega_form=form, name="one")(h)
    h = layers.FoldTime(keras.layers.Dense(5))(h)
    h = LIFLayer(tau=0.9, eta=1.0, omega_form=form, name="two")(h)
    model = keras.Model(inputs, keras.layers.Dense(2)(layers.TemporalMean()(h)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=loss)
    return model

def fit(form, strategy):
    with strategy.scope():
        model = build(form)
    before = [w.copy() for w in model.get_weights()]
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    history = model.fit(data, verbose=0).history
    after = model.get_weights()
    steps = [(b - a).ravel().tolist() for a, b in zip(after, before)]
    return {"steps": sum(steps, []), **{name: values[0] for name, values in history.items()}}

def omega_gradient(form, strategy):
    with strategy.scope():
        layer = LIFLayer(tau=0.9, eta=1.0, omega_form=form)
        layer.build((None, 3, 4))
    replicas = strategy.num_replicas_in_sync
    halves = np.split(x, replicas)
    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(halves[context.replica_id_in_sync_group]))
    @tf.function
    def step(half):
        def replica(half):
            with tf.GradientTape() as tape:
                tape.watch(half)
                layer(half, training=True)
                # The replicas' shares of the loss are unequal, and sum to one.
                index = tf.distribute.get_replica_context().replica_id_in_sync_group
                loss = layer.losses[-1] * tf.gather([[1.0], [0.25, 0.75]][replicas - 1], index)
            return tape.gradient(loss, half)
        return strategy.run(replica, (half,))
    parts = strategy.experimental_local_results(step(values))
    return np.concatenate(parts).ravel().tolist()

one = tf.distribute.get_strategy()
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
report = {}
report["gradient"] = {
    form: [omega_gradient(form, strategy) for strategy in (one, two)]
    for form in ("batch", "analytic")
}
report["fit"] = [fit("batch", strategy) for strategy in (one, two)]
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def replicas(on_two_cpus):
    return on_two_cpus(REPLICAS)


@pytest.mark.parametrize("form", ["batch", "analytic"])
def test_omegas_gradient_on_two_replicas_is_that_of_the_whole_batch(replicas, form):
    one, two = replicas["gradient"][form]
    assert np.any(one)
    np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-7)


def test_a_step_of_fit_on_two_replicas_is_that_on_one_device(replicas):
    one, two = replicas["fit"]
    assert np.any(one["steps"])
    np.testing.assert_allclose(two["steps"], one["steps"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["loss", "omega", "firing_rate"])
def test_what_fit_reports_on_two_replicas_is_what_it_reports_on_one(replicas, name):
    one, two = replicas["fit"]
    assert two[name] == pytest.approx(one[name], rel=1e-5)


# Images in place of sequences --------------------------------------------------------------------


def warnings_of(shape):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        keras.Sequential([keras.Input(shape), LIFLayer(name="neurons")])
    return [str(w.message) for w in caught]


@pytest.mark.parametrize("shape", [(16, 16, 1), (9, 9, 64), (224, 224, 3)])
def test_a_batch_of_images_is_warned_of_once_in_one_line(shape):
    (line,) = warnings_of(shape)
    assert line.startswith(f"'neurons' takes axis 1 of its input {(None, *shape)} for {shape[0]}")
    assert "DirectEncoder" in line and "\n" not in line


@pytest.mark.parametrize(
    "shape",
    [
        (100, 700),  # events of a long window
        (10, 10),  # features
        (8, 8, 2),  # short enough for a window
        (100, 40, 1),  # a signal
        (4, 32, 32, 3),  # images in time
        (32, 32, 32, 3),
    ],
)
def test_sequences_are_not_warned_of(shape):
    assert warnings_of(shape) == []


def test_the_librarys_networks_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in models.names():
            for coding in ("direct", "poisson"):
                models.get(name)((16, 16, 3), 10, timesteps=16, width=0.02, coding=coding)
