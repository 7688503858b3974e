"""Checks that arguments share; each gives the value back or raises one clear ValueError."""

import difflib
import math
import numbers
import os
from collections.abc import Hashable


def check_number(name, value, meaning="", *, least=None, above=None, most=None):
    """Returns `value` as a float, if it is a finite number within the bounds.

    Args:
        name: Name of the argument.
        value: What was passed.
        meaning: What it stands for, and its unit.
        least, most: Bounds that are allowed themselves; None for none.
        above: Lower bound that is not allowed itself, in place of `least`.
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (real and math.isfinite(value) and _is_within(value, least, above, most)):
        _refuse("number", name, value, meaning, least, above, most)
    return float(value)


def check_integer(name, value, meaning="", *, least=None, most=None):
    """Returns `value` as an int, if it is a whole number within the bounds; see `check_number`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not (whole and _is_within(value, least, None, most)):
        _refuse("whole number", name, value, meaning, least, None, most)
    return int(value)


def _is_within(value, least, above, most):
    low = (least is None or value >= least) and (above is None or value > above)
    return low and (most is None or value <= most)


def _refuse(kind, name, value, meaning, least, above, most):
    allowed = kind
    if most not in (None, math.inf):
        low = f"[{least}" if above is None else f"({above}"
        allowed = f"{kind} in {low}, {most}]"
    elif above is not None:
        allowed = f"positive {kind}" if above == 0 else f"{kind} > {above}"
    elif least is not None:
        allowed = f"{kind} >= {least}"
    described = f" ({meaning})" if meaning else ""
    raise ValueError(f"`{name}` must be a {allowed}{described}. Received: {value!r}.")


def check_flag(name, value):
    """Returns `value`, if it is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be True or False. Received: {value!r}.")
    return value


def check_choice(name, value, allowed):
    """Returns `value`, if it is one of `allowed`."""
    if not isinstance(value, Hashable) or value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        meant = did_you_mean(value, allowed, "{!r}")
        raise ValueError(f"`{name}` must be one of {choices}. Received: {value!r}.{meant}")
    return value


def did_you_mean(value, names, quoted="{}"):
    """A sentence, from a blank on, with the name that was probably meant; "" if none is near.

    Args:
        value: What was given, in whatever case.
        names: The names there are.
        quoted: How a name is written.
    """
    by_lower = {str(name).lower().replace("-", "_"): name for name in names}
    near = difflib.get_close_matches(str(value).lower().replace("-", "_"), by_lower, 1)
    return f" Did you mean {quoted.format(by_lower[near[0]])}?" if near else ""


def check_free(name, value, registry):
    """Raises unless a name is free in a registry of classes or functions.

    The same one under its name is let pass: a module that is run again registers what it defines.

    Args:
        name: The name.
        value: What is to have it.
        registry: What is known, by name.
    """
    taken = registry.get(name, value)
    if _origin(taken) != _origin(value):
        raise ValueError(f"`name` must be free. Received: name={name!r}, which is {taken}.")


def _origin(value):
    kind = type(value)  # of an object that is called like a function
    return (
        getattr(value, "__module__", kind.__module__),
        getattr(value, "__qualname__", kind.__qualname__),
    )


def check_model(name, value):
    """Returns `value`, if it is a Keras model."""
    import keras  # takes seconds, which a check of a number should not cost

    if not isinstance(value, keras.Model):
        raise ValueError(f"`{name}` must be a Keras model. Received: {value!r}.")
    return value


def check_path(name, value):
    """Returns `value`, if it is the path of a file or folder, or None."""
    if not isinstance(value, str | os.PathLike | None):
        raise ValueError(f"`{name}` must be None or a path. Received: {value!r}.")
    return value
