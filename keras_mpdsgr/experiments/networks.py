"""What a configuration asks for, made: the defence, the network, the model in training."""

import contextlib
import re

import keras
import tensorflow as tf

from keras_mpdsgr import defenses, dynamics, fitting, models, surrogates
from keras_mpdsgr.arguments import did_you_mean
from keras_mpdsgr.attacks.compiled import jit_compile
from keras_mpdsgr.defenses import combined
from keras_mpdsgr.models.blocks import CODINGS

# The defences that take a setting of their own, not only `defense_options`.
_SETTINGS_OF = {
    "mpd_sgr": {"eta": "eta", "omega_form": "omega_form"},
    "rate": {"weight": "eta"},
}


def check(config):
    """Raises ValueError for what only the library's registries know not to be possible.

    Args:
        config: An `ExperimentConfig`.
    """
    models.get(config.model)
    if config.coding not in CODINGS:
        raise ValueError(
            f"`coding` must be one of {', '.join(CODINGS)}. Received: {config.coding!r}."
            f"{did_you_mean(config.coding, CODINGS)}"
        )
    make_surrogate(config)
    known = dynamics.mode_names()
    if config.adversarial_gradient not in (None, *known):
        raise ValueError(
            f"`adversarial_gradient` must be one of {', '.join(known)}. "
            f"Received: {config.adversarial_gradient!r}."
            f"{did_you_mean(config.adversarial_gradient, known)}"
        )
    defense = make_defense(config)
    make_objective(config, defense)  # refuses what does not go together
    _model_options(config, defense)


def make_defense(config):
    """The `Defense` of a configuration.

    Raises:
        ValueError: If there is none of that name, or it does not take an option.
    """
    arguments = combined.by_defense(config.defense, config.defense_options)
    for name, given in arguments.items():
        settings = _SETTINGS_OF.get(name, {})
        for argument, setting in settings.items():
            if argument in given:
                raise ValueError(
                    f"`defense_options` must not hold {argument} of {name}, which is `{setting}`. "
                    f"Received: {argument}={given[argument]}."
                )
        own = {argument: getattr(config, setting) for argument, setting in settings.items()}
        arguments[name] = {**own, **given}
    return combined.made(arguments)


def refuse_unused(config, usual):
    """Raises ValueError for a weight that no defence of the configuration takes.

    Args:
        config: An `ExperimentConfig`.
        usual: The defaults, whose weight nobody has asked for.
    """
    takes = {name for name, settings in _SETTINGS_OF.items() if "eta" in settings.values()}
    names = combined.by_defense(config.defense, config.defense_options)
    if config.eta not in (0.0, usual.eta) and not takes & set(names):
        raise ValueError(
            f"`eta` is the weight of `defense` {' or '.join(sorted(takes))}. Received: "
            f"{config.eta:g} with `defense` {config.defense}. Name one of them, or leave `eta` out."
        )


def make_adversary(config, total_steps=0):
    """The `AdversarialTraining` of a configuration, for so many optimizer steps; None for none."""
    if not config.adversarial_training:
        return None
    names = ("eps", "steps", "step_size", "loss", "method", "gradient")
    arguments = {name: getattr(config, f"adversarial_{name}") for name in names}
    warmup_steps = round(config.adversarial_warmup * total_steps)
    try:
        return defenses.AdversarialTraining(**arguments, warmup_steps=warmup_steps)
    except ValueError as error:
        # Settings are called by another name.
        said = re.sub(rf"`({'|'.join(names)})`", r"`adversarial_\1`", str(error))
        raise ValueError(said) from None


def make_objective(config, defense, total_steps=0):
    """The `Objective` of a configuration, for so many optimizer steps; None for the plain loss."""
    objective = defense.objective(make_adversary(config, total_steps))
    if config.awp:
        objective = defenses.AdversarialWeightPerturbation(objective, config.awp)
    return objective


def make_surrogate(config):
    """The `Surrogate` of a configuration.

    Raises:
        ValueError: If there is none of that name, or it does not take an option.
    """
    return surrogates.get(config.surrogate, gamma=config.gamma, **config.surrogate_options)


