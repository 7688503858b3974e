"""What the flags ask for, made: the defence, the network, the model in training."""

import contextlib

import keras
import tensorflow as tf

from keras_mpdsgr import defenses, dynamics, models, surrogates
from keras_mpdsgr.attacks.target import jit_compile
from keras_mpdsgr.errors import SetupError

# The defences that take a flag of their own, not only --defense_options.
_FLAGS_OF = {
    "mpd_sgr": {"eta": "eta", "omega_form": "omega_form"},
    "rate": {"weight": "eta"},
}


def make_defense(settings):
    """The `Defense` that the flags name.

    Raises:
        ValueError: If there is none of that name, or it does not take an option.
    """
    by_flag = _FLAGS_OF.get(settings["defense"], {})
    arguments = {argument: settings[flag] for argument, flag in by_flag.items()}
    return defenses.get(settings["defense"], **{**arguments, **settings["defense_options"]})


def make_adversary(settings):
    """The `AdversarialTraining` that the flags ask for; None for none."""
    if not settings["adversarial_training"]:
        return None
    return defenses.AdversarialTraining(
        eps=settings["adversarial_eps"],
        steps=settings["adversarial_steps"],
        step_size=settings["adversarial_step_size"],
        loss=settings["adversarial_loss"],
    )


def make_surrogate(settings):
    """The `Surrogate` that the flags name.

    Raises:
        ValueError: If there is none of that name, or it does not take an option.
    """
    return surrogates.get(
        settings["surrogate"],
        gamma=settings["gamma"],
        # A run folder may be older than the flag.
        **settings.get("surrogate_options", {}),
    )


def build(settings, images, defense=None):
    """The untrained network that the flags name, for these images, prepared for its defence."""
    keras.utils.set_random_seed(settings["seed"])
    defense = defense or make_defense(settings)
    options = {
        "timesteps": settings["timesteps"],
        "width": settings["width"],
        "coding": settings["coding"],
        "coding_options": settings["coding_options"] or None,
        "surrogate": make_surrogate(settings),
        "gamma": None,
        "tau": settings["tau"],
        "reset": settings["reset"],
        "detach_reset": settings["detach_reset"],
        "learn_tau": None if settings["learn_tau"] == "none" else settings["learn_tau"],
        "learn_gamma": settings["learn_gamma"],
        "recompute": settings.get("recompute", False),
    }
    wanted = defense.model_options(settings["timesteps"])
    _check_no_conflict(settings, defense, wanted)
    model = models.get(settings["model"])(
        images.input_shape,
        images.num_classes,
        mean=images.mean,
        std=images.std,
        **{**options, **wanted},
    )
    defense.prepare(model)
    if _uses_reg(settings, defense) and not defense.own_weight_rule:
        defenses.get("reg").prepare(model)
    return model


def _check_no_conflict(settings, defense, wanted):
    """A coding or a leak that was asked for must not be replaced in silence by a defence's own."""
    plain = {"coding": "direct", "learn_tau": "none", "tau": 1.0}
    for flag, default in plain.items():
        asked = settings[flag]
        if flag in wanted and asked not in (default, wanted[flag]):
            raise SetupError(
                f"--defense {defense.name} brings its own {flag} ({wanted[flag]}) and cannot be "
                f"combined with --{flag} {asked}. Leave one of them out."
            )


def _uses_reg(settings, defense):
    return defense.own_weight_rule or settings["weight_rule"] == "reg"


def compile_for_training(model, settings, total_steps, defense):
    """Compiles with the recipe of SNN-RAT: SGD, cosine to 0, L2 over every variable.

    Args:
        model: The network.
        settings: The flags' values, by name.
        total_steps: Optimizer steps of the whole run.
        defense: Its `Defense`.

    Returns:
        The model to call `fit` on: the network itself, or a `DefendedModel` around it where the
        defence or adversarial training has an objective of its own.
    """
    if not _uses_reg(settings, defense):
        defenses.weight_decay(model, settings["weight_decay"])
    objective = defense.objective(make_adversary(settings))
    trained = model if objective is None else defenses.DefendedModel(model, objective)
    schedule = keras.optimizers.schedules.CosineDecay(settings["learning_rate"], total_steps)
    cross_entropy = {"from_logits": True}
    trained.compile(
        optimizer=keras.optimizers.SGD(schedule, momentum=settings["momentum"]),
        loss=keras.losses.SparseCategoricalCrossentropy(**cross_entropy),
        metrics=[
            # Objects, not names: what is made while a step is traced has it traced twice.
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.SparseCategoricalCrossentropy(name="cross_entropy", **cross_entropy),
        ],
        # Under a strategy XLA fails on resources of another device.
        jit_compile=not tf.distribute.has_strategy() and jit_compile(settings["jit"]),
    )
    return trained


def jit_scope(settings):
    """The scope to call `fit` in: with `--jit off` not even the neurons are compiled."""
    whole_or_nothing = settings["jit"] != "auto"
    return dynamics.fused_neurons(False) if whole_or_nothing else contextlib.nullcontext()
