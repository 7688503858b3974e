"""Search for eta and gamma with KerasTuner, by a robustness that no trial can fake."""

from keras_mpdsgr.tuning.hyper_model import MPDSGRHyperModel
from keras_mpdsgr.tuning.objective import SCORES, RobustObjective
from keras_mpdsgr.tuning.pareto import pareto_front, plot_trade_off
from keras_mpdsgr.tuning.search_space import SearchSpace

__all__ = [
    "SCORES",
    "MPDSGRHyperModel",
    "RobustObjective",
    "SearchSpace",
    "pareto_front",
    "plot_trade_off",
]
