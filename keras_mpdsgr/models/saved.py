"""The trained models that come with the project, found by name."""

import difflib
import os
import pathlib

from keras_mpdsgr.arguments import check_path

MODEL_FILE = "model.keras"
VARIABLE = "KERAS_MPDSGR_MODELS"
_PROJECT = pathlib.Path(__file__).resolve().parents[2]


def available(folder=None):
    """Names of the saved models that `load` knows, sorted.

    A saved model is a folder with a model.keras and its card, made by `python -m trainers.card`.
    They are looked for in `folder`; else in the folder that the environment variable
    KERAS_MPDSGR_MODELS names; else in `saved_models/` of the source tree that the package runs
    from. The installed package does not hold them: at up to 5 MB each they would be most of it,
    also for all who train their own.

    Args:
        folder: A folder of saved models; None for the usual one.

    Returns:
        A list of names; empty where there is no such folder.

    Raises:
        ValueError: If `folder`, or what the variable names, is not a folder.

    Example:

    >>> "digits" in available()
    True
    """
    home = _home(folder)
    found = [] if home is None else home.glob(f"*/{MODEL_FILE}")
    return sorted(path.parent.name for path in found if path.is_file())


def find(path, folder=None):
    """The file of a model: a path as it is, the model.keras of a folder, or of a saved model.

    Args:
        path: A `.keras` file, a folder that holds a model.keras, or a name of `available(folder)`.
        folder: As of `available`.

    Raises:
        FileNotFoundError: If it is none of these.
    """
    given = pathlib.Path(path)
    if given.is_file():
        return given
    if (given / MODEL_FILE).is_file():
        return given / MODEL_FILE
    # An existing folder is meant as a path, and so is what no name looks like.
    if given.exists() or given.suffix == ".keras" or given.name != os.fspath(path):
        raise FileNotFoundError(f"There is no model at {path}.")
    names = available(folder)
    if given.name in names:
        return _home(folder) / given.name / MODEL_FILE
    raise FileNotFoundError(
        f"There is no model at {path}, and no saved model of that name. {_hint(given.name, names)}"
    )


def _home(folder):
    """The folder of the saved models; None where there is none."""
    check_path("folder", folder)
    named = os.environ.get(VARIABLE) or None
    asked = named if folder is None else folder
    if asked is not None:
        home = pathlib.Path(asked)
        if not home.is_dir():
            origin = "`folder`" if folder is not None else f"${VARIABLE}"
            raise ValueError(
                f"{origin} must be a folder of saved models. Received: {str(asked)!r}."
            )
        return home
    home = _PROJECT / "saved_models"
    # In site-packages a folder of that name would be someone else's.
    return home if home.is_dir() and (_PROJECT / "pyproject.toml").is_file() else None


def _hint(name, names):
    if not names:
        return (
            "Saved models come with the project's source, not with the installed package: get its "
            f"saved_models/ and name that folder by {VARIABLE} or `folder`."
        )
    near = difflib.get_close_matches(name, names, 1)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    return f"{meant}There are: {', '.join(names)}."
