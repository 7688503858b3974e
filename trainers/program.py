"""What every program does alike: flags, help, one line for an error, the exit status."""

import os
import re
import sys
import traceback

from absl import app, flags, logging

from keras_mpdsgr.arguments import did_you_mean
from keras_mpdsgr.errors import RunError, SetupError
from keras_mpdsgr.experiments import fields, imports, interrupts
from trainers import help, start_up

_DEBUG = flags.DEFINE_bool("debug", False, "Show tracebacks, and TensorFlow's messages.")
# `run` makes it a flag of the program that calls it, so that it stands in its `--help`.
flags.disclaim_key_flags()

# TensorFlow quotes whole graphs.
_LONGEST_LINE = 600

USAGE, FAILURE, INTERRUPTED = 2, 1, 130


def run(main, description, positional=False, refused=()):
    """Parses the flags, imports what `--import` names, runs `main()` and exits with its status.

    Exit status: 0; 2 for what the caller can fix; 1 for a failure while running; 130 after Ctrl-C.

    Args:
        main: Function of no arguments, or of one, the list of words, if `positional`.
        description: What `--help` shows above the flags.
        positional: Whether the program takes words beside flags.
        refused: Names of flags that are known, and that it does not take.
    """

    flags.declare_key_flag("debug")

    def called(words):
        interrupts.remember()
        sys.exit(_guarded((lambda: main(words[1:])) if positional else main))

    app.run(called, flags_parser=lambda a: _parse(a, description, positional, refused))


def parsed(arguments, values=flags.FLAGS, positional=False, refused=()):
    """Parses a command line, `arguments[0]` being the program's name.

    Raises:
        SetupError: If a flag is unknown, or its value is not allowed: one line that names the flag,
            the value and what is allowed.
    """
    try:
        rest = values(arguments)
    except flags.UnrecognizedFlagError as error:
        names = [name for name in values if name not in refused]
        raise SetupError(_unknown(error.flagname, names, values)) from error
    except flags.Error as error:
        raise SetupError(_explained(str(error), values)) from error
    except ValueError as error:  # of --noaugment=1, as the one case
        raise SetupError(f"{error}. Give the flag alone.") from error
    if len(rest) > 1 and not positional:
        raise SetupError(f"unexpected argument {rest[1]!r}; flags begin with --")
    return rest


def values(names, values=flags.FLAGS):
    """The values of the program's flags of these names, by name of the field of each."""
    return {fields.field_of(name): values[name].value for name in names}


def in_flags(message, values=flags.FLAGS):
    """A message of the library with the program's flags for the arguments that it names."""

    def flag(found):
        name = fields.flag_of(found[1])
        return f"--{name}" if name in values else found[0]

    return re.sub(r"`(\w+)`", flag, message)


def _unknown(name, names, values):
    """What is to be said of a flag that does not exist; `--noaugmnt` is meant to be --noaugment."""
    off = [f"no{known}" for known in names if values[known].boolean]
    is_off = name.lower().startswith("no") and len(name) > 2
    meant = did_you_mean(name, off, "--{}") if is_off else ""
    meant = meant or did_you_mean(name, [*names, *off], "--{}")
    return f"there is no flag --{name}.{meant or ' --help lists all.'}"


def _explained(said, values):
    """What absl says of a flag's value; where that is Python's own error, what is allowed."""
    of_value = re.fullmatch(r"flag --(\w+)=(.*?): (.*)", said, re.DOTALL)
    if of_value is None or of_value[3].startswith("must be"):
        return said
    flag = values[of_value[1]]
    allowed = flag.parser.syntactic_help or ("true or false" if flag.boolean else of_value[3])
    if isinstance(flag.parser, flags.EnumParser):
        choices = flag.parser.enum_values
        return (
            f"flag --{flag.name}={of_value[2]}: must be one of {', '.join(choices)}."
            f"{did_you_mean(of_value[2], choices)}"
        )
    return f"flag --{flag.name}={of_value[2]}: must be {allowed}."


def _parse(arguments, description, positional, refused=()):
    if any(word in ("-h", "--help", "-help", "--helpfull") for word in arguments[1:]):
        shown = [name for name in _own_flags() if name not in refused]
        print(f"{description.strip()}\n\n{help.text(flags.FLAGS, shown)}")
        sys.exit(0)
    flags.FLAGS.set_gnu_getopt(True)  # flags may follow words
    try:
        return parsed(arguments, positional=positional, refused=refused)
    except SetupError as error:
        _say(error)
        sys.exit(USAGE)


def _own_flags():
    """Names of the program's flags, in whichever way it was started."""
    keys = flags.FLAGS.key_flags_by_module_dict()
    module = next(name for name, its in keys.items() if any(flag.name == "debug" for flag in its))
    return [flag.name for flag in flags.FLAGS.get_key_flags_for_module(module)]


def _import_modules():
    # As `python -m` has it for what is named there; last, so that a file here hides no package.
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    if "import" in flags.FLAGS:
        imports.load(flags.FLAGS["import"].value)


def _guarded(main):
    if not _DEBUG.value:
        logging.set_verbosity(logging.WARNING)  # TFDS says what it reads.
        start_up.quieten()
    try:
        _import_modules()
        main()
        return 0
    except KeyboardInterrupt:
        _say("interrupted. Run the same command again to resume from the last checkpoint.")
        return INTERRUPTED
    except SetupError as error:
        status = _failed(in_flags(str(error)), USAGE)
    except RunError as error:
        status = _failed(in_flags(str(error)), FAILURE)
    except Exception as error:  # the one place where a failure becomes a line
        status = _failed(f"{type(error).__name__}: {error}", FAILURE)
    return status


def _failed(error, status):
    if _DEBUG.value:
        traceback.print_exc()
    _say(error)
    return status


def _say(error):
    sys.stdout.flush()
    line = " ".join(str(error).split())
    if len(line) > _LONGEST_LINE and not _DEBUG.value:
        line = f"{line[:_LONGEST_LINE]} ... (--debug shows all)"
    print(f"error: {line}", file=sys.stderr, flush=True)
