"""What `fit` needs of a model: spiking layers shown as one network, objectives of defences."""

from keras_mpdsgr.fitting.defended_model import DefendedModel
from keras_mpdsgr.fitting.label_smoothing import SmoothedCrossEntropy
from keras_mpdsgr.fitting.objective import ModelInStep, Objective, TaskLoss
from keras_mpdsgr.fitting.schedules import Cyclic, learning_rate
from keras_mpdsgr.fitting.spiking_model import SpikingModel
from keras_mpdsgr.fitting.weight_average import WeightAverage, averaged

__all__ = [
    "Cyclic",
    "DefendedModel",
    "ModelInStep",
    "Objective",
    "SmoothedCrossEntropy",
    "SpikingModel",
    "TaskLoss",
    "WeightAverage",
    "averaged",
    "learning_rate",
]
