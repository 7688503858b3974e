"""A small network of integer weights, and SpikingJelly's count of its synaptic operations.

`python tests/export/spikingjelly_counts.py`, where the extra `bench` is installed, writes
spikingjelly_counts.json beside this file. Weights are sixteenths, so that no library rounds.
"""

import json
import pathlib

import numpy as np

COUNTS = pathlib.Path(__file__).with_suffix(".json")
TIMESTEPS, IMAGES = 4, 3


def events():
    """Binary events, `(images, time, height, width, channels)`."""
    rng = np.random.default_rng(7)
    return (rng.random((IMAGES, TIMESTEPS, 9, 8, 2)) < 0.2).astype("float32")


def kernels():
    """Kernels in Keras' order: two convolutions, the second of two groups, and two dense layers."""
    rng = np.random.default_rng(8)
    shapes = {"conv1": (3, 3, 2, 6), "conv2": (3, 2, 3, 4), "dense1": (16, 12), "dense2": (12, 5)}
    sixteenths = {name: rng.integers(-8, 13, shape) for name, shape in shapes.items()}
    return {name: (values / 16).astype("float32") for name, values in sixteenths.items()}


def spikingjelly_counts():
    """Synaptic operations of each layer, summed over images and time steps."""
    import torch
    from spikingjelly.activation_based import functional, neuron
    from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter

    conv1 = torch.nn.Conv2d(2, 6, 3, padding=1, bias=False)
    conv2 = torch.nn.Conv2d(6, 4, (3, 2), stride=2, padding=(1, 0), groups=2, bias=False)
    dense1, dense2 = torch.nn.Linear(16, 12, bias=False), torch.nn.Linear(12, 5, bias=False)
    modules = {"conv1": conv1, "conv2": conv2, "dense1": dense1, "dense2": dense2}
    for name, kernel in kernels().items():
        axes = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
        modules[name].weight.data = torch.from_numpy(kernel.transpose(axes).copy())
    neurons = [neuron.IFNode(v_threshold=1.0, v_reset=0.0) for _ in range(3)]
    pool = torch.nn.MaxPool2d(2)
    counters = {name: SynOpCounter() for name in modules}
    rates = []

    def counted(name, x):
        with DispatchCounterMode([counters[name]]):
            return modules[name](x)

    with torch.no_grad():
        for step in np.moveaxis(events(), 1, 0):
            x = torch.from_numpy(step.transpose(0, 3, 1, 2).copy())
            first = neurons[0](counted("conv1", x))
            second = neurons[1](counted("conv2", pool(first)))
            # Keras flattens channels last.
            flat = second.permute(0, 2, 3, 1).reshape(IMAGES, -1)
            third = neurons[2](counted("dense1", flat))
            counted("dense2", third)
            rates.append([float(spikes.mean()) for spikes in (first, second, third)])
    functional.reset_net(torch.nn.ModuleList(neurons))
    return {
        "synaptic_operations": {name: c.get_total() for name, c in counters.items()},
        "firing_rates": [float(rate) for rate in np.mean(rates, axis=0)],
    }


if __name__ == "__main__":
    COUNTS.write_text(json.dumps(spikingjelly_counts(), indent=2) + "\n")
