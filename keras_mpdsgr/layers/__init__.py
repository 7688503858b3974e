"""Keras layers of spiking networks. Sequences are batch-major: `(batch, time, ...)`."""

from keras_mpdsgr.layers.branches import WeightedSum
from keras_mpdsgr.layers.encoding import (
    DirectEncoder,
    FrequencyEncoder,
    PoissonEncoder,
    SmoothingEncoder,
)
from keras_mpdsgr.layers.gains import TemporalGain
from keras_mpdsgr.layers.gating import StochasticGate
from keras_mpdsgr.layers.lif import LIFLayer
from keras_mpdsgr.layers.normalization import TDBatchNormalization
from keras_mpdsgr.layers.penalties import FiringRatePenalty, ThresholdMargin
from keras_mpdsgr.layers.recompute import Recompute
from keras_mpdsgr.layers.temporal import FoldTime, TemporalMean

__all__ = [
    "DirectEncoder",
    "FiringRatePenalty",
    "FoldTime",
    "FrequencyEncoder",
    "LIFLayer",
    "PoissonEncoder",
    "Recompute",
    "SmoothingEncoder",
    "StochasticGate",
    "TDBatchNormalization",
    "TemporalGain",
    "TemporalMean",
    "ThresholdMargin",
    "WeightedSum",
]
