"""Command-line programs: each a thin absl application over `keras_mpdsgr.experiments`."""

import os

# Read when TensorFlow is imported. On AMD processors it leaves oneDNN off, which costs a third.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Read when keras_mpdsgr is imported: flags are parsed before TensorFlow is.
os.environ.setdefault("KERAS_MPDSGR_IMPORT", "lazy")
