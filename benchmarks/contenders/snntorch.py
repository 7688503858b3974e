"""SnnTorch's neurons, which take one time step a call."""

import snntorch
import torch
from snntorch import surrogate
from torch import nn

from benchmarks.contenders.torch_network import TorchNetwork


class SnnTorch(TorchNetwork):
    """`snntorch.Leaky` in a loop over time.

    Its surrogate is arctan's: its own `triangular` is of another form than the other libraries'.

    Args:
        case: The `Case`.
        **options: Those of `TorchNetwork`.
    """

    def neurons(self):
        return _Looped(
            snntorch.Leaky(
                beta=self.case.tau,
                threshold=1.0,
                spike_grad=surrogate.atan(),
                reset_mechanism="zero",
                reset_delay=False,
            )
        )


class _Looped(nn.Module):
    def __init__(self, neurons):
        super().__init__()
        self.neurons = neurons

    def forward(self, currents):
        membrane = torch.zeros_like(currents[0])
        spikes = []
        for current in currents:
            fired, membrane = self.neurons(current, membrane)
            spikes.append(fired)
        return torch.stack(spikes)
