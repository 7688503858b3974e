"""A trained network that reads a stream piece by piece and keeps its membrane potentials."""

import keras

from keras_mpdsgr import keras_internals
from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.export.graph import ENCODERS, calls_of, unwrapped
from keras_mpdsgr.export.steps import reason_against
from keras_mpdsgr.layers import FrequencyEncoder, LIFLayer, TemporalGain, TemporalMean


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
            if isinstance(layer, LIFLayer):
                layer.reset_state()


def streaming(model, batch_size=1, timesteps=1):
    """Rebuilds a trained model so that it reads a stream in pieces of a few time steps.

    The new model has the weights of the old one at the time, in variables of its own. Its neurons
    are stateful: a window cut into pieces gives what the whole window gives, until `reset_state`.
    A `LIFLayer` that is called several times keeps a potential for each of its calls. The new model
    returns the read-out of each time step; a `TemporalMean` at the end is left out, as only the
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
            a `FrequencyEncoder`, a leak learned per time step), as a stream has no window; if it is
            not known to act on each time step alone (a recurrent layer, a convolution over time, a
            custom layer); or if the mean over time is not the last layer.

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
    shape = graph.input_shape if graph.encoded else (timesteps, *graph.input_shape[1:])
    dtype = model.inputs[0].dtype
    values = {graph.input: keras.Input(batch_shape=(batch_size, *shape), dtype=dtype)}
    timed = {graph.input: not graph.encoded}
    copies = {}
    for call in graph.calls:
        timed[call.output] = _is_timed(call, [timed[key] for key in call.inputs], graph)
        if type(call.layer) is TemporalMean:
            values[call.output] = values[call.inputs[0]]
            continue
        # Two calls of a layer share its weights; those of neurons have a potential each.
        key = call.name if isinstance(call.layer, LIFLayer) else id(call.layer)
        if key not in copies:
            copies[key] = call.layer, _copied(call, timesteps)
        values[call.output] = call.run(copies[key][1], values)
    if not timed[graph.output]:
        raise ValueError("`model` must give a sequence, or its mean over time, to read a stream.")
    streamed = StreamingModel(
        values[graph.input], values[graph.output], name=f"{model.name}_stream"
    )
    for layer, copy in copies.values():
        if isinstance(layer, keras.layers.Layer):
            _copy_weights(layer, copy)
    streamed.reset_state()
    return streamed


def _copied(call, timesteps):
    """A layer of the same configuration for windows of another length, neurons stateful."""
    config = {**call.layer.get_config(), "name": call.name}
    if isinstance(call.layer, LIFLayer):
        config["stateful"] = True
    if isinstance(call.layer, ENCODERS):
        config["timesteps"] = timesteps
    return type(call.layer).from_config(config)


def _copy_weights(layer, copy):
    # By name: a quantized layer has its weights in another order than one that is built quantized.
    by_name = [sorted(of.weights, key=lambda weight: weight.name) for of in (layer, copy)]
    for weight, own in zip(*by_name, strict=True):
        own.assign(weight)
    for inner in keras_internals.all_layers(copy):
        if isinstance(inner, keras.layers.Normalization):
            inner.finalize_state()  # it computes with constants made of its weights


def _is_timed(call, timed, graph):
    """Whether axis 1 of what a call gives is time; raises if the stream cannot have the call."""
    layer, kind = call.layer, type(unwrapped(call.layer)).__name__
    by_time = isinstance(layer, LIFLayer) and layer.learn_tau == "time"
    if by_time or isinstance(unwrapped(layer), TemporalGain | FrequencyEncoder):
        raise ValueError(
            "`model` must do the same at all time steps to read a stream, which has no first and "
            f"last step. Received: {call.name}, a {kind} that differs by step."
        )
    if type(layer) is TemporalMean:
        if call.output != graph.output or layer.axis % len(call.shapes[0]) != 1 or not timed[0]:
            raise ValueError(
                "A streaming model leaves the mean over time to its caller, so it must be the "
                f"model's last layer. Received: {call.name} before other layers."
            )
        return True
    if type(layer) in ENCODERS and not any(timed):
        return True
    reason = reason_against(call, timed[0])
    if len(set(timed)) > 1:
        reason = "takes a sequence and a tensor without time"
    if reason:
        raise ValueError(
            "`model` must act on each time step alone, except its LIFLayers' potentials, to "
            f"read a stream. Received: {call.name} ({kind}), which {reason}."
        )
    return timed[0]
