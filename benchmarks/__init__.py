"""Timing and memory beside a plain network and other libraries; run from a checkout.

Each contender is a process of its own, so that no library's threads, allocator or settings touch
another's; `benchmarks.timing.workers` lets them take turns.
"""

import os

# Read when TensorFlow is imported. On AMD processors it leaves oneDNN off, which costs a third.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Read when keras_mpdsgr is imported: flags are parsed before TensorFlow is.
os.environ.setdefault("KERAS_MPDSGR_IMPORT", "lazy")
