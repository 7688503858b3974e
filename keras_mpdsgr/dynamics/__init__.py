"""Spiking dynamics: the LIF recurrence, its backward passes, a way to look at its potentials."""

from keras_mpdsgr.dynamics.adaptive_modes import ASSG, PDSG, Hybrid, ReLUGradient, StraightThrough
from keras_mpdsgr.dynamics.capture import (
    CapturedLayer,
    capture_potentials,
    note_gain,
    note_normalization,
    note_passed,
)
from keras_mpdsgr.dynamics.fusion import fused_neurons, neurons_kept_in, note_repeated
from keras_mpdsgr.dynamics.gradient_modes import (
    GradientMode,
    current_mode,
    get_mode,
    gradient_mode,
    mode_names,
    refuse_scope,
    register,
)
from keras_mpdsgr.dynamics.neurons import RESETS, Neuron, Window, simulate
from keras_mpdsgr.dynamics.recurrence import WindowOutput, lif

__all__ = [
    "ASSG",
    "PDSG",
    "RESETS",
    "CapturedLayer",
    "GradientMode",
    "Hybrid",
    "Neuron",
    "ReLUGradient",
    "StraightThrough",
    "Window",
    "WindowOutput",
    "capture_potentials",
    "current_mode",
    "fused_neurons",
    "get_mode",
    "gradient_mode",
    "lif",
    "mode_names",
    "neurons_kept_in",
    "note_gain",
    "note_normalization",
    "note_passed",
    "note_repeated",
    "refuse_scope",
    "register",
    "simulate",
]
