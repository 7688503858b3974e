"""Flags made from the fields of a configuration: names, defaults, what is allowed, help."""

import dataclasses

from absl import flags

from keras_mpdsgr.experiments import fields, kinds
from keras_mpdsgr.experiments.recipes import PAPER, RECIPES, described
from keras_mpdsgr.experiments.run import Run

# They are flags of the program that has them defined here, and stand in its `--help`.
flags.disclaim_key_flags()


class _Parser(flags.ArgumentParser):
    def __init__(self, kind):
        super().__init__()
        self._kind = kind
        self.syntactic_help = kind.allowed
        self.choices = kind.choices

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


def define(settings, into=flags.FLAGS, kinds=None):
    """Defines a flag for each field of a configuration.

    Args:
        settings: The `Settings` whose values are the defaults.
        into: Where to; the program's own flags.
        kinds: The `kinds.Kind`s of this program alone, by name of the field.

    Returns:
        Their names.
    """
    for field in dataclasses.fields(settings):
        kind, default = field.metadata["kind"], field.default
        if default is not None:  # else it depends on other settings, which are not known yet
            default = getattr(settings, field.name)
        kind = (kinds or {}).get(field.name, kind)
        name = fields.flag_of(field.name)
        define_kind(name, default, kind, field.metadata["help"], into)
        if kind.more:
            _refuse_unknown(name, kind, into)
    return [fields.flag_of(field.name) for field in dataclasses.fields(settings)]


def _refuse_unknown(name, kind, into):
    """Has a value refused that no module can have brought, once all flags are parsed."""

    def check(value):
        refusal = None if value is None or imported(into) else kind.refusal(value)
        if refusal:
            raise flags.ValidationError(refusal)
        return True

    flags.register_validator(name, check, flag_values=into)


def imported(values):
    """The modules that a command line imports: its own, else those of the run that it resumes.

    Args:
        values: The flags, parsed.
    """
    named = values["import"].value
    if named or "run_dir" not in values or not values["run_dir"].value:
        return named
    return Run(values["run_dir"].value).imports


def define_table(table, into=flags.FLAGS):
    """Defines flags of a program that has no configuration, and `--import`.

    Args:
        table: By name, the default, the `Kind` and the help of each.
        into: Where to; the program's own flags.

    Returns:
        Their names, without `--import`.
    """
    for name, (default, kind, help) in table.items():
        define_kind(name, default, kind, help, into)
    define_imports(into)
    return list(table)


def define_imports(into=flags.FLAGS):
    """Defines `--import` for a program without a configuration; `program.run` imports them."""
    define_kind("import", (), kinds.MODULES, fields.IMPORTS_HELP, into)


def define_recipe(into=flags.FLAGS):
    """Defines `--recipe`, which sets the flags that are not given."""
    told = " ".join(f"{name}: {described(name)}." for name in RECIPES)
    help = f"Settings that go together; flags given come before them. {told}"
    define_kind("recipe", PAPER, kinds.choice_kind(RECIPES), help, into)


def define_kind(name, default, kind, help, into=flags.FLAGS):
    """Defines one flag.

    Args:
        name: Its name.
        default: Its default, which may be None whatever the kind allows.
        kind: The `kinds.Kind` of its values.
        help: What `--help` says.
        into: Where to; the program's own flags.
    """
    if kind is kinds.SWITCH:
        flags.DEFINE_bool(name, default, help, flag_values=into)
        return
    flags.DEFINE(_Parser(kind), name, default, help, into, _Serializer(kind))
