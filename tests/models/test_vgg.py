"""VGG11: its layers, its first convolution computed once, its loss, its files."""

import zipfile

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_mpdsgr import LIFLayer, TDBatchNormalization, dynamics, layers, models, surrogates
from keras_mpdsgr.models import vgg

# The layer list of SNN-RAT's VGG11: channels of the convolutions, a pool where they say so.
PLAN = [64, "pool", 128, 256, "pool", 512, 512, 512, "pool", 512, 512]


@pytest.fixture
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def images(shape=(4, 8, 8, 3), seed=0):
    return np.random.default_rng(seed).uniform(0, 1, shape).astype("float32")


def small(**options):
    return models.vgg11((8, 8, 3), 4, **{"timesteps": 2, "width": 0.05, **options})


def tiny(**options):
    """Two convolutions of 8 channels and two hidden layers of 8: quick to train."""
    plan = (4000, "pool", 4000)
    return vgg._vgg(plan, (8, 8, 3), 2, 2, 0.002, None, None, "tiny", **options)


def described(layer):
    inner = layer.layer if isinstance(layer, layers.FoldTime) else layer
    return {
        keras.layers.Conv2D: lambda: f"conv{inner.filters}",
        keras.layers.Dense: lambda: f"dense{inner.units}",
        keras.layers.AveragePooling2D: lambda: "pool",
        keras.layers.Flatten: lambda: "flatten",
        TDBatchNormalization: lambda: "tdbn",
        LIFLayer: lambda: "lif",
    }.get(type(inner), lambda: None)()


# Structure ----------------------------------------------------------------------------------------


def test_convolutions_are_3x3_padded_and_without_bias():
    inner = [getattr(layer, "layer", layer) for layer in small().layers]
    convolutions = [layer for layer in inner if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 8
    for layer in convolutions:
        assert layer.kernel_size == (3, 3) and layer.strides == (1, 1)
        assert layer.padding == "same" and not layer.use_bias


def test_the_neurons_are_those_asked_for():
    model = small(surrogate="arctan", gamma=2.0, tau=0.9, eta=0.5, reset="soft", detach_reset=True)
    neurons = [layer for layer in model.layers if isinstance(layer, LIFLayer)]
    assert len(neurons) == 10
    for layer in neurons:
        assert layer.surrogate == surrogates.get("arctan", gamma=2.0)
        assert (layer.tau, layer.reset, layer.detach_reset) == (0.9, "soft", True)
        assert layer.eta == pytest.approx(0.05)


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 13, 1), (9, 8, 2)])
def test_small_images_leave_no_empty_feature_maps(shape):
    model = models.vgg11(shape, 4, timesteps=1, width=0.02)
    assert all(min(layer.output.shape[1:]) >= 1 for layer in model.layers)
    assert model(np.zeros((1, *shape), "float32")).shape == (1, 4)
    assert model.notes == ()


def test_pools_that_do_not_fit_are_left_out_and_the_summary_says_so(tmp_path, capsys):
    model = models.vgg16((8, 8, 3), 4, timesteps=1, width=0.02)
    model.save(tmp_path / "deep.keras")
    for one in (model, models.load(tmp_path / "deep.keras")):
        assert [described(layer) for layer in one.layers].count("pool") == 3
        one.summary()
        notes = [line for line in capsys.readouterr().out.splitlines() if "Note" in line]
        assert len(notes) == 2
        assert "pool4 is left out" in notes[0] and "pool5 is left out" in notes[1]


@pytest.mark.parametrize(
    "channels, options, mean, std",
    [
        (3, {}, [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]),
        (1, {}, [0.5], [0.25]),
        (2, {"mean": (0.1, 0.2), "std": (0.3, 0.4)}, [0.1, 0.2], [0.3, 0.4]),
    ],
)
def test_pixels_are_normalised_inside_the_model(channels, options, mean, std):
    model = models.vgg11((8, 8, channels), 4, timesteps=1, width=0.02, **options)
    x = images((2, 8, 8, channels))
    normalised = keras.Model(model.input, model.get_layer("pixels").output)(x)
    np.testing.assert_allclose(normalised, (x - mean) / std, rtol=1e-5, atol=1e-5)


def test_convolutions_start_he_normal_over_their_fan_out():
    model = models.vgg11((8, 8, 3), 4, timesteps=1, width=0.25)
    kernels = [w for w in model.trainable_weights if len(w.shape) == 4]
    assert len(kernels) == 8
    for kernel in kernels:
        standardised = kernel.numpy().ravel() / np.sqrt(2 / (9 * kernel.shape[-1]))
        assert standardised.std() == pytest.approx(1.0, rel=4 / np.sqrt(2 * kernel.numpy().size))
        assert scipy.stats.kstest(standardised, "norm").pvalue > 1e-4


