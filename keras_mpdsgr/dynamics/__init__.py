"""Spiking dynamics: the LIF recurrence, its backward passes, and a way to look at its potentials."""

from keras_mpdsgr.dynamics.capture import CapturedLayer, capture_potentials, note_normalization
from keras_mpdsgr.dynamics.gradient_modes import (
    GradientMode,
    current_mode,
    get_mode,
    gradient_mode,
    mode_names,
    refuse_scope,
    register,
)
from keras_mpdsgr.dynamics.recurrence import RESETS, Neuron, Window, WindowOutput, lif, simulate

__all__ = [
    "RESETS",
    "CapturedLayer",
    "GradientMode",
    "Neuron",
    "Window",
    "WindowOutput",
    "capture_potentials",
    "current_mode",
    "get_mode",
    "gradient_mode",
    "lif",
    "mode_names",
    "note_normalization",
    "refuse_scope",
    "register",
    "simulate",
]
