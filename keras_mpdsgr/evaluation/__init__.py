"""Honest measurement of robustness: attack suites, intervals, paired tests, obfuscation checks."""

from keras_mpdsgr.evaluation import obfuscation, plots
from keras_mpdsgr.evaluation.estimates import AttackEstimate, estimate
from keras_mpdsgr.evaluation.obfuscation import Check, Obfuscation, verdict
from keras_mpdsgr.evaluation.report import AttackRecord, Report
from keras_mpdsgr.evaluation.robustness import eot_draws, evaluate
from keras_mpdsgr.evaluation.statistics import Share, mcnemar, wilson
from keras_mpdsgr.evaluation.suites import suite
from keras_mpdsgr.evaluation.sweeps import Sweep, sweep

__all__ = [
    "AttackEstimate",
    "AttackRecord",
    "Check",
    "Obfuscation",
    "Report",
    "Share",
    "Sweep",
    "eot_draws",
    "estimate",
    "evaluate",
    "mcnemar",
    "obfuscation",
    "plots",
    "suite",
    "sweep",
    "verdict",
    "wilson",
]
