"""One training step of a random network in NumPy and float64, its reverse pass written by hand.

The backward of a layer takes the node, the values its layer took, the layer's weights and the
loss' gradient by its output; it returns two lists: gradients by what it took, and by its weights.
"""

import collections
import dataclasses
import math
import pathlib
import runpy

import numpy as np
import scipy.special
import scipy.stats

numpy_form = runpy.run_path(str(pathlib.Path(__file__).with_name("simulator.py")))

MOMENTUM = 0.9  # of tdBN's moving averages


@dataclasses.dataclass
class Step:
    """One step of gradient descent.

    Attributes:
        values: Of all nodes in training.
        distance: The least one of a potential from its threshold.
        loss: The mean cross-entropy plus `eta` times `omega`.
        omega: Its mean over layers of neurons; inside a layer over calls, time and channels.
        gradients: Of the loss, by name of the layer: of those of its weights that learn.
        moving: tdBN's moving averages behind the step, by name of the layer.
    """

    values: list
    distance: float
    loss: float
    omega: float
    gradients: dict
    moving: dict


def training_step(nodes, x, timesteps, weights, labels, eta):
    values, distance = numpy_form["simulate"](nodes, x, timesteps, weights, training=True)
    calls = collections.Counter(node["name"] for node in nodes if node["op"] == "neurons")
    task, upstream = cross_entropy(values[-1], labels)
    flows = [*(np.zeros_like(value) for value in values[:-1]), upstream]
    gradients = {name: [np.zeros(w.shape) for w in own] for name, own in weights.items()}
    omega = 0.0
    for place, node in reversed(list(enumerate(nodes, 1))):
        taken = [values[i] for i in node["takes"]]
        own = [w.astype(np.float64) for w in weights[node["name"]]]
        if node["op"] == "neurons":
            share = 1.0 / (len(calls) * calls[node["name"]])
            counted, into_potentials = overlap(node, taken[0])
            omega += share * counted
            of_taken = [neurons(node, taken[0], flows[place], eta * share * into_potentials)]
            of_own = []
        else:
            of_taken, of_own = BACKWARD[node["op"]](node, taken, own, flows[place])
        for number, gradient in zip(node["takes"], of_taken, strict=True):
            flows[number] = flows[number] + gradient
        for total, gradient in zip(gradients[node["name"]], of_own, strict=False):
            total += gradient
    return Step(
        values, distance, task + eta * omega, omega, gradients, moved(nodes, values, weights)
    )


def moved(nodes, values, weights):
    moving = {}
    for node in nodes:
        if node["op"] == "normalization":
            before = moving.get(node["name"], np.float64(weights[node["name"]][2:]))
            found = numpy_form["statistics"](values[node["takes"][0]])
            moving[node["name"]] = [
                MOMENTUM * old + (1.0 - MOMENTUM) * new
                for old, new in zip(before, found, strict=True)
            ]
    return moving


def cross_entropy(logits, labels):
    """Its mean, and the gradient by the logits."""
    samples = np.arange(len(labels))
    log_probabilities = scipy.special.log_softmax(logits, axis=1)
    gradient = np.exp(log_probabilities)
    gradient[samples, labels] -= 1.0
    return -log_probabilities[samples, labels].mean(), gradient / len(labels)


# Neurons ---------------------------------------------------------------------------------------


def surrogate(node, v):
    """The surrogate gradient h(v)."""
    x = v / node["gamma"]
    unit = {
        "triangle": lambda: np.maximum(1.0 - np.abs(x), 0.0),
        "arctan": lambda: 1.0 / (1.0 + (math.pi * x) ** 2),
        "sigmoid": lambda: 4.0 * scipy.special.expit(4.0 * x) * scipy.special.expit(-4.0 * x),
    }[node["surrogate"]]()
    return unit / node["gamma"]


# Where the triangle ends, and where the others have fallen to a tenth of their peak.
HALF_WIDTHS = {"triangle": 1.0, "arctan": 3.0 / math.pi, "sigmoid": math.acosh(math.sqrt(10)) / 2}


def neurons(node, currents, upstream, into_potentials):
    """Gradient by the currents: that of each step's potential, from the last step to the first.

    Args:
        into_potentials: What else than spikes the loss gets from the potentials: its gradient.
    """
    threshold, gradient, following = node["v_threshold"], np.zeros_like(currents), 0.0
    potentials = numpy_form["potentials"](node, currents)
    for t in reversed(range(currents.shape[1])):
        u = potentials[:, t]
        slope = surrogate(node, u - threshold)
        by_reset = 0.0 if node["detach_reset"] else slope
        if node["reset"] == "hard":  # u (1 - s) is left
            kept = (u < threshold) - u * by_reset
        else:  # u - threshold s
            kept = 1.0 - threshold * by_reset
        following = upstream[:, t] * slope + node["tau"] * kept * following + into_potentials[:, t]
        gradient[:, t] = following
    return gradient


