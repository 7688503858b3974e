"""Who takes part in a comparison, each by its name."""

import importlib
import importlib.util

# Name: module, class, keyword arguments.
_CONTENDERS: dict[str, tuple[str, str, dict]] = {
    "ours": ("ours", "Ours", {}),
    "ours_tracked": ("ours", "Ours", {"track_omega": True}),
    "ours_omega": ("ours", "Ours", {"eta": 0.05}),
    "ours_omega_analytic": ("ours", "Ours", {"eta": 0.05, "omega_form": "analytic"}),
    "ours_recompute": ("ours", "Ours", {"recompute": True}),
    "ann": ("ann", "PlainNetwork", {}),
    "spikingjelly": ("spikingjelly", "SpikingJelly", {}),
    "snntorch": ("snntorch", "SnnTorch", {}),
    "norse": ("norse", "Norse", {}),
}
PEERS = ("spikingjelly", "snntorch", "norse")

NAMES = tuple(_CONTENDERS)


def installed(name):
    """Whether the library that a contender needs is there."""
    return name not in PEERS or importlib.util.find_spec(name) is not None


def load_library(name):
    """Imports what a contender needs, without building it."""
    return importlib.import_module(f"{__name__}.{_CONTENDERS[name][0]}")


def make(name, case, **options):
    """Builds a contender.

    Args:
        name: One of `NAMES`.
        case: The `Case`.
        **options: More arguments of its class.
    """
    _, kind, fixed = _CONTENDERS[name]
    return getattr(load_library(name), kind)(case, **{**fixed, **options})
