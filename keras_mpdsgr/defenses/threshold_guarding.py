"""TGO: potentials kept away from the threshold, and noisy neurons (arXiv 2602.20548)."""

import math

import keras

from keras_mpdsgr.arguments import check_number
from keras_mpdsgr.defenses.base import Defense, register
from keras_mpdsgr.defenses.mpd_sgr import EtaWarmup
from keras_mpdsgr.layers import ThresholdMargin


@register
class ThresholdGuarding(Defense):
    """Threshold-guarding optimization, TGO (arXiv 2602.20548).

    The loss is `CE + lambda * sum over layers of C_l`, C_l the mean over batch, time and neurons of
    `max(0, delta - |u - v_th|)` (`layers.ThresholdMargin`). Over the whole training lambda rises
    along half a cosine, `initial + (weight - initial) (1 - cos(pi k / K)) / 2` at step k of K. In
    training the membrane potentials get Gaussian noise at each time step, with the current, before
    they are compared with the threshold.

    The paper gives neither delta nor the noise's deviation, nor the value that lambda starts from:
    these defaults are choices. With `delta` equal to the gamma of a triangle, C_l is gamma^2 times
    the mean surrogate gradient.

    Args:
        weight: Value of lambda at the end, not negative: 0.6 for VGG11 and 0.4 for WRN16 in the
            paper.
        delta: Margin around the threshold, positive, in units of membrane potential.
        noise: Standard deviation of the noise, in [0, 1], in units of membrane potential.
        initial: Value of lambda at the first step, in [0, weight].

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> TGO = ThresholdGuarding(weight=0.4, delta=0.5)
    >>> TGO.model_options(timesteps=4)["membrane_regularizer"].get_config()
    {'margin': 0.5, 'weight': 0.4}
    """

    name = "tgo"
    needs_spikes = True

    def __init__(self, weight=0.6, delta=1.0, noise=0.1, initial=0.0):
        self.weight = check_number("weight", weight, "weight of the penalty at the end", least=0)
        self.delta = check_number("delta", delta, "margin around the threshold", above=0)
        self.noise = check_number("noise", noise, "deviation of the noise", least=0, most=1)
        self.initial = check_number(
            "initial", initial, "weight of the penalty at first", least=0, most=self.weight
        )

    def model_options(self, timesteps):
        options: dict[str, object] = {
            "membrane_regularizer": ThresholdMargin(self.delta, self.weight)
        }
        if self.noise > 0:
            options["before_neurons"] = self._noise
        return options

    def callbacks(self, total_steps, warmup_steps=0):
        share = self.initial / self.weight if self.weight > 0 else 0.0
        return [CosineRise(total_steps, share)]

    def _noise(self, name):
        return keras.layers.GaussianNoise(self.noise, name=f"{name}_noise")


class CosineRise(EtaWarmup):
    """As `EtaWarmup`, along half a cosine and from a share of the full value.

    Args:
        steps: Number of optimizer steps to full weight; 0 for none.
        share: Of the full weight at the first step, in [0, 1].

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> rise = CosineRise(steps=4, share=0.5)
    >>> [round(rise.factor(step), 3) for step in range(5)]
    [0.5, 0.573, 0.75, 0.927, 1.0]
    """

    def __init__(self, steps, share=0.0):
        super().__init__(steps)
        self.share = check_number("share", share, "of the weight at first", least=0, most=1)

    def factor(self, iterations):
        done = super().factor(iterations)
        return self.share + (1.0 - self.share) * (1.0 - math.cos(math.pi * done)) / 2.0
