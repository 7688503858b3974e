"""Command-line programs: each a thin absl application over `trainers.experiment`."""

import os

# Read when TensorFlow is imported. On AMD processors it leaves oneDNN off, which costs a third.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
