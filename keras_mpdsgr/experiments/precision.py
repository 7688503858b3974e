"""What `mixed_precision` auto becomes: decided when a run is made, kept when it is resumed."""

from keras_mpdsgr.experiments.run import Run
from keras_mpdsgr.experiments.run_folder import default_path
from keras_mpdsgr.hardware import bfloat16_instructions

_NAME, _AUTO, _OFF, _BFLOAT16 = "mixed_precision", "auto", "off", "bfloat16"
# What config.json says beside what it has become.
ASKED = {_NAME: _AUTO}


def settled(config):
    """A configuration with `mixed_precision` settled, and why, in words.

    A run that was begun with auto keeps what it became then, on whichever machine it is resumed.

    Args:
        config: The `ExperimentConfig`.

    Returns:
        The configuration, and a line that says what auto became; None where auto was not asked for.
    """
    if config.mixed_precision != _AUTO:
        return config, None
    instructions = bfloat16_instructions()
    here = _BFLOAT16 if instructions else _OFF
    for choice in (here, _BFLOAT16, _OFF):
        tried = config.replace(mixed_precision=choice)
        run = Run(tried.run_dir or default_path(tried))
        if run.asked == ASKED:
            held = run.config.mixed_precision
            return config.replace(mixed_precision=held), f"{_told(held)}, as the run was begun"
    reason = instructions or "no device in use here has instructions for bfloat16"
    return config.replace(mixed_precision=here), f"{_told(here)} ({reason})"


def told_by_chief(place, config):
    """The configuration with the chief's `mixed_precision`, settled; workers may differ in it.

    Args:
        place: The `Distribution`.
        config: The `ExperimentConfig`, settled.
    """
    choices = (_OFF, _BFLOAT16)
    chosen = choices[place.told_by_chief(choices.index(config.mixed_precision))]
    return config.replace(mixed_precision=chosen)


def _told(choice):
    return f"{_NAME} {_AUTO}: {'off, float32' if choice == _OFF else choice}"
