"""Flags made from the fields of a configuration: names, defaults, what is allowed, help."""

import dataclasses

from absl import flags

from keras_mpdsgr.experiments import fields

# They are flags of the program that has them defined here, and stand in its `--help`.
flags.disclaim_key_flags()


class _Parser(flags.ArgumentParser):
    def __init__(self, kind):
        super().__init__()
        self._kind = kind
        self.syntactic_help = kind.allowed

    def parse(self, argument):
        # A default comes as it is, what a user types as text.
        return self._kind.parsed(argument) if isinstance(argument, str) else argument

    def flag_type(self):
        return self._kind.allowed


class _Serializer(flags.ArgumentSerializer):
    def __init__(self, kind):
        self._write = kind.write

    def serialize(self, value):
        return self._write(value)


def define(settings, into=flags.FLAGS, choices=None):
    """Defines a flag for each field of a configuration.

    Args:
        settings: The `Settings` whose values are the defaults.
        into: Where to; the program's own flags.
        choices: Values allowed by this program alone, by name of the field.

    Returns:
        Their names.
    """
    for field in dataclasses.fields(settings):
        kind, default = field.metadata["kind"], field.default
        if default is not None:  # else it depends on other settings, which are not known yet
            default = getattr(settings, field.name)
        if field.name in (choices or {}):
            kind = fields.choice_kind(choices[field.name])
        define_kind(field.name, default, kind, field.metadata["help"], into)
    return [field.name for field in dataclasses.fields(settings)]


def define_kind(name, default, kind, help, into=flags.FLAGS):
    """Defines one flag.

    Args:
        name: Its name.
        default: Its default, which may be None whatever the kind allows.
        kind: The `fields.Kind` of its values.
        help: What `--help` says.
        into: Where to; the program's own flags.
    """
    if kind is fields.SWITCH:
        flags.DEFINE_bool(name, default, help, flag_values=into)
        return
    choices = f"<{'|'.join(kind.choices)}>: " if kind.choices else ""
    flags.DEFINE(_Parser(kind), name, default, choices + help, into, _Serializer(kind))
