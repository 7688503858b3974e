"""What configurations share: checked, compared by a key, written as a dictionary and a command."""

import dataclasses
import hashlib
import json
import shlex

from keras_mpdsgr.arguments import did_you_mean
from keras_mpdsgr.errors import SetupError, setup_errors
from keras_mpdsgr.experiments.fields import field_of, flag_of
from keras_mpdsgr.experiments.kinds import SWITCH


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of configurations, whose fields are made by the functions of `fields`.

    All values are checked where one is made, also by `dataclasses.replace`. A field whose default
    is None takes None.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            checked = field.metadata["kind"].checked(field.name, value)
            object.__setattr__(self, field.name, checked)

    def __hash__(self):
        return hash(json.dumps(self.to_dict(), sort_keys=True))

    def replace(self, **changes):
        """The same with some values changed, and checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self):
        """All values by name, as JSON has them."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values):
        """The configuration of these values; what is not given has its default.

        Raises:
            SetupError: If there is no field of a name, or a value is not allowed.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                meant = did_you_mean(name, known, "`{}`")
                raise SetupError(f"{cls.__name__} has no `{name}`.{meant}")
        return cls(**values)

    @classmethod
    def from_words(cls, words):
        """The configuration that flags ask for, in the form in which `words` writes them.

        Raises:
            SetupError: As `from_dict`.
        """
        kinds = {field.name: field.metadata["kind"] for field in dataclasses.fields(cls)}
        values = {}
        for word in words:
            flag, given, text = word.removeprefix("--").partition("=")
            name, off = field_of(flag), flag.removeprefix("no")
            if given and name in kinds:
                with setup_errors():
                    values[name] = kinds[name].parsed(text)
            elif name != off and kinds.get(off) is SWITCH:
                values[off] = False
            else:
                values[name] = True
        return cls.from_dict(values)

    def identity(self):
        """The values that tell which experiment it is, by name."""
        return {
            field.name: self.to_dict()[field.name]
            for field in dataclasses.fields(self)
            if not field.metadata["apart"]
        }

    def keyed(self):
        """The values that `key` is a digest of, by name."""
        return self.identity()

    def key(self):
        """Digest of the values that tell which experiment it is.

        Those at their default are left out, so that a field that is new changes no key; and those
        that only change how fast it is done.
        """
        usual = type(self)().to_dict()
        pace = {field.name for field in dataclasses.fields(self) if field.metadata["pace"]}
        asked = {k: v for k, v in self.keyed().items() if v != usual[k] and k not in pace}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:10]

    def words(self, usual=None):
        """The flags that differ from a program's defaults, a list of words.

        Args:
            usual: The program's defaults, where they are not this class's own.
        """
        usual = type(self)() if usual is None else usual
        words = []
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), field.metadata["kind"]
            if value == getattr(usual, field.name):
                continue
            if isinstance(value, bool):
                words.append(f"--{field.name}" if value else f"--no{field.name}")
            elif value is not None:
                words.append(f"--{flag_of(field.name)}={kind.write(value)}")
        return words


def command_line(words):
    """The words after `python -m` as a line for a shell."""
    return f"python -m {shlex.join(words)}"
