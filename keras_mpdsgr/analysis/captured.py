"""Potentials of every layer of neurons on some images, and what theory predicts of them."""

import numpy as np
import tensorflow as tf

from keras_mpdsgr import dynamics, overlap
from keras_mpdsgr.arguments import check_integer
from keras_mpdsgr.attacks import Target
from keras_mpdsgr.inputs import check_fits, check_images


def captured_layers(model, x, seed=0):
    """The potentials of a model's neurons on images, in inference mode.

    All are held in memory at once: `n * time` images' worth of every layer, three times over.

    Args:
        model: A Keras model with `LIFLayer`s.
        x: Images, `(n, ...)`, in [0, 1].
        seed: Of a model that draws at random.

    Returns:
        A list of `dynamics.CapturedLayer`, in call order.

    Raises:
        ValueError: If the images are not pixels in [0, 1], or no layer of neurons was called.

    Example:

    >>> from keras_mpdsgr import models
    >>> model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02)
    >>> captured_layers(model, np.full((4, 8, 8, 1), 0.5))[0].membranes.shape
    TensorShape([4, 2, 8, 8, 1])
    """
    target, x = Target(model), check_images(x)
    check_fits(model, x)
    with (
        target.seeded(check_integer("seed", seed, least=0), 0),
        dynamics.capture_potentials() as layers,
    ):
        target.logits(tf.constant(x))
    if not layers:
        raise ValueError(
            f"`model` must have layers of spiking neurons. Received: {model.name!r} without any."
        )
    return layers


def by_channel(values):
    """One time step's values of a layer, `(batch, ..., channels)`, as `(samples, channels)`."""
    values = np.asarray(values)
    return values.reshape(-1, values.shape[-1])


def same_input(layer):
    """Whether a captured layer got the same current at all time steps, more than one."""
    currents = np.asarray(layer.currents)
    return currents.shape[1] > 1 and bool((currents == currents[:, :1]).all())


def membranes_without_reset(layer):
    """Membrane potentials of a captured layer without resets, `(batch, time, ...)`."""
    currents = np.asarray(layer.currents)
    membranes = currents.copy()
    for t, leak in enumerate(_leaks(layer)):
        if t:
            membranes[:, t] += leak * membranes[:, t - 1]
    return membranes


def predicted_moments(layer, reset=True):
    """Mean and deviation of a captured layer's potentials u as theory has them, channel by channel.

    The moments of the layer's input current over batch, time and space take the place of tdBN's
    beta and lambda alpha v_th, which they equal on a training batch; a dense layer has no others.

    Args:
        layer: A `dynamics.CapturedLayer`.
        reset: Whether spikes reset the potentials; else they are those of
            `membranes_without_reset`.

    Returns:
        A dictionary from the prediction's name to mean and deviation, each `(time, channels)`:
        `"theorem"`, Theorem 1 of Jiang et al. (2026), with S(t), which the paper leaves open, as
        the mean of what the layer's resets took away; and, where spikes reset, `"recursion"`, which
        takes nothing but the current. Both are for currents independent over time; where the
        current is the same at all steps there are `"theorem_constant"` and `"recursion_constant"`,
        too.

    Example:

    >>> layer = dynamics.CapturedLayer(
    ...     "lif", tf.constant([[[0.0], [2.0]], [[2.0], [0.0]]]), None, None, None, None, tau=0.5
    ... )
    >>> mean, std = predicted_moments(layer, reset=False)["theorem"]  # the current: mean 1, std 1
    >>> mean[:, 0].tolist(), std[:, 0].round(3).tolist()
    ([1.0, 1.5], [1.0, 1.118])
    """
    currents = np.asarray(layer.currents, np.float64)
    steps = currents.shape[1]
    axes = tuple(range(currents.ndim - 1))
    mean, std = currents.mean(axis=axes), currents.std(axis=axes)
    leaks = _leaks(layer)
    kinds = {"": False} | ({"_constant": True} if same_input(layer) else {})
    predictions = {}
    for suffix, constant in kinds.items():
        common = {"tau": np.array(leaks), "timesteps": steps, "constant_input": constant}
        moments = _arrays(overlap.membrane_moments(mean, std, **common))
        taken = _reset_sums(layer, leaks) if reset else 0.0
        predictions[f"theorem{suffix}"] = (moments[0] - taken, moments[1])
        if reset:
            common |= {"reset": layer.neuron.reset, "v_threshold": layer.neuron.v_threshold}
            moments = _arrays(overlap.membrane_moments(mean, std, **common))
            predictions[f"recursion{suffix}"] = moments
    return predictions


def _arrays(moments):
    mean, std = moments
    return np.asarray(mean), np.asarray(std)


def _reset_sums(layer, leaks):
    """S(t), the leaky sum of what resets before t took, each channel's mean: (time, channels)."""
    membranes, spikes = (np.asarray(x, np.float64) for x in (layer.membranes, layer.spikes))
    size = membranes if layer.neuron.reset == "hard" else layer.neuron.v_threshold
    taken = spikes * size
    sums = [np.zeros(membranes.shape[-1])]
    for t in range(1, membranes.shape[1]):
        sums.append(leaks[t] * (sums[-1] + by_channel(taken[:, t - 1]).mean(axis=0)))
    return np.stack(sums)


def _leaks(layer):
    """The leak factor of each time step, floats."""
    steps = layer.currents.shape[1]
    return np.broadcast_to(np.asarray(layer.tau, np.float64), (steps,)).tolist()
