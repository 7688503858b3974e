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
    "ours_bf16": ("ours", "Ours", {"policy": "mixed_bfloat16"}),
    "ours_bf16_omega": ("ours", "Ours", {"policy": "mixed_bfloat16", "eta": 0.05}),
    "ours_n_fgsm": ("ours", "Adversarial", {"method": "n_fgsm"}),
    "ours_pgd2": ("ours", "Adversarial", {"steps": 2}),
    "ours_bf16_n_fgsm": ("ours", "Adversarial", {"method": "n_fgsm", "policy": "mixed_bfloat16"}),
    "ann": ("ann", "PlainNetwork", {}),
    "ann_bf16": ("ann", "PlainNetwork", {"policy": "mixed_bfloat16"}),
    "spikingjelly": ("spikingjelly", "SpikingJelly", {}),
    "spikingjelly_bf16": ("spikingjelly", "SpikingJelly", {"bfloat16": True}),
    "snntorch": ("snntorch", "SnnTorch", {}),
    "norse": ("norse", "Norse", {}),
}
PEERS = ("spikingjelly", "snntorch", "norse")

NAMES = tuple(_CONTENDERS)


def library(name):
    """The other library, of `PEERS`, that a contender is of; None for this one and the floor."""
    return _CONTENDERS[name][0] if _CONTENDERS[name][0] in PEERS else None


def installed(name):
    """Whether the library that a contender needs is there."""
    return library(name) is None or importlib.util.find_spec(library(name)) is not None


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
