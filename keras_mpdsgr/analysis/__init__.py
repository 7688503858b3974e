"""Membrane potentials of a trained network, and the paper's theory beside them."""

from keras_mpdsgr.analysis import potential_plots, theory_tables
from keras_mpdsgr.analysis.evolution import Correlation, Evolution, correlate
from keras_mpdsgr.analysis.gaussianity import Gaussianity, measure_gaussianity
from keras_mpdsgr.analysis.histograms import LayerHistogram, potential_histograms
from keras_mpdsgr.analysis.linearity import Linearity, measure_linearity
from keras_mpdsgr.analysis.potentials import LayerPotentials, PotentialProbe
from keras_mpdsgr.analysis.rescaling import (
    NormalizedLayer,
    changed_normalization,
    rescale_normalization,
)

__all__ = [
    "Correlation",
    "Evolution",
    "Gaussianity",
    "LayerHistogram",
    "LayerPotentials",
    "Linearity",
    "NormalizedLayer",
    "PotentialProbe",
    "changed_normalization",
    "correlate",
    "measure_gaussianity",
    "measure_linearity",
    "potential_histograms",
    "potential_plots",
    "rescale_normalization",
    "theory_tables",
]
