"""Defences: ways of training, or layers of their own put into a model."""

from keras_mpdsgr.defenses.adversarial_training import AdversarialTraining
from keras_mpdsgr.defenses.base import DefendedModel, Defense, Objective, get, names, register
from keras_mpdsgr.defenses.dlif import DLIF
from keras_mpdsgr.defenses.mpd_sgr import EtaWarmup, set_regularization
from keras_mpdsgr.defenses.sparse_gradient import SparseGradient

__all__ = [
    "DLIF",
    "AdversarialTraining",
    "DefendedModel",
    "Defense",
    "EtaWarmup",
    "Objective",
    "SparseGradient",
    "get",
    "names",
    "register",
    "set_regularization",
]
