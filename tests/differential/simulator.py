"""Random small networks as plain data, and their simulation in NumPy and float64.

A network is a list of nodes, dictionaries with `op`, `name` (of the layer: two nodes of one name
share it), `takes` (numbers of the nodes they take; 0 is the input) and options. Arrays are
`(batch, time, height, width, channels)` or `(batch, time, features)`; before the encoder time is 1.
"""

import numpy as np


def simulate(nodes, x, timesteps, weights, calibrate=None):
    """Values of all nodes, and the least distance of a potential from its threshold.

    Args:
        nodes: The network.
        x: The input, with a time axis.
        timesteps: Length of the window that an encoder makes.
        weights: Of layers, by name: lists of arrays in Keras' order.
        calibrate: A `numpy.random.Generator` that draws the weights, to which currents of about the
            threshold answer; they are written into `weights`.
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
            value, nearest = neurons(node, taken[0])
            distance = min(distance, nearest)
        else:
            value = OPERATIONS[node["op"]](node, *taken, *own)
        values.append(value)
    return values, distance


def neurons(node, currents):
    u, r, spikes, nearest = 0.0, 0.0, [], np.inf
    for current in np.moveaxis(currents, 1, 0):
        u = node["tau"] * (u - r) + current
        fired = (u >= node["v_threshold"]).astype(np.float64)
        r = fired * (u if node["reset"] == "hard" else node["v_threshold"])
        nearest = min(nearest, np.abs(u - node["v_threshold"]).min())
        spikes.append(fired)
    return np.stack(spikes, axis=1), nearest


def convolution(node, x, kernel, bias=0.0):
    """Placed by loops over the kernel, the padding as Keras documents "same"."""
    (ky, kx), (sy, sx), groups = node["size"], node["strides"], node["groups"]
    height, width = x.shape[2:4]
    if node["padding"] == "same":
        rows = max((-(-height // sy) - 1) * sy + ky - height, 0)
        columns = max((-(-width // sx) - 1) * sx + kx - width, 0)
        pads = [(rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)]
        x = np.pad(x, [(0, 0), (0, 0), *pads, (0, 0)])
        height, width = x.shape[2:4]
    rows, columns = (height - ky) // sy + 1, (width - kx) // sx + 1
    inputs, outputs = np.split(np.arange(x.shape[-1]), groups), kernel.shape[-1] // groups
    y = np.zeros((*x.shape[:2], rows, columns, kernel.shape[-1])) + bias
    for i in range(ky):
        for j in range(kx):
            seen = x[:, :, i : i + rows * sy : sy, j : j + columns * sx : sx][:, :, :rows, :columns]
            for group, channels in enumerate(inputs):
                own = slice(group * outputs, (group + 1) * outputs)
                y[..., own] += seen[..., channels] @ kernel[i, j][:, own]
    return y


def normalization(node, x, scale, shift, mean, variance):
    return scale * node["v_threshold"] * (x - mean) / np.sqrt(variance + 1e-5) + shift


def cells(node, x):
    """The cells of a pool on the last axes."""
    n = node["size"]
    rows, columns = x.shape[2] // n, x.shape[3] // n
    x = x[:, :, : rows * n, : columns * n]
    x = x.reshape(*x.shape[:2], rows, n, columns, n, x.shape[-1])
    return np.moveaxis(x, (3, 5), (-2, -1))


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
        flat = x.reshape(-1, x.shape[-1])
        scale, shift = rng.uniform([[0.6], [0.0]], [[1.4], [0.6]], (2, x.shape[-1]))
        drawn = [scale, shift, flat.mean(axis=0), flat.var(axis=0) + 0.1]
    elif node["op"] == "weighted sum":
        drawn = [rng.uniform(0.3, 0.9, 2)]
    else:
        drawn = []
    return [values.astype(np.float32) for values in drawn]
