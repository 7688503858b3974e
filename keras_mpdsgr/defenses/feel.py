"""FEEL: frequency encoding and leak factors learned for each time step (Xu et al., 2024)."""

from keras_mpdsgr.defenses.base import Defense, register


@register
class FEEL(Defense):
    """Frequency encoding with evolutionary leak factors (FEEL; Xu et al., 2024).

    Each time step sees the image through another low-pass mask, and each layer of neurons learns a
    leak factor for each time step. Both are options of the network; training is as usual. The
    public code learns a leak factor for each neuron of the feature map besides; here one value a
    layer and time step.

    Example:

    >>> FEEL().model_options(timesteps=8)
    {'coding': 'frequency', 'learn_tau': 'time'}
    """

    name = "feel"
    needs_spikes = True

    def model_options(self, timesteps):
        return {"coding": "frequency", "learn_tau": "time"}
