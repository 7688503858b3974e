"""The plain twin of a spiking network: ReLU for its neurons, and no time."""

import keras

from keras_mpdsgr.arguments import check_choice
from keras_mpdsgr.models.blocks import Blocks

NEURONS = ("lif", "relu")

# What only spiking neurons have, as the builders have it by default.
_SPIKING = {
    "timesteps": 8,
    "coding": "direct",
    "coding_options": None,
    "surrogate": "triangle",
    "gamma": 1.0,
    "tau": 1.0,
    "eta": 0.0,
    "before_neurons": None,
    "after_neurons": None,
}


def blocks_of(neuron):
    """The class of blocks that a network of these neurons is made of.

    Raises:
        ValueError: If there are no such neurons.
    """
    return PlainBlocks if check_choice("neuron", neuron, NEURONS) == "relu" else Blocks


class PlainBlocks(Blocks):
    """Blocks of a network without spikes: images pass once, and each neuron is a ReLU.

    With a threshold and an alpha of 1, and without a time axis, tdBN is batch normalization.

    Args:
        layers: Not used; the layers of neurons share no eta.
        timesteps: Not used.
        recompute: As of `Blocks`.
        **spiking: What only spiking neurons have, at the builders' defaults.

    Raises:
        ValueError: If one of these is not at its default.
    """

    def __init__(self, layers, timesteps, /, *, recompute=False, **spiking):
        del layers
        given = {"timesteps": timesteps, **spiking}
        refused = [k for k, v in given.items() if k not in _SPIKING or v != _SPIKING[k]]
        if refused:
            raise ValueError(
                '`neuron` "relu" makes a network without membrane potentials and without time, '
                f"which has no {', '.join(refused)}. Leave them out."
            )
        super().__init__(1, 1, recompute=recompute)

    def neurons(self, x, name, number=""):
        """A ReLU, `{name}_relu{number}`."""
        return keras.layers.ReLU(name=f"{name}_relu{number}")(x)

    def logits(self, x):
        """The read-out's outputs, in float32 under mixed precision too."""
        return keras.layers.Activation("linear", dtype="float32", name="logits")(x)
