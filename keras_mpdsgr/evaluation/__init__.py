"""Honest measurement: attack suites, intervals, obfuscation checks, potentials beside theory."""

from keras_mpdsgr.evaluation import obfuscation, plots, potential_plots
from keras_mpdsgr.evaluation.estimates import AttackEstimate, estimate
from keras_mpdsgr.evaluation.evolution import Correlation, Evolution, correlate
from keras_mpdsgr.evaluation.gaussianity import Gaussianity, measure_gaussianity
from keras_mpdsgr.evaluation.histograms import LayerHistogram, potential_histograms
from keras_mpdsgr.evaluation.linearity import Linearity, measure_linearity
from keras_mpdsgr.evaluation.obfuscation import Check, Obfuscation, verdict
from keras_mpdsgr.evaluation.potentials import LayerPotentials, PotentialProbe
from keras_mpdsgr.evaluation.report import AttackRecord, Report
from keras_mpdsgr.evaluation.rescaling import (
    NormalizedLayer,
    changed_normalization,
    rescale_normalization,
)
from keras_mpdsgr.evaluation.robustness import eot_draws, evaluate
from keras_mpdsgr.evaluation.statistics import Share, mcnemar, wilson
from keras_mpdsgr.evaluation.suites import suite
from keras_mpdsgr.evaluation.sweeps import Sweep, sweep

__all__ = [
    "AttackEstimate",
    "AttackRecord",
    "Check",
    "Correlation",
    "Evolution",
    "Gaussianity",
    "LayerHistogram",
    "LayerPotentials",
    "Linearity",
    "NormalizedLayer",
    "Obfuscation",
    "PotentialProbe",
    "Report",
    "Share",
    "Sweep",
    "changed_normalization",
    "correlate",
    "eot_draws",
    "estimate",
    "evaluate",
    "mcnemar",
    "measure_gaussianity",
    "measure_linearity",
    "obfuscation",
    "plots",
    "potential_histograms",
    "potential_plots",
    "rescale_normalization",
    "suite",
    "sweep",
    "verdict",
    "wilson",
]
