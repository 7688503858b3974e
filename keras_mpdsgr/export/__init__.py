"""Trained networks for other runtimes and hardware, and from them; streams, energy."""

from keras_mpdsgr.export.artifacts import to_onnx, to_saved_model
from keras_mpdsgr.export.neurobench import NeuroBench, SynapticOperations
from keras_mpdsgr.export.nir_graph import to_nir
from keras_mpdsgr.export.nir_import import from_nir
from keras_mpdsgr.export.stream import StreamingModel, streaming
from keras_mpdsgr.export.synops import EnergyReport, LayerEnergy, energy

__all__ = [
    "EnergyReport",
    "LayerEnergy",
    "NeuroBench",
    "StreamingModel",
    "SynapticOperations",
    "energy",
    "from_nir",
    "streaming",
    "to_nir",
    "to_onnx",
    "to_saved_model",
]