def build(config, images, defense=None):
    """The untrained network of a configuration, for these images, prepared for its defence."""
    keras.utils.set_random_seed(config.seed)
    defense = defense or make_defense(config)
    model = models.get(config.model)(
        images.input_shape,
        images.num_classes,
        mean=images.mean,
        std=images.std,
        **_model_options(config, defense),
    )
    model.class_names = tuple(images.class_names)
    defense.prepare(model)
    if _uses_reg(config, defense) and not defense.own_weight_rule:
        defenses.get("reg").prepare(model)
    return model


def _model_options(config, defense):
    """Arguments of the network's builder; a defence's own coding or leak replaces none."""
    if config.neuron == "relu":
        if defense.needs_spikes:
            raise ValueError(
                f"`defense` {defense.name} acts on spiking neurons, of which `neuron` relu has "
                "none. Leave it out."
            )
        return {"width": config.width, "neuron": "relu", "recompute": config.recompute}
    learn_tau = None if config.learn_tau == "none" else config.learn_tau
    options = {
        "timesteps": config.timesteps,
        "width": config.width,
        "coding": config.coding,
        "coding_options": config.coding_options or None,
        "surrogate": make_surrogate(config),
        "gamma": None,
        "tau": config.tau,
        "reset": config.reset,
        "detach_reset": config.detach_reset,
        "learn_tau": learn_tau,
        "learn_gamma": config.learn_gamma,
        "recompute": config.recompute,
    }
    wanted = defense.model_options(config.timesteps)
    for name, plain in {"coding": "direct", "learn_tau": "none", "tau": 1.0}.items():
        asked = getattr(config, name)
        if name in wanted and asked not in (plain, wanted[name]):
            raise ValueError(
                f"`defense` {defense.name} brings its own {name} ({wanted[name]}) and cannot be "
                f"combined with `{name}` {asked}. Leave one of them out."
            )
    return {**options, **wanted}


def _uses_reg(config, defense):
    return defense.own_weight_rule or config.weight_rule == "reg"


def compile_for_training(model, config, total_steps, defense):
    """Compiles with SGD and an L2 term over every variable, by default SNN-RAT's recipe.

    Args:
        model: The network.
        config: The `ExperimentConfig`.
        total_steps: Optimizer steps of the whole run.
        defense: Its `Defense`.

    Returns:
        The model to call `fit` on: the network itself, or a `DefendedModel` around it where the
        defence or adversarial training has an objective of its own, or weights are averaged.
    """
    if not _uses_reg(config, defense):
        defenses.weight_decay(model, config.weight_decay)
    objective = make_objective(config, defense, total_steps)
    average = fitting.WeightAverage(config.ema) if config.ema else None
    itself = objective is None and average is None
    trained = model if itself else defenses.DefendedModel(model, objective, average)
    schedule = fitting.learning_rate(
        config.learning_rate, total_steps, config.schedule, round(config.warmup * total_steps)
    )
    cross_entropy = {"from_logits": True}
    trained.compile(
        optimizer=keras.optimizers.SGD(
            schedule, momentum=config.momentum, global_clipnorm=config.clip_norm or None
        ),
        loss=fitting.SmoothedCrossEntropy(config.label_smoothing)
        if config.label_smoothing
        else keras.losses.SparseCategoricalCrossentropy(**cross_entropy),
        metrics=[
            # Objects, not names: what is made while a step is traced has it traced twice.
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.SparseCategoricalCrossentropy(name="cross_entropy", **cross_entropy),
        ],
        # Under a strategy XLA fails on resources of another device.
        jit_compile=not tf.distribute.has_strategy() and jit_compile(config.jit),
    )
    return trained


def jit_scope(jit):
    """The scope to call `fit` in: with `jit` off not even the neurons are compiled."""
    whole_or_nothing = jit != "auto"
    return dynamics.fused_neurons(False) if whole_or_nothing else contextlib.nullcontext()
