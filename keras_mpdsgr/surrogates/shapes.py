"""The shapes of surrogate gradients, each at gamma = 1."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from keras_mpdsgr.surrogates.base import HALF_WIDTH_SHARE_OF_PEAK, Surrogate, register


@register("triangle")
@keras.saving.register_keras_serializable("keras_mpdsgr")
class Triangle(Surrogate):
    """h(v) = max(gamma - |v|, 0) / gamma^2 (MPD-SGR, Eq. 7); integral 1, half-width gamma."""

    unit_half_width = 1.0

    def unit_derivative(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(1.0 - tf.abs(x))


@register("rectangular")
@keras.saving.register_keras_serializable("keras_mpdsgr")
class Rectangular(Surrogate):
    """h(v) = 1 / (2 gamma), 0 for |v| >= gamma (Wu et al., 2019); integral 1, half-width gamma."""

    unit_half_width = 1.0

    def unit_derivative(self, x: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.abs(x) < 1.0, x.dtype) / 2.0


@register("sigmoid")
@keras.saving.register_keras_serializable("keras_mpdsgr")
class Sigmoid(Surrogate):
    """h_1(v) = k sig(k v) (1 - sig(k v)) (Roy et al., 2019); integral 1.

    Args:
        gamma, half_width: See `Surrogate`; the half-width is 2 gamma arcosh(sqrt(10)) / k.
        sharpness: k, positive; 4 in the code of SR (Liu et al., 2024).
    """

    sharpness: float
    parameters = {"sharpness": 4.0}
    unit_half_width = property(
        lambda self: 2.0 * math.acosh(HALF_WIDTH_SHARE_OF_PEAK**-0.5) / self.sharpness
    )

    def unit_derivative(self, x: tf.Tensor) -> tf.Tensor:
        k = self.sharpness
        return k * tf.sigmoid(k * x) * tf.sigmoid(-k * x)  # 1 - sig(k x) would round to 0


@register("superspike")
@keras.saving.register_keras_serializable("keras_mpdsgr")
class SuperSpike(Surrogate):
    """h_1(v) = 1 / (1 + beta |v|)^2 (Zenke & Ganguli, 2018); integral 2 / beta, not 1.

    Args:
        gamma, half_width: See `Surrogate`; the half-width is gamma (sqrt(10) - 1) / beta.
        beta: Steepness, positive.
    """

    beta: float
    parameters = {"beta": 10.0}
    unit_half_width = property(lambda self: (HALF_WIDTH_SHARE_OF_PEAK**-0.5 - 1.0) / self.beta)

    def unit_derivative(self, x: tf.Tensor) -> tf.Tensor:
        return tf.square(1.0 / (1.0 + self.beta * tf.abs(x)))


@register("arctan")
@keras.saving.register_keras_serializable("keras_mpdsgr")
class Arctan(Surrogate):
    """h_1(v) = (a / 2) / (1 + (pi a v / 2)^2) (Fang et al., 2021); integral 1.

    Args:
        gamma, half_width: See `Surrogate`; the half-width is 6 gamma / (pi a).
        alpha: Sharpness a, positive; the peak of h_1 is a / 2.
    """

    alpha: float
    parameters = {"alpha": 2.0}
    unit_half_width = property(
        lambda self: 2.0 * math.sqrt(1.0 / HALF_WIDTH_SHARE_OF_PEAK - 1.0) / (math.pi * self.alpha)
    )

    def unit_derivative(self, x: tf.Tensor) -> tf.Tensor:
        a = self.alpha
        return a / 2.0 / (1.0 + tf.square(math.pi / 2.0 * a * x))


@register("dspike")
@keras.saving.register_keras_serializable("keras_mpdsgr")
class Dspike(Surrogate):
    """h_1(v) = b sech^2(b v / 2) / (4 tanh(b / 2)) for |v| < 1 (Li et al., 2021); integral 1.

    The derivative of a hyperbolic tangent that runs from 0 to 1 over the window; the paper's own
    window, one unit wide, is gamma = 0.5. It nears the rectangle as b falls to 0, and the spike's
    true derivative as b grows.

    Args:
        gamma, half_width: See `Surrogate`; the half-width is gamma, the exact support.
        temperature: b, positive; 3 at the start of the paper's runs.
    """

    temperature: float
    parameters = {"temperature": 3.0}
    unit_half_width = 1.0

    def unit_derivative(self, x: tf.Tensor) -> tf.Tensor:
        b = self.temperature
        inside = tf.cast(tf.abs(x) < 1.0, x.dtype)
        # sech^2 by the logistic function: cosh would overflow far from the threshold.
        bump = 4.0 * tf.sigmoid(b * x) * tf.sigmoid(-b * x)
        return inside * bump * b / (4.0 * tf.tanh(b / 2.0))
