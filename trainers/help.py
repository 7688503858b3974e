"""The text of `--help`: a program's flags by topic, the most used first."""

import shutil
import textwrap

from absl import flags

OPTIMISATION = "optimisation"
# One table for all programs, which show the topics that they have flags of.
TOPICS = {
    "what to do": (
        "recipe", "table", "figure", "study", "rows", "scale", "seeds", "max_trials", "algorithm",
        "objective", "eta_range", "gamma_range", "tau_range", "surrogates", "clean_weight",
        "clean_floor", "validation_share", "search_images", "search_steps", "compare", "reports",
        "top", "histograms", "retrain", "dry_run",
    ),
    "data and folders": (
        "dataset", "data_dir", "run_dir", "model_file", "output", "out", "results_dir",
        "tiny_imagenet_dir", "limit", "limit_train", "limit_test", "image_size", "augment",
    ),
    "network": (
        "model", "width", "timesteps", "neuron", "surrogate", "gamma", "surrogate_options", "tau",
        "coding", "coding_options", "reset", "detach_reset", "learn_tau", "learn_gamma",
    ),
    "defence": ("defense", "eta", "eta_warmup", "omega_form", "defense_options"),
    "adversarial training": (
        "adversarial_training", "adversarial_eps", "adversarial_method", "adversarial_loss",
        "adversarial_steps", "adversarial_step_size", "adversarial_gradient", "adversarial_warmup",
        "awp",
    ),
    OPTIMISATION: (
        "epochs", "batch_size", "learning_rate", "schedule", "warmup", "momentum", "weight_decay",
        "weight_rule", "label_smoothing", "clip_norm", "ema", "patience",
    ),
    "validation": ("validation_images", "validation_every"),
    "attack": (
        "suite", "attacks", "attack", "eps", "eps_l2", "drop_broken", "substitute", "outputs",
        "grid",
    ),
    "evaluation": ("eval_eps", "eval_limit", "eval_batch_size"),
    "checks and sweeps": (
        "checks", "checks_limit", "sweep_attack", "sweep_eps", "sweep_steps",
    ),
    # An attack has a batch size too, and nothing to optimise.
    "speed": ("batch_size", "jit", "mixed_precision", "recompute"),
    "several devices or machines": (
        "distribute", "replicas", "worker_timeout", "chief_address", "worker_id", "shard", "merge",
    ),
    "other": ("seed", "deterministic", "import", "debug"),
}  # fmt: skip
# What the library's registries hold, which cannot be asked before TensorFlow is imported.
NAMES = {
    "model": ("vgg11", "vgg16", "wrn16"),
    "surrogate": ("arctan", "dspike", "rectangular", "sigmoid", "superspike", "triangle"),
    "defense": ("none", "mpd_sgr", "dlif", "feel", "rate", "sr", "stog", "tgo", "reg"),
    "coding": ("direct", "poisson", "smoothing", "frequency"),
    "attacks": (
        "fgsm", "pgd", "bim", "apgd", "sapgd", "hart", "fab", "square", "hill_climbing", "random",
        "cw", "gaussian", "uniform",
    ),
}  # fmt: skip
_LEAST, _WIDEST, _COLUMN = 60, 100, 30


def text(values, names):
    """The flags as text, a heading a topic.

    Args:
        values: The `FlagValues`.
        names: Names of the flags shown.
    """
    width = min(max(shutil.get_terminal_size((_WIDEST, 24)).columns, _LEAST), _WIDEST)
    left = set(names)
    lines = [
        "Flags and their defaults. Without a default, the text ends with what is used instead:"
    ]
    for topic, its in {**TOPICS, "more": sorted(left - topical())}.items():
        if topic == OPTIMISATION and "epochs" not in left:  # nothing is trained
            continue
        shown = [name for name in its if name in left]
        if shown:
            lines += ["", topic]
        for name in shown:
            lines += _entry(values[name], width)
        left -= set(shown)
    return "\n".join(lines)


def topical():
    """The names of the flags that have a topic."""
    return {name for its in TOPICS.values() for name in its}


def _entry(flag, width):
    head = f"  {_head(flag)}"
    rest = textwrap.wrap(_said(flag), width - _COLUMN, break_on_hyphens=False) or [""]
    first = [] if len(head) < _COLUMN else [head]
    if not first:
        first, rest = [f"{head:<{_COLUMN}}{rest[0]}".rstrip()], rest[1:]
    return first + [" " * _COLUMN + line for line in rest]


def _head(flag):
    if flag.boolean and isinstance(flag.default, bool | None):
        return f"--[no]{flag.name}" if flag.default is not False else f"--{flag.name}"
    return f"--{flag.name}={_default(flag)}"


def _default(flag):
    """A default as one would type it."""
    if flag.default in (None, (), [], {}):
        return ""
    if isinstance(flag.default, list):
        return ",".join(map(str, flag.default))
    return str(flag.serializer.serialize(flag.default)) if flag.serializer else str(flag.default)


def _said(flag):
    said = flag.help
    if flag.boolean and flag.default is True:
        said = f"{said} On by default."
    choices = _choices(flag)
    return f"{said} One of {', '.join(choices)}." if choices else said


def _choices(flag):
    if isinstance(flag.parser, flags.EnumParser):
        return flag.parser.enum_values
    return getattr(flag.parser, "choices", ()) or NAMES.get(flag.name, ())
