"""Fields of a configuration: a default, what is allowed, and how a value is read and written.

Each function makes a field of a frozen dataclass that derives from `Settings`. A field's `Kind`
serves Python and the command line alike: the flag of a program is made from it. `apart` marks what
does not tell which experiment it is, such as a path; `pace` what changes how fast it is done.
"""

import dataclasses

from keras_mpdsgr.experiments import kinds

# The flags that are not called as their field is: `import` is a keyword of Python.
_FLAGS = {"imports": "import"}


def flag_of(field):
    """Name of the flag of a field, both by name."""
    return _FLAGS.get(field, field)


def field_of(flag):
    """Name of the field of a flag, both by name."""
    return next((field for field, name in _FLAGS.items() if name == flag), flag)


IMPORTS_HELP = (
    "Modules in this folder, or installed, that register attacks, defences, surrogates, data sets."
)


def _field(kind, default, help, apart=False, pace=False):
    metadata = {"kind": kind, "help": help, "apart": apart, "pace": pace}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def number(default, help, least=None, above=None, most=None, apart=False):
    """A field that takes a finite number."""
    return _field(kinds.number_kind(least, above, most), default, help, apart)


def integer(default, help, least=1, apart=False):
    """A field that takes a whole number."""
    return _field(kinds.integer_kind(least), default, help, apart)


def fraction(default, help, most=1.0):
    """A field that takes a number, as a flag also `8/255`."""
    return _field(kinds.fraction_kind(most), default, help)


def switch(default, help, pace=False):
    """A field that is True or False, as a flag `--name` or `--noname`."""
    return _field(kinds.SWITCH, default, help, pace=pace)


def choice(default, choices, help, pace=False, more=None):
    """A field that takes one of some words, as of `kinds.choice_kind`."""
    return _field(kinds.choice_kind(choices, more), default, help, pace=pace)


def modules():
    """A field that takes names of modules to import, as a flag `--import`."""
    return _field(kinds.MODULES, (), IMPORTS_HELP, apart=True)


def text(default, help, apart=False):
    """A field that takes text, such as a name or a path."""
    return _field(kinds.TEXT, default, help, apart)


def options(help):
    """A field that takes a dictionary of numbers and words, empty by default."""
    return _field(kinds.OPTIONS, {}, help)


def several(member, help, allowed, default=None):
    """A field that takes a tuple of values of the kind `member`."""
    return _field(kinds.tuple_kind(member, allowed), default, help)


def span(default, help, most=None):
    """A field that takes the ends of a range."""
    return _field(kinds.range_kind(most), default, help)


def of_kind(kind, default, help):
    """A field of a kind of its own."""
    return _field(kind, default, help)