# Function -----------------------------------------------------------------------------------------


def repeated_by_hand(model, timesteps, width):
    """VGG11 with the image repeated first, so that conv and tdBN run at every time step."""
    x = inputs = keras.Input((8, 8, 3))
    pixels = model.get_layer("pixels")
    x = layers.DirectEncoder(timesteps)(type(pixels).from_config(pixels.get_config())(x))
    for step in PLAN:
        if step == "pool":
            x = layers.FoldTime(keras.layers.AveragePooling2D(2))(x)
            continue
        filters = max(1, round(step * width))
        x = layers.FoldTime(keras.layers.Conv2D(filters, 3, padding="same", use_bias=False))(x)
        x = LIFLayer(tau=0.9)(TDBatchNormalization()(x))
    x = layers.FoldTime(keras.layers.Flatten())(x)
    for _ in range(2):
        x = layers.FoldTime(keras.layers.Dense(max(1, round(4096 * width))))(x)
        x = LIFLayer(tau=0.9)(x)
    x = layers.FoldTime(keras.layers.Dense(4))(x)
    repeated = keras.Model(inputs, layers.TemporalMean()(x))
    repeated.set_weights(model.get_weights())
    return repeated


def potentials(model, x, training):
    with dynamics.capture_potentials() as captured:
        outputs = model(x, training=training)
    return outputs, [layer.membranes.numpy() for layer in captured]


def test_the_first_convolution_once_is_the_convolution_of_the_repeated_sequence(float64):
    model = small(timesteps=3, tau=0.9)
    repeated = repeated_by_hand(model, timesteps=3, width=0.05)
    x = images()
    for training in (True, False):
        actual, membranes = potentials(model, x, training)
        expected, wanted = potentials(repeated, x, training)
        assert len(membranes) == len(wanted) == 10
        for one, other in zip(membranes, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
        # The second round also compares the running averages that the first one moved.
        for one, other in zip(model.get_weights(), repeated.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8)


def omega_by_hand(layer, half_width):
    """Eq. 13, 16: mean over time and channels of the share of v = u - v_th in the window."""
    v = layer.membranes.numpy().astype("float64") - layer.neuron.v_threshold
    axes = (0, *range(2, v.ndim - 1))
    density = scipy.stats.norm(v.mean(axes), np.sqrt(v.var(axes) + 1e-12))
    return (density.cdf(half_width) - density.cdf(-half_width)).mean()


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_the_added_loss_is_eta_times_the_mean_over_layers_channels_and_time(float64, gamma):
    model = small(eta=0.7, gamma=gamma)
    with dynamics.capture_potentials() as captured:
        model(images(), training=True)
    assert len(captured) == len(model.losses) == 10
    expected = 0.7 * np.mean([omega_by_hand(layer, gamma) for layer in captured])
    # 1e-5: a channel that is nearly dead feels the floor under its variance.
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_inference_and_eta_zero_add_no_loss():
    model = small(eta=0.7)
    model(images(), training=False)
    assert model.losses == []
    model = small(eta=0.0)
    model(images(), training=True)
    assert model.losses == []


def test_logits_are_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small()
    finally:
        keras.config.set_dtype_policy("float32")
    assert model(images()).dtype == "float32"
    assert model.get_layer("conv2_lif").compute_dtype == "float16"


def test_the_readout_is_averaged_over_time():
    model = small(timesteps=4)
    readout = keras.Model(model.input, model.get_layer("readout_time").output)
    x = images()
    assert readout(x).shape == (4, 4, 4)
    np.testing.assert_allclose(model(x), np.mean(readout(x), axis=1), rtol=1e-5, atol=1e-6)


def test_fit_shows_the_networks_mean_of_omega_and_firing_rate():
    model, x, y = tiny(eta=0.4), images((6, 8, 8, 3)), np.arange(6) % 2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=loss, metrics=["accuracy"])
    with dynamics.capture_potentials() as captured:
        logits = model(x, training=True)
    history = model.fit(x, y, batch_size=6, validation_data=(x, y), verbose=0).history
    omega = np.mean([omega_by_hand(layer, 1.0) for layer in captured])
    rate = np.mean([layer.spikes.numpy().mean() for layer in captured])
    assert len(captured) == 4
    assert history["omega"][0] == pytest.approx(omega, rel=1e-4)
    assert history["firing_rate"][0] == pytest.approx(rate, rel=1e-4)
    assert history["loss"][0] == pytest.approx(float(loss(y, logits)) + 0.4 * omega, rel=1e-4)
    assert {"val_omega", "val_firing_rate"}.isdisjoint(history)
    assert set(model.evaluate(x, y, verbose=0, return_dict=True)) == {"loss", "accuracy"}


