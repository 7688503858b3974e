"""The errors of an experiment: what the user can fix, and failures while running."""

import contextlib


class SetupError(ValueError):
    """What the caller can fix: a setting, a missing or damaged file, a folder in use."""


class RunError(RuntimeError):
    """A failure while running."""


@contextlib.contextmanager
def setup_errors(**called):
    """Turns a refusal of an argument or an input file into a `SetupError`.

    Args:
        **called: What arguments are called where the caller gave them, by their names in messages.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        said = str(error)
        for name, given in called.items():
            said = said.replace(f"`{name}`", f"`{given}`")
        raise SetupError(said) from error


@contextlib.contextmanager
def writing(what):
    """Turns a failure to write into a `RunError` that says what could not be written.

    Args:
        what: What is written, in words.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write to {what}: {error}. What was written before is kept. Fix it (e.g. free "
            "disk space) and run the same command again."
        ) from error
