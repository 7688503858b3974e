"""Recipes: named sets of training settings."""

from keras_mpdsgr.arguments import check_choice
from keras_mpdsgr.experiments.config import ExperimentConfig

RECIPES: dict[str, dict] = {
    # The defaults of `ExperimentConfig`: Jiang et al. (2026).
    "paper": {},
    "robust": {
        "defense": "none",
        "adversarial_training": True,
        "adversarial_method": "n_fgsm",
        "adversarial_eps": 8 / 255,
        "validation_images": 500,
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
    chosen = RECIPES[check_choice("recipe", name, tuple(RECIPES))]
    return ExperimentConfig(**{**chosen, **settings})


def described(name):
    """What a recipe sets, as flags, in one line."""
    return " ".join(recipe(name).words()) or "the defaults"
