"""Defences: ways of training, or layers of their own put into a model."""

from keras_mpdsgr.defenses.mpd_sgr import EtaWarmup, set_regularization

__all__ = ["EtaWarmup", "set_regularization"]
