"""Kinds of values: what is allowed, and how a value is read from and written as text."""

import dataclasses
import fractions
import math
from collections.abc import Callable, Iterable
from typing import Any

from keras_mpdsgr.arguments import check_integer, check_number, did_you_mean
from keras_mpdsgr.errors import SetupError


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a field takes.

    Attributes:
        allowed: It in words, after "must be".
        normal: Function of a Python value that gives it in its usual type; raises ValueError or
            TypeError for what is not allowed.
        read: Function of the text of a flag that gives such a value.
        write: Function of a value that gives that text.
        choices: The values allowed, where these can be listed.
        more: Function that lists values beside the choices that are known by now, where a module
            may bring others: any text is taken then, and `refusal` says what is not known.
        meant: Function of a value that is not allowed that gives a sentence, from a blank on, with
            the one that was probably meant, or "".
    """

    allowed: str
    normal: Callable[[Any], Any]
    read: Callable[[str], Any] = str
    write: Callable[[Any], str] = str
    choices: tuple = ()
    more: Callable[[], Iterable[str]] | None = None
    meant: Callable[[Any], str] | None = None

    def checked(self, name, value):
        """The value in its usual type.

        Raises:
            SetupError: If it is not allowed; the message names the field.
        """
        try:
            return self.normal(value)
        except (ValueError, TypeError, OverflowError):
            meant = self._meant(value)
            raise SetupError(
                f"`{name}` must be {self.allowed}. Received: {value!r}.{meant}"
            ) from None

    def parsed(self, text):
        """The value that the text of a flag stands for.

        Raises:
            ValueError: If it is not allowed.
        """
        try:
            return self.normal(self.read(text))
        except (ValueError, TypeError, OverflowError, ZeroDivisionError):
            raise ValueError(f"must be {self.allowed}.{self._meant(text)}") from None

    def known(self):
        """The choices, and what is known beside them."""
        return list(dict.fromkeys([*self.choices, *(self.more() if self.more else ())]))

    def refusal(self, value):
        """What is to be said of a value that is not known, from "must be" on; None if it is."""
        if value in self.choices or value in (known := self.known()):
            return None
        return f"must be one of {', '.join(known)}.{did_you_mean(value, known)}"

    def _meant(self, value):
        own = self.meant(value) if self.meant else ""
        return own or did_you_mean(value, self.choices)


def _refuse_unless(condition):
    if not condition:
        raise ValueError


def _limits(least, above, most):
    words = (
        [f"> {above:g}"] if above is not None else [f">= {least:g}"] if least is not None else []
    )
    words += [f"<= {most:g}"] if most is not None else []
    return f" {' and '.join(words)}" if words else ""


def number_kind(least=None, above=None, most=None):
    """A finite number within limits."""

    def normal(value):
        return check_number("value", value, least=least, above=above, most=most)

    return Kind(f"a number{_limits(least, above, most)}", normal, float, repr)


def integer_kind(least=1):
    """A whole number of at least `least`."""

    def normal(value):
        return check_integer("value", value, least=least)

    return Kind(f"a whole number >= {least}", normal, int)


def fraction_kind(most=1.0):
    """A number from 0 to `most`, written as `8/255` too."""

    def normal(value):
        return check_number("value", value, least=0, most=most)

    limits = _limits(0, None, most if math.isfinite(most) else None)
    allowed = f"a decimal or a fraction{limits}, such as 8/255"
    return Kind(allowed, normal, _fraction, _written_fraction, meant=_meant_of_255)


def _meant_of_255(value):
    """Levels of 8 bits, where the share of them is asked for."""
    try:
        levels = float(value)
    except (ValueError, TypeError):
        return ""
    return f" Did you mean {levels:g}/255?" if 1 < levels <= 255 else ""


def _fraction(text):
    return float(fractions.Fraction(text.replace(" ", "")))


def _written_fraction(value):
    """As 8/255 where it is that very number."""
    levels = round(value * 255)
    return f"{levels}/255" if 0 < levels < 255 and levels / 255 == value else repr(value)


def _switch(value):
    _refuse_unless(isinstance(value, bool))
    return value


SWITCH = Kind("True or False", _switch)


def choice_kind(choices, more=None):
    """One of some words; with `more`, a function as of `Kind`, or what a module brings."""

    def normal(value):
        _refuse_unless(value in choices)
        return value

    allowed = f"one of {', '.join(choices)}"
    return Kind(allowed, _text if more else normal, choices=tuple(choices), more=more)


def _text(value):
    _refuse_unless(hasattr(value, "__fspath__") or isinstance(value, str))
    return str(value)


TEXT = Kind("text", _text)


def text_kind(fits, allowed):
    """Text that a function finds fit."""

    def normal(value):
        _refuse_unless(fits(value))
        return value

    return Kind(allowed, normal)


def tuple_kind(member, allowed):
    """Several values of one kind, separated by commas."""

    def normal(value):
        _refuse_unless(not isinstance(value, str))
        return tuple(member.normal(entry) for entry in value)

    def read(text):
        return [member.read(word.strip()) for word in text.split(",") if word.strip()]

    return Kind(allowed, normal, read, lambda values: ",".join(map(member.write, values)))


def _is_module(value):
    words = value.split(".") if isinstance(value, str) else [""]
    return all(word.isidentifier() for word in words) and words[-1] != "py"


MODULES = tuple_kind(
    text_kind(_is_module, "the name of a module"),
    "names of modules without .py, separated by commas",
)


def range_kind(most=None):
    """Lowest and highest of a range: positive numbers, or with `most` from 0 to it."""
    least = 0 if most is not None else None
    above = 0 if most is None else None

    def normal(value):
        low, high = (check_number("value", x, least=least, above=above, most=most) for x in value)
        _refuse_unless(low <= high)
        return (low, high)

    kind = "positive numbers" if most is None else f"numbers from 0 to {most:g}"
    allowed = f"two {kind}, the lower first, separated by a comma"
    return Kind(
        allowed, normal, lambda text: [float(word) for word in text.split(",")],
        lambda values: ",".join(map(repr, values)),
    )  # fmt: skip


def _options(value):
    for name, given in value.items():
        _refuse_unless(all(map(str.isidentifier, name.split("."))))
        if isinstance(given, str):
            _refuse_unless(given == _option(given) and given.isidentifier())
        elif not isinstance(given, bool):
            check_number(name, given)
    return dict(value)


def _read_options(text):
    words = [word.partition("=") for word in text.split(",") if word.strip()]
    options = {name.strip(): _option(value.strip()) for name, _, value in words}
    _refuse_unless(len(options) == len(words))
    return options


def _option(text):
    """The number, truth value or word that a text stands for."""
    if text in ("True", "False"):
        return text == "True"
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() and "." not in text else number


OPTIONS = Kind(
    "numbers or words by name, such as weight=0.1,norm=l1",
    _options,
    _read_options,
    lambda value: ",".join(f"{name}={given}" for name, given in value.items()),
)
