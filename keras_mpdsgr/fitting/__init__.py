"""What `fit` needs of a model: spiking layers shown as one network, objectives of defences."""

from keras_mpdsgr.fitting.defended_model import DefendedModel
from keras_mpdsgr.fitting.objective import Objective, TaskLoss
from keras_mpdsgr.fitting.spiking_model import SpikingModel

__all__ = ["DefendedModel", "Objective", "SpikingModel", "TaskLoss"]
