"""Fields of an attack, each with its check and its mark: how a compiled step is given it."""

import dataclasses
from typing import Any

STATIC, TENSOR, OUTSIDE, FIXED = "static", "tensor", "outside", "fixed"


def static(default=dataclasses.MISSING, check=None, *meaning, **options) -> Any:
    """A field that a step is compiled for: another value compiles another step.

    So is a field without a mark. Its values are hashable.

    Args:
        default: Default value; none where the argument must be given.
        check: Function of the field's name and a value, that returns the value or raises.
        *meaning: Further arguments of `check`.
        **options: Keywords of `check`.
    """
    return _field(STATIC, default, check, meaning, options)


def tensor(default=dataclasses.MISSING, check=None, *meaning, **options) -> Any:
    """A number that a step is given as a float32 scalar: another value compiles nothing.

    Arguments as of `static`.
    """
    return _field(TENSOR, default, check, meaning, options)


def outside(default=dataclasses.MISSING, check=None, *meaning, **options) -> Any:
    """A field that a step does not read: reading it there raises an error.

    Arguments as of `static`.
    """
    return _field(OUTSIDE, default, check, meaning, options)


def fixed(value) -> Any:
    """What is an argument of a class that this one extends, but here has one value only."""

    def check(name, given):
        if type(given) is not type(value) or given != value:  # True is not 1
            raise ValueError(f"`{name}` is not used and must be {value!r}. Received: {given!r}.")
        return value

    return _field(FIXED, value, check, (), {})


def derived() -> Any:
    """A field that is not an argument: `__post_init__` sets it, and a step does not read it."""
    return dataclasses.field(init=False, repr=False, default=None, metadata={"mark": OUTSIDE})


def mark(field):
    """The mark of a dataclass field."""
    return field.metadata.get("mark", STATIC)


def checked(field, value):
    """The value of a field, if its check lets it pass."""
    check = field.metadata.get("check")
    return value if check is None else check(field.name, value)


def _field(mark, default, check, meaning, options):
    metadata = {"mark": mark}
    if check is not None:
        metadata["check"] = lambda name, value: check(name, value, *meaning, **options)
    return dataclasses.field(default=default, repr=mark != FIXED, metadata=metadata)
