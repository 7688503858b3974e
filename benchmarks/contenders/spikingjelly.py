"""SpikingJelly's neurons, in multi-step mode."""

from spikingjelly.activation_based import functional, neuron, surrogate
from torch import nn

from benchmarks.contenders.torch_network import TorchNetwork


class SpikingJelly(TorchNetwork):
    """`neuron.LIFNode` over the whole window at once, with the triangle surrogate.

    Args:
        case: The `Case`.
        **options: Those of `TorchNetwork`.
    """

    def neurons(self):
        return _FromRest(
            neuron.LIFNode(
                tau=1 / (1 - self.case.tau),
                decay_input=False,
                v_threshold=1.0,
                v_reset=0.0,
                surrogate_function=surrogate.PiecewiseQuadratic(alpha=1.0),
                step_mode="m",
            )
        )


class _FromRest(nn.Module):
    def __init__(self, neurons):
        super().__init__()
        self.neurons = neurons

    def forward(self, currents):
        functional.reset_net(self.neurons)
        return self.neurons(currents)
