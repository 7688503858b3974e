"""The leaky integrate-and-fire recurrence over a whole window, as one custom gradient."""

from typing import NamedTuple

import tensorflow as tf

from keras_mpdsgr import keras_internals, surrogates
from keras_mpdsgr.arguments import check_number
from keras_mpdsgr.dynamics import capture, fusion, gradient_modes
from keras_mpdsgr.dynamics.forward_backward import Backward, Forward, of_width
from keras_mpdsgr.dynamics.moments import channel_moments
from keras_mpdsgr.dynamics.neurons import Neuron, simulate

MOMENTS = (None, "membrane", "current")


class WindowOutput(NamedTuple):
    """What a layer of neurons gives back for one window.

    Attributes:
        spikes: `(batch, time, ...)`, zeros and ones.
        mean, variance: Moments per channel over batch and space: of the membrane potential, shape
            `(time, channels)`, or of the input current, shape `(channels,)`; None if not asked for.
        residual: `(batch, ...)`, the membrane potential left after the last reset.
        membranes: `(batch, time, ...)`, the membrane potentials before the spike decision; None if
            not asked for.
    """

    spikes: tf.Tensor
    mean: tf.Tensor | None
    variance: tf.Tensor | None
    residual: tf.Tensor
    membranes: tf.Tensor | None = None


def lif(
    currents,
    surrogate,
    tau=1.0,
    neuron=None,
    moments=None,
    initial=None,
    name="lif",
    gamma=None,
    training=False,
    membranes=False,
):
    """Leaky integrate-and-fire neurons over a window, with the gradient the scope asks for.

    Forward is Eq. 1-4 of the paper. Backward is the written-out reverse recurrence (Eq. 5-7), or
    whatever `gradient_mode` is in force; the gradient of the moments is added in the same pass.

    Args:
        currents: `(batch, time, ...)`, floating point, time static.
        surrogate: A `surrogates.Surrogate`.
        tau: Leak factor in [0, 1]: a number, or a tensor of shape `()` or `(time,)` that then gets
            a gradient of its own.
        neuron: A `Neuron`; by default one with threshold 1 and hard reset.
        moments: None, `"membrane"` (of the membrane potential, per time step and channel) or
            `"current"` (of the input current, per channel). Synchronised over replicas.
        initial: Membrane potential before the first step, `(batch, ...)`; no gradient flows there.
        name: What `capture_potentials` and errors call these neurons.
        gamma: A scalar tensor that replaces the surrogate's own width and gets a gradient: that of
            a spike smoothed to F(v / gamma), F' = h_1, so that ds/dgamma = -v / gamma h(v). The
            gradient of BPTT, whichever mode is in force. None keeps the surrogate's own.
        training: Whether this is a training step, which `fused_neurons` asks.
        membranes: Whether the membrane potentials come back too, for a term of the loss: their
            gradient is added in the same pass as that of the moments.

    Returns:
        A `WindowOutput`. Half-precision currents are integrated in float32; the spikes come back
        in the currents' own dtype.
    """
    if moments not in MOMENTS:
        raise ValueError(f"`moments` must be one of {MOMENTS}. Received: moments={moments!r}.")
    if not isinstance(surrogate, surrogates.Surrogate):
        raise ValueError(f"`surrogate` must be a Surrogate. Received: {surrogate!r}.")
    if not tf.is_tensor(tau):
        check_number("tau", tau, "leak factor", least=0, most=1)
    neuron = Neuron() if neuron is None else neuron
    if not isinstance(neuron, Neuron):
        raise ValueError(f"`neuron` must be a Neuron or None. Received: {neuron!r}.")
    dtype = currents.dtype
    state_dtype = tf.float32 if dtype in (tf.float16, tf.bfloat16) else dtype
    steps = currents.shape[1]
    mode = gradient_modes.current_mode()
    learned = {"tau": tau} if tf.is_tensor(tau) else {}
    learned |= {} if gamma is None else {"gamma": gamma}
    if initial is not None:
        initial = tf.stop_gradient(tf.cast(initial, state_dtype))
    key = mode.backward_key()
    shared = key is not None
    of_mode = Backward(
        neuron, surrogate, mode, key if shared else mode, moments, dtype, state_dtype
    )
    compiled = fusion.compiler(currents.shape, training)
    source = None if compiled is None or training else fusion.source_of(currents)
    of_neurons = Forward(neuron, dtype, state_dtype, repeated=source is not None)
    kept = moments is not None or membranes or keras_internals.is_recorded(currents)

    def run(method, *arguments, shared=False):
        return (method if compiled is None else compiled(method, shared))(*arguments)

    @tf.custom_gradient
    def window_of(currents, *parameters):
        given = dict(zip(learned, parameters, strict=True))
        leak = _leak(given.get("tau", tau), steps, state_dtype)
        window = currents if source is None else source, leak, initial
        potentials, spikes, residual = run(of_neurons.forward, *window, shared=True)
        if compiled is not None and not kept:
            # Nothing asks for the potentials now, and so TensorFlow leaves their function out.
            spikes, residual = run(of_neurons.forward_spikes, *window, shared=True)
        prepared = mode.prepare(of_mode.window(leak, potentials, initial, given), name)
        everything = tf.cast(currents, state_dtype)
        observed = {None: [], "membrane": potentials, "current": [everything]}[moments]
        mean, variance = channel_moments(observed)
        if moments == "current":
            mean, variance = mean[0], variance[0]

        def backward(spikes_gradient, mean_gradient, variance_gradient, _, *potentials_gradient):
            by_step, of_parameters, _ = run(
                of_mode.backward,
                (leak, potentials, initial, given),
                prepared,
                spikes_gradient,
                (mean, mean_gradient, variance_gradient),
                potentials_gradient,
                shared=shared,
            )
            # Not compiled: XLA would compute the recurrence again for each part of the stack.
            return tf.stack(by_step, axis=1), *of_parameters

        given_out = (tf.stack(potentials, axis=1),) if membranes else ()
        return (spikes, mean, variance, residual, *given_out), backward

    outputs = window_of(currents, *learned.values())
    spikes, mean, variance, residual, *given_out = outputs
    if capture.active():
        replayed, fired = _replay(currents, tau, neuron, initial, state_dtype)
        capture.record(
            name=name,
            currents=currents,
            membranes=replayed,
            spikes=fired,
            surrogate=of_width(surrogate, learned),
            neuron=neuron,
            tau=tau,
        )
    if moments is None:
        mean = variance = None
    return WindowOutput(spikes, mean, variance, tf.stop_gradient(residual), *given_out)


def _leak(tau, steps, dtype):
    if not tf.is_tensor(tau):
        return [tau] * steps
    tau = tf.cast(tau, dtype)
    return tf.unstack(tau) if tau.shape.rank else [tau] * steps


def _replay(currents, tau, neuron, initial, dtype):
    inputs = [tf.cast(current, dtype) for current in tf.unstack(currents, axis=1)]
    membranes, spikes, _ = simulate(inputs, _leak(tau, len(inputs), dtype), neuron, initial)
    return tf.stack(membranes, axis=1), tf.stack(spikes, axis=1)
