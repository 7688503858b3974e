"""A streaming model reads a window in pieces as the trained model reads it whole."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, TDBatchNormalization, export, layers, models


def readout_by_step(model, x):
    """The read-out of each step of the window, before the mean over time."""
    (last,) = [layer for layer in model.layers if isinstance(layer, layers.TemporalMean)]
    return keras.Model(model.input, last.input)(x, training=False).numpy()


@pytest.mark.parametrize("chunk", [1, 2])
def test_a_window_cut_in_pieces_equals_the_whole(digits_model, digits, chunk):
    x = digits[:8]
    stream = export.streaming(digits_model, batch_size=8, timesteps=chunk)
    whole = readout_by_step(digits_model, x)
    for _ in range(2):
        pieces = [stream(x).numpy() for _ in range(4 // chunk)]
        np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-5)
        stream.reset_state()
    logits = digits_model(x, training=False).numpy()
    np.testing.assert_allclose(np.concatenate(pieces, axis=1).mean(axis=1), logits, atol=1e-5)


def test_without_resetting_a_second_window_goes_on_where_the_first_ended(digits_model, digits):
    x = digits[:8]
    stream = export.streaming(digits_model, batch_size=8, timesteps=4)
    first, second = (stream(x).numpy() for _ in range(2))
    assert not np.allclose(first, second)


def test_frames_of_a_film_reach_the_potential_one_by_one():
    inputs = keras.Input((1,))
    x = layers.DirectEncoder(3)(inputs)
    model = keras.Model(inputs, layers.TemporalMean()(LIFLayer(tau=0.5)(x)))
    stream = export.streaming(model)
    # u: 0.6; 0.3 + 0.8 = 1.1, fires; 0.9; 0.45 + 0.5 = 0.95; 0.475 + 0.6 = 1.075, fires.
    film = [0.6, 0.8, 0.9, 0.5, 0.6]
    fired = [stream.predict_on_batch(np.array([[frame]])).item() for frame in film]
    assert fired == [0, 1, 0, 0, 1]


def test_a_model_of_sequences_streams_sequences():
    x = np.random.default_rng(0).normal(0.3, 0.6, (2, 12, 5)).astype("float32")
    model = keras.Sequential(
        [keras.Input((12, 5)), layers.FoldTime(keras.layers.Dense(7)), LIFLayer(tau=0.9)]
    )
    stream = export.streaming(model, batch_size=2, timesteps=3)
    pieces = [stream.predict_on_batch(piece) for piece in np.split(x, 4, axis=1)]
    whole = model(x).numpy()
    assert 0 < whole.mean() < 1
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


def test_a_shared_layer_stays_shared_and_the_trained_model_is_left_alone():
    inputs = keras.Input((2, 3))
    dense = layers.FoldTime(keras.layers.Dense(3))
    model = keras.Model(inputs, dense(dense(inputs)) + inputs)
    x = np.ones((1, 2, 3), "float32")
    before = model(x).numpy()
    stream = export.streaming(model, timesteps=2)
    np.testing.assert_allclose(stream(x).numpy(), before, atol=1e-6)
    assert len(stream.weights) == 2
    stream.set_weights([np.zeros_like(w) for w in stream.get_weights()])
    np.testing.assert_array_equal(model(x).numpy(), before)


def test_a_streaming_model_is_the_same_after_saving_and_loading(tmp_path):
    model = keras.Sequential([keras.Input((1,)), layers.DirectEncoder(3), LIFLayer()])
    export.streaming(model).save(tmp_path / "stream.keras")
    loaded = models.load(tmp_path / "stream.keras")
    frame = np.full((1, 1), 0.4, "float32")
    for _ in range(2):
        assert [loaded(frame).numpy().item() for _ in range(4)] == [0, 0, 1, 0]
        loaded.reset_state()


def assert_pieces_equal_the_whole(model, x, chunk=1, **tolerance):
    stream = export.streaming(model, batch_size=len(x), timesteps=chunk)
    pieces = [stream(piece).numpy() for piece in np.split(x, x.shape[1] // chunk, axis=1)]
    whole = model(x, training=False).numpy()
    assert np.abs(whole).max() > 0.1
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, **{"atol": 1e-6, **tolerance})
    return stream


K = keras.layers
KINDS_THAT_STREAM = {
    "activations": lambda: [K.Activation("tanh"), K.LeakyReLU(), K.ELU(), K.ReLU(), K.Softmax()],
    "off in inference": lambda: [
        K.Dropout(0.5), K.GaussianNoise(0.5), K.GaussianDropout(0.5), K.SpatialDropout1D(0.5),
        K.AlphaDropout(0.5), K.Identity(), K.ActivityRegularization(0.1),
        layers.StochasticGate(), layers.FiringRatePenalty(0.1),
    ],
    "normalizations": lambda: [
        K.BatchNormalization(), K.LayerNormalization(), K.Rescaling(2.0, 0.1),
        K.Normalization(mean=[0.1] * 8, variance=[2.0] * 8), TDBatchNormalization(),
    ],
    "dense": lambda: [K.Dense(7, activation="relu")],
    "within a step": lambda: [
        layers.FoldTime(K.Reshape((4, 2))), layers.FoldTime(K.Conv1D(3, 2, activation="relu")),
        layers.FoldTime(K.MaxPooling1D(2)), layers.FoldTime(K.LayerNormalization()),
        K.TimeDistributed(K.Conv1D(3, 1)), layers.FoldTime(K.Flatten()),
    ],
    "a model within a step": lambda: [
        layers.FoldTime(keras.Sequential([K.Reshape((4, 2)), K.Conv1D(3, 2), K.Flatten()]))
    ],
    "a model": lambda: [keras.Sequential([K.Dense(6), LIFLayer(tau=0.8)]), K.Dense(4)],
    "recomputed": lambda: [
        layers.Recompute(keras.Sequential([layers.FoldTime(K.Dense(6)), LIFLayer(tau=0.8)]))
    ],
    "features": lambda: [K.Permute((1, 2)), layers.FoldTime(K.Permute((1,)))],
}  # fmt: skip


def sequences(*shape, seed=0):
    return (np.random.default_rng(seed).random(shape) * 3).astype("float32")


def spiking(*between):
    model = keras.Sequential(
        [
            keras.Input((6, 5)),
            layers.FoldTime(K.Dense(8)),
            LIFLayer(tau=0.9),
            *between,
            layers.FoldTime(K.Dense(3)),
        ]
    )
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(
                rng.uniform(0.1, 0.6, weight.shape) * rng.choice([1, 1, -1], weight.shape)
            )
        if weight.name == "moving_variance":
            weight.assign(np.abs(weight))
    return model


@pytest.mark.parametrize("kind", KINDS_THAT_STREAM)
def test_what_acts_on_each_step_alone_streams(kind):
    model = spiking(*KINDS_THAT_STREAM[kind]())
    for chunk in (1, 3):
        assert_pieces_equal_the_whole(model, sequences(3, 6, 5), chunk)


def test_operations_on_each_value_stream():
    inputs = keras.Input((6, 5))
    x = keras.ops.relu(inputs * 2.0 - 1.0) + keras.ops.tanh(inputs) * np.arange(5.0)
    spikes = LIFLayer(tau=0.9)(x)
    x = K.Concatenate()([spikes, K.Maximum()([spikes, inputs]), K.Multiply()([x, spikes])])
    assert_pieces_equal_the_whole(keras.Model(inputs, x), sequences(2, 6, 5))


def test_each_call_of_shared_neurons_keeps_its_own_potential():
    inputs = keras.Input((6, 5))
    neurons = LIFLayer(tau=0.9, learn_tau="layer", name="lif")
    first, second = (layers.FoldTime(K.Dense(5, kernel_initializer="he_normal")) for _ in "ab")
    other = LIFLayer(name="lif_1")
    model = keras.Model(inputs, other(neurons(second(neurons(first(inputs))))))
    neurons.leak.assign(0.6)
    stream = assert_pieces_equal_the_whole(model, sequences(3, 6, 5))
    assert [layer.name for layer in stream.layers if isinstance(layer, LIFLayer)] == [
        "lif", "lif_1", "lif_1_1",
    ]  # fmt: skip


def test_an_adapted_normalization_streams_with_what_it_has_learned():
    known = 5 * sequences(20, 6, 5, seed=1)
    of_sequences, of_steps = K.Normalization(), K.Normalization()
    of_sequences.adapt(known)
    of_steps.adapt(known.reshape(-1, 5))
    for layer in (of_sequences, layers.FoldTime(keras.Sequential([of_steps]))):
        model = keras.Sequential([keras.Input((6, 5)), layer, LIFLayer(v_threshold=0.5)])
        assert_pieces_equal_the_whole(model, 5 * sequences(3, 6, 5))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("mode", ["int8", "int4", "float8", "lora"])
def test_quantized_and_adapted_layers_stream(mode):
    model = spiking(K.Dense(4))
    if mode == "lora":
        model.layers[2].enable_lora(2)
        model.layers[2].lora_kernel_b.assign(np.full((2, 4), 0.5))
    else:
        model.quantize(mode)
    assert_pieces_equal_the_whole(model, sequences(3, 6, 5), atol=1e-5)


def test_a_network_with_recomputation_streams_like_one_without():
    shape = (16, 16, 1)
    plain = models.vgg11(shape, 10, timesteps=2, width=0.03)
    recomputed = models.vgg11(shape, 10, timesteps=2, width=0.03, recompute=True)
    for weight in plain.weights:
        if weight.name == "beta":
            weight.assign(np.full(weight.shape, 0.6))
    recomputed.set_weights(plain.get_weights())
    frames = sequences(3, *shape) / 3
    streams = [export.streaming(model, batch_size=3) for model in (plain, recomputed)]
    for _ in range(2):
        pair = [stream(frames).numpy() for stream in streams]
        np.testing.assert_allclose(*pair, atol=1e-6)
    assert np.abs(pair[0]).max() > 0


@keras.saving.register_keras_serializable("tests")
class Holding(K.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.neurons = LIFLayer()

    def call(self, inputs, training=None):
        return self.neurons(inputs, training=training)


@keras.saving.register_keras_serializable("tests")
class OverBatch(K.Layer):
    def call(self, inputs):
        return inputs - keras.ops.mean(inputs, axis=0, keepdims=True)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("tests")
class Remembering(K.Dense):
    def call(self, inputs):
        return keras.ops.cumsum(super().call(inputs), axis=1)


def over_time(x):
    return keras.ops.cumsum(x, axis=1)


REFUSED = {
    "custom": lambda: Holding(name="bad"),
    "subclass": lambda: Remembering(8, name="bad"),
    "lambda": lambda: K.Lambda(lambda x: x, output_shape=(6, 8), name="bad"),
    "lstm": lambda: K.LSTM(8, return_sequences=True, name="bad"),
    "gru": lambda: K.GRU(8, return_sequences=True, name="bad"),
    "rnn": lambda: K.RNN(K.SimpleRNNCell(8), return_sequences=True, name="bad"),
    "bidirectional": lambda: K.Bidirectional(K.LSTM(8, return_sequences=True), name="bad"),
    "conv1d": lambda: K.Conv1D(8, 3, padding="causal", name="bad"),
    "pool1d": lambda: K.AveragePooling1D(3, 1, padding="same", name="bad"),
    "padding": lambda: K.ZeroPadding1D((1, 0), name="bad"),
    "upsampling": lambda: K.UpSampling1D(2, name="bad"),
    "masking": lambda: K.Masking(name="bad"),
    "flatten": lambda: K.Reshape((8, 6), name="bad"),
    "permute": lambda: K.Permute((2, 1), name="bad"),
    "group": lambda: K.GroupNormalization(1, name="bad"),
    "layer normalization": lambda: K.LayerNormalization(axis=(1, 2), name="bad"),
    "batch normalization": lambda: K.BatchNormalization(axis=1, name="bad"),
    "softmax": lambda: K.Softmax(axis=1, name="bad"),
    "concatenation": lambda: K.Concatenate(axis=1, name="bad"),
    "activation": lambda: K.Activation(over_time, name="bad"),
    "dense activation": lambda: K.Dense(8, activation=over_time, name="bad"),
    "prelu": lambda: K.PReLU(name="bad"),
    "folded custom": lambda: layers.FoldTime(OverBatch(), name="bad"),
    "folded lambda": lambda: layers.FoldTime(K.Lambda(lambda x: x), name="bad"),
    "folded activation": lambda: layers.FoldTime(K.Dense(8, activation=over_time), name="bad"),
    "folded neurons": lambda: layers.FoldTime(
        keras.Sequential([K.Reshape((2, 4)), LIFLayer()]), name="bad"
    ),
    "distributed custom": lambda: K.TimeDistributed(OverBatch(), name="bad"),
    "recomputed": lambda: layers.Recompute(K.LSTM(8, return_sequences=True), name="bad"),
    "inner model": lambda: keras.Sequential([K.LSTM(8, return_sequences=True, name="bad")]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_known_to_act_on_each_step_alone_is_refused_by_name(kind):
    inputs = keras.Input((6, 8))
    layer = REFUSED[kind]()
    x = LIFLayer()(inputs)
    x = layer([x, x]) if kind == "concatenation" else layer(x)
    with pytest.raises(ValueError, match=r"to read a stream\. Received: bad .*, which ") as info:
        export.streaming(keras.Model(inputs, x))
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: keras.ops.cumsum(x, axis=1),
        lambda x: keras.ops.flip(x, axis=1),
        lambda x: keras.ops.roll(x, 1, axis=1),
        lambda x: x[:, :3],
        lambda x: x * np.arange(6.0)[:, None],
        lambda x: x + np.ones((1, 6, 1)),
        lambda x: keras.ops.transpose(x, (0, 2, 1)),
        lambda x: keras.ops.mean(x, axis=1, keepdims=True),
        lambda x: x - keras.ops.mean(x, axis=0, keepdims=True),
    ],
)
def test_operations_over_time_or_the_batch_are_refused(operation):
    inputs = keras.Input((6, 8))
    with pytest.raises(ValueError, match="Received: .*, which "):
        export.streaming(keras.Model(inputs, operation(LIFLayer()(inputs))))


def test_two_dimensional_recurrence_and_convolution_over_time_are_refused():
    for layer in (
        K.ConvLSTM2D(2, 3, return_sequences=True, name="bad"),
        K.Conv3D(2, 3, name="bad"),
        K.MaxPooling3D(2, name="bad"),
    ):
        model = keras.Sequential([keras.Input((4, 6, 6, 2)), LIFLayer(), layer])
        with pytest.raises(ValueError, match="Received: bad .*, which "):
            export.streaming(model)


def test_attention_over_time_and_training_in_inference_are_refused():
    inputs = keras.Input((6, 8))
    x = LIFLayer()(inputs)
    attentions = K.Attention(name="bad")([x, x]), K.MultiHeadAttention(2, 4, name="bad")(x, x)
    for output in attentions:
        with pytest.raises(ValueError, match="Received: bad .*, which "):
            export.streaming(keras.Model(inputs, output))
    training = keras.Model(inputs, K.Dropout(0.5, name="bad")(x, training=True))
    with pytest.raises(ValueError, match="Received: bad, called with training=True"):
        export.streaming(training)


def test_before_the_encoder_a_layer_sees_one_frame_and_may_use_all_of_it():
    model = keras.Sequential(
        [
            keras.Input((8, 3)),
            K.Conv1D(4, 3, activation="relu"),
            K.MaxPooling1D(2),
            K.Flatten(),
            layers.DirectEncoder(4),
            LIFLayer(tau=0.9),
        ]
    )
    x = sequences(2, 8, 3)
    stream = export.streaming(model, batch_size=2)
    whole = model(x).numpy()
    assert 0 < whole.mean() < 1
    pieces = np.concatenate([stream(x).numpy() for _ in range(4)], axis=1)
    np.testing.assert_array_equal(pieces, whole)


@pytest.mark.parametrize(
    ("of_layers", "message"),
    [
        ([layers.DirectEncoder(2), layers.TemporalGain(name="gain")], "Received: gain, a Temp"),
        ([layers.DirectEncoder(2), LIFLayer(learn_tau="time", name="lif")], "lif, a LIFLayer"),
        ([layers.FrequencyEncoder(2)], "a FrequencyEncoder that differs by step"),
        (
            [layers.DirectEncoder(2), layers.TemporalMean(name="mean"), keras.layers.Flatten()],
            "Received: mean before other layers",
        ),
    ],
)
def test_what_a_stream_cannot_do_is_refused(of_layers, message):
    model = keras.Sequential([keras.Input((8, 8, 1)), *of_layers])
    with pytest.raises(ValueError, match=message):
        export.streaming(model)
