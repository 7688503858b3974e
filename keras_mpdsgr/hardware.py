"""Whether the devices that TensorFlow computes on have instructions for bfloat16."""

import os
import pathlib

_CPUINFO = pathlib.Path("/proc/cpuinfo")
# Linux' names of the processor's features, and the usual ones.
_PROCESSOR = {"avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX-BF16"}
# NVIDIA's Ampere, the first with tensor cores for bfloat16.
_CAPABILITY = (8, 0)


def bfloat16_instructions(cpuinfo=None, capabilities=None):
    """What computes in bfloat16 here, in words; None where float32 is as fast or faster.

    Where there are GPUs, the networks run on them, and the processor is not looked at; all of them
    must have compute capability 8.0 or more. A processor must have AVX512-BF16 or AMX-BF16, which
    oneDNN uses: where TF_ENABLE_ONEDNN_OPTS=0 switches oneDNN off, there is nothing.

    Args:
        cpuinfo: Text of /proc/cpuinfo; None for this machine's.
        capabilities: Compute capability of each GPU, pairs as `(8, 0)`, None for one that has none;
            None for those that TensorFlow sees.

    Example:

    >>> bfloat16_instructions("flags : fpu avx512_bf16", capabilities=[])
    'AVX512-BF16'
    >>> bfloat16_instructions("flags : fpu avx512_bf16", capabilities=[(7, 5)]) is None
    True
    """
    if capabilities is None:
        capabilities = _gpu_capabilities()
    if capabilities:
        least = min(capability or (0, 0) for capability in capabilities)
        told = f"GPU of compute capability {least[0]}.{least[1]}"
        return told if least >= _CAPABILITY else None
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        return None
    features = _features(_cpuinfo() if cpuinfo is None else cpuinfo)
    return next((told for name, told in _PROCESSOR.items() if name in features), None)


def _features(cpuinfo):
    for line in cpuinfo.splitlines():
        name, _, values = line.partition(":")
        if name.strip() == "flags":
            return values.split()
    return []


def _cpuinfo():
    try:
        return _CPUINFO.read_text()
    except OSError:  # not Linux
        return ""


def _gpu_capabilities():
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    return [
        details(gpu).get("compute_capability") for gpu in tf.config.list_physical_devices("GPU")
    ]
