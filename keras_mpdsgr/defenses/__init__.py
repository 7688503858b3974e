"""Defences: ways of training, or layers of their own put into a model."""

from keras_mpdsgr.defenses.adversarial_training import AdversarialTraining
from keras_mpdsgr.defenses.base import DefendedModel, Defense, Objective, get, names, register
from keras_mpdsgr.defenses.mpd_sgr import EtaWarmup, set_regularization

__all__ = [
    "AdversarialTraining",
    "DefendedModel",
    "Defense",
    "EtaWarmup",
    "Objective",
    "get",
    "names",
    "register",
    "set_regularization",
]
