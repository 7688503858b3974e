"""The machine and the versions that a figure was measured with."""

import importlib.metadata
import os
import platform
import subprocess

PACKAGES = ("tensorflow", "keras", "numpy", "torch", "spikingjelly", "snntorch", "norse")


def describe():
    """Processor, cores, memory, system and versions, a dictionary."""
    gpu, driver = _graphics_processor()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": gpu,
        "gpu_driver": driver,
        "python": platform.python_version(),
        **{name: version for name in PACKAGES if (version := _version(name))},
    }


def _graphics_processor():
    """Name of the first GPU and version of its driver, by the driver's own tool; None for none."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        name, driver = said.stdout.strip().splitlines()[0].rsplit(", ", 1)
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return None, None
    return name, driver


def _processor():
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
