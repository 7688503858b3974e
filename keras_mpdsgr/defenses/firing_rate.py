"""The control for MPD-SGR: a penalty on the mean firing rate of the whole network."""

from keras_mpdsgr import keras_internals
from keras_mpdsgr.arguments import check_model, check_number
from keras_mpdsgr.defenses.base import Defense, register
from keras_mpdsgr.defenses.mpd_sgr import EtaWarmup
from keras_mpdsgr.layers import FiringRatePenalty


@register
class FiringRate(Defense):
    """Adds `weight * mean over layers of the mean firing rate` to the loss.

    MPD-SGR lowers Omega in part by making neurons fire less. This defence does only that, so that
    the difference between the two is what Omega gives beyond fewer spikes.

    Args:
        weight: Weight of the mean firing rate, not negative.

    Raises:
        ValueError: If `weight` is not a number of at least 0.

    Example:

    >>> put_behind = FiringRate(weight=0.5).model_options(timesteps=8)["after_neurons"]
    >>> put_behind("conv1_lif").name
    'conv1_lif_rate'
    """

    name = "rate"
    needs_spikes = True

    def __init__(self, weight=0.05):
        self.weight = check_number("weight", weight, "weight of the mean firing rate", least=0)

    def model_options(self, timesteps):
        def put_behind(name):
            return FiringRatePenalty(self.weight, name=f"{name}_rate")

        return {"after_neurons": put_behind}

    def prepare(self, model):
        """Gives each of the L penalties `weight / L`, so that the sum is a mean over layers."""
        check_model("model", model)
        layers = keras_internals.all_layers(model)
        found = [layer for layer in layers if isinstance(layer, FiringRatePenalty)]
        if not found:
            raise ValueError(
                f"`model` must hold a FiringRatePenalty behind its neurons. Received: "
                f"{model.name!r}. Build it with the defence's `model_options`."
            )
        for layer in found:
            layer.weight = self.weight / len(found)

    def callbacks(self, total_steps, warmup_steps=0):
        return [EtaWarmup(warmup_steps)]
