"""What every program does alike: flags, help, one line for an error, the exit status."""

import contextlib
import sys
import traceback

from absl import app, flags, logging

_DEBUG = flags.DEFINE_bool("debug", False, "Show tracebacks.")

USAGE, FAILURE, INTERRUPTED = 2, 1, 130


class UsageError(Exception):
    """What the caller can mend: flags, missing or broken input files. Exit status 2."""


class RunError(Exception):
    """A failure while running. Exit status 1."""


@contextlib.contextmanager
def usage_errors():
    """Turns the library's refusals of an argument or an input file into a `UsageError`."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error


def run(main, description, positional=False):
    """Parses the flags, runs `main()` and exits with its status.

    Exit status: 0; 2 for what the caller can mend; 1 for a failure while running; 130 after Ctrl-C.

    Args:
        main: Function of no arguments, or of one, the list of words, if `positional`.
        description: What `--help` shows above the flags.
        positional: Whether the program takes words beside flags.
    """

    def called(words):
        sys.exit(_guarded((lambda: main(words[1:])) if positional else main))

    app.run(called, flags_parser=lambda a: _parse(a, description, positional))


def _parse(arguments, description, positional):
    if any(word in ("-h", "--help", "-help", "--helpfull") for word in arguments[1:]):
        print(f"{description.strip()}\n{flags.FLAGS.main_module_help()}")
        sys.exit(0)
    flags.FLAGS.set_gnu_getopt(True)  # flags may follow words
    try:
        rest = flags.FLAGS(arguments)
        if len(rest) > 1 and not positional:
            raise flags.Error(f"unexpected argument {rest[1]!r}; flags begin with --")
    except flags.Error as error:
        _say(error)
        sys.exit(USAGE)
    return rest


def _guarded(main):
    if not _DEBUG.value:
        logging.set_verbosity(logging.WARNING)  # TFDS says what it reads.
    try:
        main()
        return 0
    except KeyboardInterrupt:
        _say("interrupted. The same command goes on from the last checkpoint.")
        return INTERRUPTED
    except UsageError as error:
        status = _failed(error, USAGE)
    except RunError as error:
        status = _failed(error, FAILURE)
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
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
