"""Norse's neurons, which take one time step a call."""

import torch
from norse.torch import LIFBoxCell, LIFBoxParameters
from torch import nn

from benchmarks.contenders.torch_network import TorchNetwork


class Norse(TorchNetwork):
    """`norse.torch.LIFBoxCell` in a loop over time, with the triangle surrogate.

    Args:
        case: The `Case`.
        **options: Those of `TorchNetwork`.
    """

    @property
    def neuron_gain(self):
        # Its membrane moves by (1 - tau) times the current.
        return 1 / (1 - self.case.tau)

    def neurons(self):
        parameters = LIFBoxParameters(
            tau_mem_inv=torch.tensor(1 - self.case.tau),
            v_th=torch.tensor(1.0),
            method="triangle",
            alpha=1.0,
        )
        return _Looped(LIFBoxCell(parameters, dt=1.0))


class _Looped(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, currents):
        state, spikes = None, []
        for current in currents:
            fired, state = self.cell(current, state)
            spikes.append(fired)
        return torch.stack(spikes)