# Files --------------------------------------------------------------------------------------------


def test_a_saved_model_loads_as_the_same_model(tmp_path):
    model = small(eta=0.3, surrogate="sigmoid", gamma=0.5, tau=0.9, omega_form="analytic")
    x = images()
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = models.load(tmp_path / "model.keras")
    assert isinstance(loaded, models.SpikingModel)
    np.testing.assert_array_equal(loaded(x), model(x))
    np.testing.assert_array_equal(loaded(x, training=True), model(x, training=True))
    assert len(loaded.losses) == 10
    np.testing.assert_array_equal(loaded.losses, model.losses)


def test_a_path_may_be_a_string(tmp_path):
    tiny().save(tmp_path / "model.keras")
    assert models.load(str(tmp_path / "model.keras")).name == "tiny"


def test_a_missing_model_is_said_with_its_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model at .*absent.keras"):
        models.load(tmp_path / "absent.keras")


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model at"):
        models.load(tmp_path)


def test_a_file_of_garbage_is_refused(tmp_path):
    path = tmp_path / "garbage.keras"
    path.write_bytes(b"garbage" * 100)
    with pytest.raises(ValueError, match="garbage.keras is not a .keras model"):
        models.load(path)


def test_a_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    tiny().save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="model.keras is not a .keras model"):
        models.load(path)


def test_another_zip_file_is_refused(tmp_path):
    path = tmp_path / "other.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no model here")
    with pytest.raises(ValueError, match="other.keras"):
        models.load(path)


def test_a_model_with_code_in_it_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="[Ll]ambda"):
        models.load(tmp_path / "model.keras")


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg12", "", None, 11])
def test_an_unknown_name_is_refused_with_the_names_there_are(name):
    with pytest.raises(ValueError, match=f"`model` must be one of .*vgg11.*Received: {name!r}"):
        models.get(name)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"input_shape": (32, 32)}, "`input_shape`.*(32, 32)"),
        ({"input_shape": (4, 8, 3)}, "`input_shape`.*at least 8"),
        ({"input_shape": (None, None, 3)}, "`input_shape`.*None"),
        ({"input_shape": (8, 8, 0)}, "`input_shape`.*0"),
        ({"input_shape": 32}, "`input_shape`.*32"),
        ({"num_classes": 0}, "`num_classes`.*0"),
        ({"num_classes": 10.0}, "`num_classes`.*10.0"),
        ({"timesteps": 0}, "`timesteps`.*0"),
        ({"timesteps": 2.5}, "`timesteps`.*2.5"),
        ({"width": 0}, "`width`.*0"),
        ({"width": -1.0}, "`width`.*-1.0"),
        ({"width": float("nan")}, "`width`.*nan"),
        ({"coding": "morse"}, "`coding`.*'direct'.*'morse'"),
        ({"eta": -0.1}, "`eta`.*-0.1"),
        ({"tau": 1.5}, "`tau`.*1.5"),
        ({"gamma": 0.0}, "`gamma`.*0.0"),
        ({"surrogate": "boxcar"}, "triangle.*'boxcar'"),
        ({"reset": "both"}, "`reset`.*'both'"),
        ({"omega_form": "exact"}, "`omega_form`.*'exact'"),
        ({"mean": (0.5,)}, "`mean` and `std` must hold 3 values"),
        ({"mean": 0.5}, "`mean` and `std` must hold 3 values"),
        ({"std": (0.5, 0.5, 0.0)}, "`mean` and `std`.*positive"),
    ],
    ids=str,
)
def test_an_argument_out_of_its_range_is_refused_by_name_and_value(arguments, words):
    with pytest.raises(ValueError, match=words):
        models.vgg11(**{"input_shape": (8, 8, 3), "num_classes": 4, "width": 0.02, **arguments})


def test_gradients_reach_every_trained_variable(float64):
    model = small(timesteps=3)
    for name in ("dense1", "dense2"):  # else hardly any of so few neurons fires at the start
        kernel = model.get_layer(name).layer.kernel
        kernel.assign(4.0 * kernel)
    with tf.GradientTape() as tape:
        logits = model(images(), training=True)
        loss = tf.reduce_sum(logits * tf.constant(images((4, 4))))
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert np.isfinite(gradient).all() and np.any(gradient.numpy() != 0)
