"""How much of a loss' change the input gradient predicts (Jiang et al., 2026, Eq. 8)."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from keras_mpdsgr import dynamics
from keras_mpdsgr.arguments import check_choice, check_integer, check_model
from keras_mpdsgr.attacks import Target, losses
from keras_mpdsgr.attacks.ball import ball
from keras_mpdsgr.attacks.draws import SampleDraws
from keras_mpdsgr.inputs import check_attacked, check_fits, check_radius

PERTURBATIONS = ("fgsm", "signs")


@dataclasses.dataclass(frozen=True)
class Linearity:
    """Both sides of Eq. 8 on one set of images; arrays have one entry an image.

    With d the perturbation and grad the surrogate gradient of the loss by the image,
    |L(x + d) - L(x)| <= |d * grad|_1 + g, where the residual g = |L(x + d) - L(x) - d . grad|
    (Qin et al., 2019). So written it cannot fail: it is the triangle inequality. What says
    something is how small g is.

    Attributes:
        perturbation: `"fgsm"` or `"signs"`.
        eps: Radius of the L-infinity ball.
        change: L(x + d) - L(x), of the cross-entropy.
        first_order: d . grad.
        bound: |d * grad|_1, the sum over pixels of |d_i grad_i|.
    """

    perturbation: str
    eps: float
    change: np.ndarray
    first_order: np.ndarray
    bound: np.ndarray

    @property
    def residual(self):
        """g, one an image."""
        return np.abs(self.change - self.first_order)

    @property
    def ratio(self):
        """g / |L(x + d) - L(x)|, one an image.

        0 where the gradient predicts the change, 1 where it says nothing, as a gradient of 0
        does, above where it misleads; infinite where the loss stays and the gradient says that it
        moves, NaN where both stay.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.residual / np.abs(self.change)

    def quantiles(self, shares=(0.1, 0.25, 0.5, 0.75, 0.9)):
        """Quantiles of the ratio, over images where it is a number or infinite; NaN if none is."""
        ratio = self.ratio[~np.isnan(self.ratio)]
        if not len(ratio):
            return [float("nan")] * len(shares)
        # Values that occur: between a number and infinity there is nothing to interpolate.
        return np.quantile(ratio, shares, method="inverted_cdf").tolist()

    @property
    def share_foretold(self):
        """Share of images for which the gradient predicts anything: ratio below 1."""
        return float(np.mean(self.ratio < 1.0))

    @property
    def share_within_bound(self):
        """Share of images where |L(x + d) - L(x)| <= |d * grad|_1, Eq. 8 without its residual."""
        return float(np.mean(np.abs(self.change) <= self.bound))


def measure_linearity(
    model,
    x,
    y,
    eps=(1 / 255, 2 / 255, 4 / 255, 8 / 255),
    perturbations=PERTURBATIONS,
    seed=0,
    batch_size=100,
):
    """Measures Eq. 8 on images, for several perturbations at once.

    Args:
        model: A Keras classifier of pixels in [0, 1].
        x: Images, `(n, ...)`.
        y: True labels, `(n,)`.
        eps: Radii of the L-infinity ball, in units of pixels scaled to [0, 1].
        perturbations: Of `"fgsm"`, eps times the sign of the gradient, and `"signs"`, eps times
            signs drawn at random, the same for every eps; cut to valid pixels.
        seed: Of the random signs, and of a model that draws at random, which draws the same for an
            image and for its perturbations.
        batch_size: Images at a time.

    Returns:
        A list of `Linearity`, by perturbation, then eps.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> from keras_mpdsgr import models
    >>> model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02)
    >>> x, y = np.full((4, 8, 8, 1), 0.5, "float32"), np.zeros(4, int)
    >>> rows = measure_linearity(model, x, y, eps=[2 / 255])
    >>> [(row.perturbation, row.change.shape) for row in rows]
    [('fgsm', (4,)), ('signs', (4,))]
    """
    check_model("model", model)
    x, y = check_attacked(x, y)
    check_fits(model, x, y)
    if not isinstance(eps, Iterable) or not isinstance(perturbations, Iterable):
        name, value = (
            ("perturbations", perturbations) if isinstance(eps, Iterable) else ("eps", eps)
        )
        raise ValueError(f"`{name}` must be a list. Received: {value!r}.")
    eps = [check_radius("eps", value) for value in eps]
    for perturbation in perturbations:
        check_choice("perturbations", perturbation, PERTURBATIONS)
    check_integer("seed", seed, least=0)
    batch_size = min(check_integer("batch_size", batch_size, "images", least=1), len(x))
    measure = _Measure(Target(model), seed)
    parts = {(perturbation, value): [] for perturbation in perturbations for value in eps}
    for start in range(0, len(x), batch_size):
        # Every batch is filled up, so that one shape is traced.
        chosen = np.resize(np.arange(start, min(start + batch_size, len(x))), batch_size)
        gradient, before = measure.at(x[chosen], y[chosen], start)
        signs = {"fgsm": gradient, "signs": SampleDraws(seed, chosen).uniform(x.shape[1:])}
        for perturbation, value in parts:
            step = value * tf.sign(signs[perturbation])
            moved = np.asarray(tf.clip_by_value(x[chosen] + step, *ball(x[chosen], value)))
            # In float64: the terms are many, of either sign, and cancel.
            terms = np.asarray(moved - x[chosen], np.float64) * np.asarray(gradient)
            terms = terms.reshape(batch_size, -1)
            change = measure.loss(moved, y[chosen], start) - before
            parts[perturbation, value].append((change, terms.sum(axis=1), abs(terms).sum(axis=1)))
    rows = []
    for (perturbation, value), found in parts.items():
        columns = (np.concatenate(column)[: len(x)] for column in zip(*found, strict=True))
        rows.append(Linearity(perturbation, value, *columns))
    return rows


class _Measure:
    """Loss and surrogate gradient of a batch; the same random draws for the same part."""

    def __init__(self, target, seed):
        self._target, self._seed = target, seed
        self._gradient = tf.function(self._trace_gradient, autograph=False)

    def at(self, x, y, part):
        with self._target.seeded(self._seed, part):
            gradient = self._gradient(tf.constant(x), tf.constant(y))
        return gradient, self.loss(x, y, part)

    def loss(self, x, y, part):
        with self._target.seeded(self._seed, part):
            logits = self._target.predict(x)
        loss = losses.cross_entropy(tf.constant(logits), tf.constant(y))
        return np.asarray(loss, np.float64)

    def _trace_gradient(self, x, y):
        with dynamics.gradient_mode():
            return self._target.input_gradient(x, y, losses.cross_entropy)[0]
