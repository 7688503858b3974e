"""Honest measurement: attack suites, intervals, obfuscation checks, a probe of potentials."""

from keras_mpdsgr.evaluation import obfuscation, plots
from keras_mpdsgr.evaluation.obfuscation import Check, Obfuscation, verdict
from keras_mpdsgr.evaluation.potentials import LayerPotentials, PotentialProbe
from keras_mpdsgr.evaluation.report import AttackRecord, Report
from keras_mpdsgr.evaluation.robustness import eot_draws, evaluate
from keras_mpdsgr.evaluation.statistics import Share, mcnemar, wilson
from keras_mpdsgr.evaluation.suites import suite
from keras_mpdsgr.evaluation.sweeps import Sweep, sweep

__all__ = [
    "AttackRecord",
    "Check",
    "LayerPotentials",
    "Obfuscation",
    "PotentialProbe",
    "Report",
    "Share",
    "Sweep",
    "eot_draws",
    "evaluate",
    "mcnemar",
    "obfuscation",
    "plots",
    "suite",
    "sweep",
    "verdict",
    "wilson",
]
