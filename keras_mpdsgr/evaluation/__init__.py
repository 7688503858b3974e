"""Honest measurement: attack suites, intervals, and a probe of membrane potentials."""

from keras_mpdsgr.evaluation.potentials import LayerPotentials, PotentialProbe
from keras_mpdsgr.evaluation.report import AttackRecord, Report
from keras_mpdsgr.evaluation.robustness import evaluate
from keras_mpdsgr.evaluation.statistics import Share, wilson
from keras_mpdsgr.evaluation.suites import suite

__all__ = [
    "AttackRecord",
    "LayerPotentials",
    "PotentialProbe",
    "Report",
    "Share",
    "evaluate",
    "suite",
    "wilson",
]
