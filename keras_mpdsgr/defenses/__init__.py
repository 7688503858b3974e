"""Defences: ways of training, or layers of their own put into a model."""

from keras_mpdsgr.defenses.adversarial_training import AdversarialTraining
from keras_mpdsgr.defenses.base import Defense, names, register
from keras_mpdsgr.defenses.combined import Combined, get
from keras_mpdsgr.defenses.dlif import DLIF
from keras_mpdsgr.defenses.feel import FEEL
from keras_mpdsgr.defenses.firing_rate import FiringRate
from keras_mpdsgr.defenses.mpd_sgr import MPDSGR, EtaWarmup, set_regularization
from keras_mpdsgr.defenses.sparse_gradient import SparseGradient
from keras_mpdsgr.defenses.stochastic_gating import FreezeGates, StochasticGating
from keras_mpdsgr.defenses.threshold_guarding import CosineRise, ThresholdGuarding
from keras_mpdsgr.defenses.weight_decay import weight_decay
from keras_mpdsgr.defenses.weight_perturbation import AdversarialWeightPerturbation
from keras_mpdsgr.defenses.weight_regularization import WeightRegularization
from keras_mpdsgr.fitting import DefendedModel, Objective, WeightAverage, averaged

__all__ = [
    "DLIF",
    "FEEL",
    "MPDSGR",
    "AdversarialTraining",
    "AdversarialWeightPerturbation",
    "Combined",
    "CosineRise",
    "DefendedModel",
    "Defense",
    "EtaWarmup",
    "FiringRate",
    "FreezeGates",
    "Objective",
    "SparseGradient",
    "StochasticGating",
    "ThresholdGuarding",
    "WeightAverage",
    "WeightRegularization",
    "averaged",
    "get",
    "names",
    "register",
    "set_regularization",
    "weight_decay",
]
