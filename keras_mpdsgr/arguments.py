"""Checks that arguments share; each gives the value back or raises one clear ValueError."""

import math
import numbers
import os
from collections.abc import Hashable


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def check_positive(name, value, meaning):
    """Returns `value` as a float, if it is a positive number."""
    if not _is_number(value) or value <= 0:
        raise ValueError(f"`{name}` must be a positive number ({meaning}). Received: {value!r}.")
    return float(value)


def check_non_negative(name, value, meaning):
    """Returns `value` as a float, if it is a number of at least 0."""
    if not _is_number(value) or value < 0:
        raise ValueError(f"`{name}` must be a number >= 0 ({meaning}). Received: {value!r}.")
    return float(value)


def check_share(name, value, meaning):
    """Returns `value` as a float, if it is a number in [0, 1]."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be a number in [0, 1] ({meaning}). Received: {value!r}.")
    return float(value)


def check_count(name, value, meaning):
    """Returns `value` as an int, if it is a whole number of at least 1."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ValueError(f"`{name}` must be a whole number >= 1 ({meaning}). Received: {value!r}.")
    return int(value)


def check_whole(name, value, meaning):
    """Returns `value` as an int, if it is a whole number of at least 0."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < 0:
        raise ValueError(f"`{name}` must be a whole number >= 0 ({meaning}). Received: {value!r}.")
    return int(value)


def check_flag(name, value):
    """Returns `value`, if it is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be True or False. Received: {value!r}.")
    return value


def check_choice(name, value, allowed):
    """Returns `value`, if it is one of `allowed`."""
    if not isinstance(value, Hashable) or value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"`{name}` must be one of {choices}. Received: {value!r}.")
    return value


def check_number(name, value, least=None, above=None, most=None):
    """Returns `value` as a float, if it is a finite number within the limits given."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    fits = is_number and math.isfinite(value)
    fits = fits and (least is None or value >= least) and (above is None or value > above)
    if not (fits and (most is None or value <= most)):
        limits = f">= {least}" if least is not None else f"> {above}"
        limits += f" and <= {most}" if most is not None else ""
        raise ValueError(f"`{name}` must be a number {limits}. Received: {value!r}.")
    return float(value)


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


def check_seed(seed):
    """Returns `seed` as an int, if it is a whole number of at least 0."""
    whole = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
    if not whole or seed < 0:
        raise ValueError(f"`seed` must be a whole number >= 0. Received: {seed!r}.")
    return int(seed)
