"""A streaming model reads a window in pieces as the trained model reads it whole."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, export, layers, models


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
