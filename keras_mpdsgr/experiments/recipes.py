"""Recipes: named sets of training settings."""

from keras_mpdsgr.arguments import check_choice
from keras_mpdsgr.experiments.config import ExperimentConfig
from keras_mpdsgr.experiments.conflicts import OF_SPIKING_NEURONS

RECIPES: dict[str, dict] = {
    # The defaults of `ExperimentConfig`: Jiang et al. (2026).
    "paper": {},
    "robust": {
        "defense": "sr",
        "reset": "soft",
        "tau": 0.5,
        "adversarial_training": True,
        "adversarial_method": "n_fgsm",
        "adversarial_eps": 8 / 255,
        "validation_images": 500,
        "mixed_precision": "auto",
    },
}
PAPER = "paper"


def recipe(name, **settings):
    """A configuration by a recipe.

    Args:
        name: `"paper"`, the defaults, or `"robust"`, which docs/robust-training.md compares with
            others.
        **settings: Fields of `ExperimentConfig` in addition, or in place of the recipe's.

    Returns:
        An `ExperimentConfig`.

    Raises:
        ValueError: If there is no recipe of that name.
        SetupError: If a setting is not allowed.

    Example:

    >>> recipe("robust", dataset="digits", adversarial_eps=4 / 255).adversarial_training
    True
    """
    check_choice("recipe", name, tuple(RECIPES))
    return ExperimentConfig(**{**beside(name, settings), **settings})


def beside(name, settings):
    """What a recipe sets beside settings that come before it.

    Of a network without spiking neurons it leaves out what is theirs.

    Args:
        name: The recipe.
        settings: Fields of `ExperimentConfig` that are given.
    """
    out = set(settings)
    if settings.get("neuron") == "relu":
        out.update(OF_SPIKING_NEURONS)
    return {field: value for field, value in RECIPES[name].items() if field not in out}


def described(name):
    """What a recipe sets, as flags, in one line."""
    return " ".join(recipe(name).words()) or "the defaults"
