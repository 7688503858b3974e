"""Surrogate gradients: what stands in for the derivative of a spike, ds/du ~ h(u - v_th).

Every surrogate has the same `gamma`: the scale of its width, h_gamma(v) = h_1(v / gamma) / gamma.
"""

from keras_mpdsgr.surrogates.base import (
    HALF_WIDTH_SHARE_OF_PEAK,
    Surrogate,
    get,
    names,
    register,
)
from keras_mpdsgr.surrogates.shapes import (
    Arctan,
    Dspike,
    Rectangular,
    Sigmoid,
    SuperSpike,
    Triangle,
)

__all__ = [
    "HALF_WIDTH_SHARE_OF_PEAK",
    "Arctan",
    "Dspike",
    "Rectangular",
    "Sigmoid",
    "SuperSpike",
    "Surrogate",
    "Triangle",
    "get",
    "names",
    "register",
]
