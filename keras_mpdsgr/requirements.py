"""Packages of extras, imported where they are used."""

import importlib


def require(package, extra, what):
    """Imports a package that comes with an extra.

    Args:
        package: Name of the package.
        extra: Name of this project's extra that brings it.
        what: Name of the function that needs it, for the error.

    Returns:
        The module.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"`{what}` needs the package {package}, which is not installed. "
            f"Run `python -m pip install keras-mpdsgr[{extra}]`."
        ) from error
