"""Random small networks as plain data, and their simulation in NumPy and float64.

A network is a list of nodes, dictionaries with `op`, `name` (of the layer: two nodes of one name
share it), `takes` (numbers of the nodes they take; 0 is the input) and options. Arrays are
`(batch, time, height, width, channels)` or `(batch, time, features)`; before the encoder time is 1.
"""

import numpy as np


def simulate(nodes, x, timesteps, weights, calibrate=None, training=False):
    """Values of all nodes, and the least distance of a potential from its threshold.

    Args:
        nodes: The network.
        x: The input, with a time axis.
        timesteps: Length of the window that an encoder makes.
        weights: Of layers, by name: lists of arrays in Keras' order.
        calibrate: A `numpy.random.Generator` that draws the weights, to which currents of about the
            threshold answer; they are written into `weights`.
        training: Whether tdBN normalizes by the batch's statistics.
    """
    values, distance = [np.asarray(x, np.float64)], np.inf
    for node in nodes:
        taken = [values[i] for i in node["takes"]]
        if calibrate is not None and node["name"] not in weights:
            weights[node["name"]] = _drawn(node, taken, calibrate)
        own = [w.astype(np.float64) for w in weights[node["name"]]]
        if node["op"] == "encode":
            value = np.repeat(taken[0], timesteps, axis=1)
        elif node["op"] == "neurons":
            distances = potentials(node, taken[0]) - node["v_threshold"]
            value, distance = (distances >= 0) * 1.0, min(distance, np.abs(distances).min())
        else:
            if training and node["op"] == "normalization":
                own[2:] = statistics(taken[0])
            value = OPERATIONS[node["op"]](node, *taken, *own)
        values.append(value)
    return values, distance


def potentials(node, currents):
    """Membrane potentials before each decision to fire."""
    u, r, found = 0.0, 0.0, []
    for current in np.moveaxis(currents, 1, 0):
        u = node["tau"] * (u - r) + current
        r = (u >= node["v_threshold"]) * (u if node["reset"] == "hard" else node["v_threshold"])
        found.append(u)
    return np.stack(found, axis=1)


def convolution(node, x, kernel, bias=0.0):
    pads, places = placed(node, x.shape)
    x, y = np.pad(x, pads), bias
    for i, j, seen in places:
        parts = [
            x[seen][..., channels] @ kernel[i, j][:, filters]
            for channels, filters in groups(node, x, kernel)
        ]
        y = y + np.concatenate(parts, axis=-1)
    return y


def placed(node, shape):
    """Padding of a convolution's input, and the places of its kernel on the padded input.

    Returns:
        Pads, as of `numpy.pad`, by what Keras documents as "same"; and a list of: row and column in
        the kernel, what these see of the input while the kernel goes over it.
    """
    pads, positions = [(0, 0)] * 5, []
    for axis, side, stride in zip((2, 3), node["size"], node["strides"], strict=True):
        length = shape[axis]
        if node["padding"] == "same":
            missing = max((-(-length // stride) - 1) * stride + side - length, 0)
            pads[axis] = (missing // 2, missing - missing // 2)
            length += missing
        last = (length - side) // stride * stride
        positions.append([slice(i, i + last + 1, stride) for i in range(side)])
    rows, columns = positions
    every = slice(None)
    return pads, [
        (i, j, (every, every, row, column))
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    ]


def groups(node, x, kernel):
    """Channels and filters of each of a convolution's groups."""
    channels, filters = x.shape[-1] // node["groups"], kernel.shape[-1] // node["groups"]
    return [
        (slice(i * channels, (i + 1) * channels), slice(i * filters, (i + 1) * filters))
        for i in range(node["groups"])
    ]


def normalization(node, x, scale, shift, mean, variance):
    scale = scale * node["alpha"] * node["v_threshold"]
    return scale * (x - mean) / np.sqrt(variance + 1e-5) + shift


def statistics(x):
    """Mean and variance of each channel."""
    flat = x.reshape(-1, x.shape[-1])
    return [flat.mean(axis=0), flat.var(axis=0)]


def cells(node, x):
    """The cells of a pool on the last axes, a view."""
    n = node["size"]
    windows = np.lib.stride_tricks.sliding_window_view(x, (n, n), axis=(2, 3), writeable=True)
    return windows[:, :, ::n, ::n]


OPERATIONS = {
    "convolution": convolution,
    "dense": lambda node, x, kernel, bias: x @ kernel + bias,
    "normalization": normalization,
    "average pool": lambda node, x: cells(node, x).mean(axis=(-2, -1)),
    "maximum pool": lambda node, x: cells(node, x).max(axis=(-2, -1)),
    "flatten": lambda node, x: x.reshape(*x.shape[:2], -1),
    "sum": lambda node, *branches: sum(branches),
    "weighted sum": lambda node, a, b, weights: weights[0] * a + weights[1] * b,
    "mean": lambda node, x: x.mean(axis=1),
}


def synaptic_operations(node, events):
    """Accumulates an image of a layer: what comes out where all weights are 1."""
    if node["op"] == "dense":
        return events.sum() * node["units"] / len(events)
    every = np.ones((*node["size"], events.shape[-1] // node["groups"], node["filters"]))
    return convolution(node, events, every).sum() / len(events)


def _drawn(node, taken, rng):
    """Weights in float32 that give outputs a mean and deviation of about a threshold of 1."""
    x = taken[0]
    if node["op"] == "convolution":
        shape = (*node["size"], x.shape[-1] // node["groups"], node["filters"])
        kernel = rng.normal(0.2, 1.0, shape)
        kernel /= convolution(node, x, kernel).std() + 1e-3
        drawn = [kernel, rng.uniform(0.0, 0.5, node["filters"])]
    elif node["op"] == "dense":
        kernel = rng.normal(0.1, 1.0, (x.shape[-1], node["units"]))
        kernel /= (x @ kernel).std() + 1e-3
        drawn = [kernel, rng.uniform(0.0, 0.5, node["units"])]
    elif node["op"] == "normalization":
        mean, variance = statistics(x)
        scale, shift = rng.uniform([[0.6], [0.0]], [[1.4], [0.6]], (2, x.shape[-1]))
        drawn = [scale, shift, mean, variance + 0.1]
    elif node["op"] == "weighted sum":
        drawn = [rng.uniform(0.3, 0.9, 2)]
    else:
        drawn = []
    return [values.astype(np.float32) for values in drawn]
