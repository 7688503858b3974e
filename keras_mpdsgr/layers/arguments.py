"""Checks that the layers' arguments share; each raises one clear ValueError."""

import math
import numbers


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


def check_choice(name, value, allowed):
    """Returns `value`, if it is one of `allowed`."""
    if value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"`{name}` must be one of {choices}. Received: {value!r}.")
    return value


def check_sequence(layer, input_shape):
    """Raises unless `input_shape` is `(batch, time, features...)` with a static time."""
    kind = type(layer).__name__
    if len(input_shape) < 3:
        raise ValueError(
            f"{kind} takes sequences of at least 3 axes, (batch, time, ...). Received: "
            f"input_shape={tuple(input_shape)}. Put an encoder, such as DirectEncoder(timesteps), "
            "before it."
        )
    if input_shape[1] is None:
        raise ValueError(
            f"{kind} unrolls time, so the time axis must be static. Received: "
            f"input_shape={tuple(input_shape)}."
        )
