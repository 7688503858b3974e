"""Experiments: a typed configuration, training that can be cut off anywhere, runs read back."""
