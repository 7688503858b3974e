"""A trained network that reads a stream piece by piece and keeps its membrane potentials."""

import keras

from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.export.graph import calls_of, unwrapped
from keras_mpdsgr.layers import (
    DirectEncoder,
    FrequencyEncoder,
    LIFLayer,
    PoissonEncoder,
    SmoothingEncoder,
    TemporalGain,
    TemporalMean,
)

_ENCODERS = (DirectEncoder, PoissonEncoder, SmoothingEncoder)


@keras.saving.register_keras_serializable("keras_mpdsgr")
class StreamingModel(keras.Model):
    """A functional model whose neurons keep their potentials from one call to the next.

    Made by `streaming`.

    Args:
        inputs, outputs: As of a functional `keras.Model`.
        **kwargs: Those of `keras.Model`.
    """

    def reset_state(self):
        """Sets all membrane potentials to zero, as before the first step of a stream."""
        for layer in self.layers:
            if isinstance(unwrapped(layer), LIFLayer):
                unwrapped(layer).reset_state()


def streaming(model, batch_size=1, timesteps=1):
    """Rebuilds a trained model so that it reads a stream in pieces of a few time steps.

    The new model has the weights of the old one at the time, in variables of its own. Its neurons
    are stateful: a window cut into pieces gives what the whole window gives, until `reset_state`.
    It returns the read-out of each time step; a `TemporalMean` at the end is left out, as only the
    caller knows which steps to average.

    Args:
        model: A functional or Sequential Keras model. One with an encoder takes, at each call, the
            image of the next `timesteps` steps, which may differ from call to call (frames of a
            film); one without takes sequences of `timesteps` steps.
        batch_size: Number of streams read side by side, fixed.
        timesteps: Number of steps a call.

    Returns:
        A `StreamingModel`: `(batch_size, ...)` or `(batch_size, timesteps, ...)` in,
        `(batch_size, timesteps, ...)` out.

    Raises:
        ValueError: If a layer does another thing at each time step of the window (a `TemporalGain`,
            a `FrequencyEncoder`, a leak learned per time step), as a stream has no window; or if
            the mean over time is not the last layer.

    Example:

    >>> import numpy as np
    >>> from keras_mpdsgr import layers
    >>> model = keras.Sequential(
    ...     [keras.Input((1,)), layers.DirectEncoder(4), LIFLayer(), layers.TemporalMean()]
    ... )
    >>> frame = np.full((1, 1), 0.4, "float32")
    >>> model.predict_on_batch(frame).item()
    0.25
    >>> stream = streaming(model)
    >>> [stream.predict_on_batch(frame).item() for _ in range(4)]
    [0.0, 0.0, 1.0, 0.0]
    >>> stream.reset_state()
    """
    batch_size = check_integer("batch_size", batch_size, "number of streams side by side", least=1)
    timesteps = check_integer("timesteps", timesteps, "number of time steps a call", least=1)
    graph = calls_of(model)
    shape = graph.input_shape
    if not any(isinstance(call.layer, (*_ENCODERS, FrequencyEncoder)) for call in graph.calls):
        shape = (timesteps, *shape[1:])
    dtype = model.inputs[0].dtype
    values = {graph.input: keras.Input(batch_shape=(batch_size, *shape), dtype=dtype)}
    copies: dict[int, tuple] = {}
    for call in graph.calls:
        _check_same_at_all_steps(call)
        if isinstance(call.layer, TemporalMean):
            if call.output != graph.output:
                raise ValueError(
                    "A streaming model leaves the mean over time to its caller, so it must be the "
                    f"model's last layer. Received: {call.name} before other layers."
                )
            values[call.output] = values[call.inputs[0]]
            continue
        if id(call.layer) not in copies:
            copies[id(call.layer)] = call.layer, _copied(call.layer, timesteps)
        values[call.output] = call.run(copies[id(call.layer)][1], values)
    streamed = StreamingModel(
        values[graph.input], values[graph.output], name=f"{model.name}_stream"
    )
    for layer, copy in copies.values():
        if isinstance(layer, keras.layers.Layer):
            copy.set_weights(layer.get_weights())
    streamed.reset_state()
    return streamed


def _copied(layer, timesteps):
    """A layer of the same configuration for windows of another length, neurons stateful."""
    config = layer.get_config()
    if isinstance(layer, LIFLayer):
        config["stateful"] = True
    if isinstance(layer, _ENCODERS):
        config["timesteps"] = timesteps
    return type(layer).from_config(config)


def _check_same_at_all_steps(call):
    layer = unwrapped(call.layer)
    by_time = isinstance(layer, LIFLayer) and layer.learn_tau == "time"
    if by_time or isinstance(layer, TemporalGain | FrequencyEncoder):
        raise ValueError(
            "`model` must do the same at all time steps to read a stream, which has no first and "
            f"last step. Received: {call.name}, a {type(layer).__name__} that differs by step."
        )
