"""Modules of a user's own, which a configuration names: importing them registers their parts."""

import importlib
import sys
import traceback

from keras_mpdsgr.errors import SetupError


def pending(names):
    """Those of these modules that are not imported yet.

    Args:
        names: Names of modules.
    """
    return [name for name in names if name not in sys.modules]


def load(names, said="`imports`"):
    """Imports modules.

    Args:
        names: Their names.
        said: Where they are named, for messages.

    Raises:
        SetupError: If one is not there, or fails.
    """
    if pending(names):
        importlib.invalidate_caches()  # it may have been written a moment ago
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            if isinstance(error, ModuleNotFoundError) and _is_in(error.name or "", name):
                raise SetupError(
                    f"{said} must name modules in the current folder or installed ones; there is "
                    f"no {error.name}. Received: {name!r}."
                ) from error
            raise SetupError(
                f"{said} {name} cannot be imported{_line(error, name)}: "
                f"{type(error).__name__}: {error}"
            ) from error


def _is_in(missing, name):
    return name == missing or name.startswith(f"{missing}.")


def _line(error, name):
    """The line of the module that has failed, where there is one."""
    path = name.replace(".", "/")
    ends = (f"{path}.py", f"{path}/__init__.py")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.replace("\\", "/").endswith(ends):
            return f" (line {frame.lineno})"
    return ""
