"""Whether a contender computes what this library does, stage by stage.

Each stage is given this library's own spikes, so that one spike that rounding flips in an early
layer does not change what later layers are asked.
"""

import numpy as np

IMAGES = 2
NEAR = 1e-4
# Of float32 sums over some thousands of inputs, relative to the largest current of the stage.
_CURRENT_TOLERANCE = 1e-4
# bfloat16 keeps 8 bits: of weights, of inputs, of the sum, of what tdBN gives.
_BFLOAT16_TOLERANCE = 2e-2


def share(ours, path):
    """Writes weights, some images and each layer's currents and spikes to an `.npz` file.

    Args:
        ours: An `Ours`.
        path: The file.
    """
    ours.settle()
    images = ours.images[:IMAGES]
    layers, logits = ours.activity(images)
    arrays = {f"weights/{name}": value for name, value in ours.weights().items()}
    for number, (currents, spikes) in enumerate(layers):
        arrays |= {f"currents/{number}": currents, f"spikes/{number}": spikes}
    np.savez(path, images=images, logits=logits, **arrays)


def weights_in(arrays):
    """The weights in such a file, by name."""
    prefix = "weights/"
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}


def compare(peer, arrays):
    """Compares a contender that has the weights with what this library computed.

    Args:
        peer: A `Peer`.
        arrays: The file's arrays.

    Returns:
        A dictionary: `stages`, `spikes` (neurons times time steps), `near_spikes` and `far_spikes`
        (those that differ, with a potential within `near` of the threshold, and others),
        `largest_current_error` and `allowed_current_error`, relative to a stage's largest current.
        `near` is `NEAR`, or what bfloat16 allows to a contender that computes in it.
    """
    layers = sum(name.startswith("currents/") for name in arrays)
    inputs, error = arrays["images"], 0.0
    # Of potentials of about 1.
    within = _BFLOAT16_TOLERANCE if peer.is_bfloat16 else NEAR
    found = {"stages": layers + 1, "spikes": 0, "near_spikes": 0, "far_spikes": 0, "near": within}
    for number in range(layers):
        expected = arrays[f"currents/{number}"]
        error = max(error, _relative(peer.currents(number, inputs), expected))
        inputs = arrays[f"spikes/{number}"]
        answer = peer.spikes(number, expected)
        if answer is not None:
            different = answer != inputs
            near = np.abs(_potentials(expected, inputs, peer.case.tau) - 1.0) < within
            found["spikes"] += inputs.size
            found["near_spikes"] += int((different & near).sum())
            found["far_spikes"] += int((different & ~near).sum())
    logits = peer.currents(layers, inputs).mean(axis=1)
    found["largest_current_error"] = max(error, _relative(logits, arrays["logits"]))
    found["allowed_current_error"] = _BFLOAT16_TOLERANCE if peer.is_bfloat16 else _CURRENT_TOLERANCE
    return found


def _relative(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _potentials(currents, spikes, tau):
    """Membrane potentials by the definition, from currents and the spikes that were fired."""
    potentials, carried = np.empty_like(currents), 0.0
    for t in range(currents.shape[1]):
        potentials[:, t] = tau * carried + currents[:, t]
        carried = potentials[:, t] * (1.0 - spikes[:, t])
    return potentials