def overlap(node, currents):
    """Omega, its mean over time and channels, and its gradient by each potential."""
    u = numpy_form["potentials"](node, currents)
    axes = (0, *range(2, u.ndim - 1))
    mean, std = u.mean(axis=axes, keepdims=True), np.sqrt(u.var(axis=axes, keepdims=True) + 1e-12)
    half_width = node["gamma"] * HALF_WIDTHS[node["surrogate"]]
    upper, lower = ((mean - node["v_threshold"] + side * half_width) / std for side in (1, -1))
    high, low = scipy.stats.norm.pdf(upper), scipy.stats.norm.pdf(lower)
    # d mean / du = 1 / n, d std / du = (u - mean) / (n std): of n potentials in each mean.
    by_mean, by_std = (high - low) / std, (lower * low - upper * high) / std
    gradient = (by_mean + by_std * (u - mean) / std) / u.size
    return (scipy.stats.norm.cdf(upper) - scipy.stats.norm.cdf(lower)).mean(), gradient


# Other layers ----------------------------------------------------------------------------------


def dense(node, taken, own, upstream):
    (x,), (kernel, _) = taken, own
    inputs, outputs = (values.reshape(-1, values.shape[-1]) for values in (x, upstream))
    return [upstream @ kernel.T], [inputs.T @ outputs, outputs.sum(axis=0)]


def convolution(node, taken, own, upstream):
    (x,), (kernel, _) = taken, own
    pads, places = numpy_form["placed"](node, x.shape)
    x = np.pad(x, pads)
    of_x, of_kernel = np.zeros_like(x), np.zeros_like(kernel)
    for i, j, seen in places:
        for channels, filters in numpy_form["groups"](node, x, kernel):
            of_outputs, weights = upstream[..., filters], kernel[i, j][:, filters]
            of_kernel[i, j][:, filters] = np.einsum(
                "nthwc,nthwf->cf", x[seen][..., channels], of_outputs
            )
            of_x[seen][..., channels] += of_outputs @ weights.T
    inside = tuple(
        slice(before, n - after) for (before, after), n in zip(pads, x.shape, strict=True)
    )
    return [of_x[inside]], [of_kernel, upstream.sum(axis=(0, 1, 2, 3))]


def normalization(node, taken, own, upstream):
    (x,), (scale, _, *_) = taken, own
    axes = tuple(range(x.ndim - 1))
    mean, variance = numpy_form["statistics"](x)
    std = np.sqrt(variance + 1e-5)
    normalized = (x - mean) / std
    factor = node["alpha"] * node["v_threshold"]
    flow = upstream * scale * factor
    # The mean and the variance follow x.
    along = (flow * normalized).mean(axis=axes)
    of_x = (flow - flow.mean(axis=axes) - normalized * along) / std
    return [of_x], [factor * (upstream * normalized).sum(axis=axes), upstream.sum(axis=axes)]


def average_pool(node, taken, own, upstream):
    of_x = np.zeros_like(taken[0])
    numpy_form["cells"](node, of_x)[...] = upstream[..., None, None] / node["size"] ** 2
    return [of_x], []


def maximum_pool(node, taken, own, upstream):
    """The whole gradient goes to the first of equal values, row by row."""
    of_x = np.zeros_like(taken[0])
    cells, of_cells = (numpy_form["cells"](node, x) for x in (taken[0], of_x))
    first = cells.reshape(*cells.shape[:-2], -1).argmax(axis=-1)
    row, column = np.unravel_index(first, cells.shape[-2:])
    of_cells[(*np.indices(first.shape), row, column)] = upstream
    return [of_x], []


def weighted_sum(node, taken, own, upstream):
    (weights,) = own
    of_weights = np.array([(branch * upstream).sum() for branch in taken])
    return [weight * upstream for weight in weights], [of_weights]


def mean(node, taken, own, upstream):
    timesteps = taken[0].shape[1]
    return [np.repeat(upstream[:, None], timesteps, axis=1) / timesteps], []


BACKWARD = {
    "convolution": convolution,
    "dense": dense,
    "normalization": normalization,
    "average pool": average_pool,
    "maximum pool": maximum_pool,
    "flatten": lambda node, taken, own, upstream: ([upstream.reshape(taken[0].shape)], []),
    "sum": lambda node, taken, own, upstream: ([upstream for _ in taken], []),
    "weighted sum": weighted_sum,
    "mean": mean,
    "encode": lambda node, taken, own, upstream: ([upstream.sum(axis=1, keepdims=True)], []),
}
