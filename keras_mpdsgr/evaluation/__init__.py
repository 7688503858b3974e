"""Honest measurement of robustness: attack suites, intervals, paired tests, obfuscation checks."""

from keras_mpdsgr.evaluation import obfuscation, plots
from keras_mpdsgr.evaluation.checks import Check, Explanation, explain, verdict
from keras_mpdsgr.evaluation.comparison import Comparison
from keras_mpdsgr.evaluation.estimates import AttackEstimate, estimate
from keras_mpdsgr.evaluation.obfuscation import Obfuscation
from keras_mpdsgr.evaluation.records import AttackRecord, describe
from keras_mpdsgr.evaluation.report import Report, image_hash
from keras_mpdsgr.evaluation.robustness import eot_draws, evaluate
from keras_mpdsgr.evaluation.statistics import (
    Difference,
    PairedTest,
    Share,
    Spread,
    mcnemar,
    paired_difference,
    wilson,
)
from keras_mpdsgr.evaluation.suites import suite
from keras_mpdsgr.evaluation.sweeps import Sweep, sweep

__all__ = [
    "AttackEstimate",
    "AttackRecord",
    "Check",
    "Comparison",
    "Difference",
    "Explanation",
    "Obfuscation",
    "PairedTest",
    "Report",
    "Share",
    "Spread",
    "Sweep",
    "describe",
    "eot_draws",
    "estimate",
    "evaluate",
    "explain",
    "image_hash",
    "mcnemar",
    "obfuscation",
    "paired_difference",
    "plots",
    "suite",
    "sweep",
    "verdict",
    "wilson",
]
