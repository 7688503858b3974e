"""Settings of a training that do not go together, each refused in one line."""

from keras_mpdsgr.errors import SetupError

OF_SPIKING_NEURONS = (
    "timesteps", "coding", "coding_options", "surrogate", "surrogate_options", "gamma", "tau",
    "reset", "detach_reset", "learn_tau", "learn_gamma", "omega_form",
    "adversarial_gradient",
)  # fmt: skip


def refuse(config, adversarial):
    """Refuses a configuration whose values cannot be combined.

    Args:
        config: An `ExperimentConfig` whose single values are allowed.
        adversarial: The settings of adversarial training with their defaults.

    Raises:
        SetupError: If two of its settings do not go together.
    """
    _refuse_adversarial(config, adversarial)
    _refuse_of_the_optimizer(config)
    if config.neuron == "relu":
        _refuse_spiking(config)
    _refuse_of_the_place(config)


def _refuse_adversarial(config, adversarial):
    if config.adversarial_training:
        return
    for name, usual in adversarial.items():
        if getattr(config, name) != usual:
            raise SetupError(
                f"`{name}` is used only with `adversarial_training`, which is not set."
            )


def _refuse_of_the_optimizer(config):
    if config.schedule == "cyclic" and config.warmup:
        raise SetupError(
            "`warmup` cannot be combined with `schedule` cyclic, which rises over its first half. "
            f"Received: {config.warmup}."
        )
    if config.clip_norm and config.distribute != "none":
        raise SetupError(
            f"`clip_norm` cannot be combined with `distribute` {config.distribute}: Keras clips "
            "each replica's share of the gradient before they are added."
        )
    if config.ema == 1:
        raise SetupError("`ema` must be a number >= 0 and < 1. Received: 1.0.")
    if config.awp and config.mixed_precision == "float16":
        raise SetupError(
            "`awp` cannot be combined with `mixed_precision` float16, which rounds the gradient "
            "of its step to zero. Use bfloat16."
        )


def _refuse_spiking(config):
    usual = type(config)()
    asked = [k for k in OF_SPIKING_NEURONS if getattr(config, k) != getattr(usual, k)]
    if config.eta not in (0.0, usual.eta):  # 0 is how a network is trained without it
        asked.append("eta")
    if asked:
        raise SetupError(
            "`neuron` relu makes a network without membrane potentials and without time, which "
            f"has no {', '.join(f'`{name}`' for name in asked)}. Leave them out."
        )


def _refuse_of_the_place(config):
    if config.jit == "on" and config.deterministic:
        raise SetupError(
            "`jit` on and `deterministic` cannot be combined: Keras drops XLA where ops must be "
            "deterministic. Leave one of them out."
        )
    if config.validation_images is None and config.validation_every != 1:
        raise SetupError("`validation_every` needs `validation_images`, which is not set.")
    if config.validation_images is not None and config.distribute == "multiworker":
        raise SetupError(
            "`validation_images` cannot be combined with `distribute` multiworker: workers would "
            "attack apart and could choose different epochs. Leave one of them out."
        )
    if config.replicas is not None and config.distribute != "mirrored":
        raise SetupError(
            f"`replicas` is used only with `distribute` mirrored. Received: {config.distribute}."
        )
    if config.distribute != "none" and config.jit == "on":
        raise SetupError(
            f"`jit` on and `distribute` {config.distribute} cannot be combined: XLA fails on "
            "variables of other devices. Leave one of them out."
        )
