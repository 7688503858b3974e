"""A saved model's card held against its files and its model, as a table on the screen."""

import pathlib

from keras_mpdsgr.errors import RunError
from keras_mpdsgr.experiments import verification
from keras_mpdsgr.experiments.columns import Column, print_table
from keras_mpdsgr.experiments.progress import AttackProgress, make_console
from keras_mpdsgr.pages import card
from keras_mpdsgr.pages.wording import display_name


def check(path, data_dir=None, retrain=False, limit=None, verbose=True):
    """Checks a card, prints its figures beside those found now, and a line for each that is off.

    Args:
        path: Folder of the saved model.
        data_dir, retrain, limit: As of `experiments.verification.verify`.
        verbose: Whether table and progress are shown.

    Returns:
        The `verification.Figure`s.

    Raises:
        SetupError: If the folder holds no saved model, or cannot be evaluated as it was.
        RunError: If the card's text is not what is made from its files, or a figure is off.
    """
    console = make_console(quiet=not verbose)
    line = card.differs(path)
    figures = list(
        verification.verify(
            path, data_dir, retrain, limit, progress=AttackProgress(console), verbose=verbose
        )
    )
    kind = "a network trained again" if retrain else "the model"
    columns = [
        Column("report", number=False, rank=2),
        Column("figure", number=False, rank=0),
        Column("images", rank=3),
        Column("card"),
        Column("now"),
        Column("allowed", rank=2),
        Column("", number=False, rank=0),
    ]
    rows = []
    for one in figures:
        allowed = f"{max(one.low, 0):.2%} .. {min(one.high, 1):.2%}"
        cells = (one.said.total, f"{one.said.value:.2%}", f"{one.found:.2%}", allowed)
        rows.append((one.report, display_name(one.name), *cells, "" if one.holds else "off"))
    print_table(console, f"{pathlib.Path(path)}: its card and {kind}", columns, rows)
    off = [one for one in figures if not one.holds]
    for one in off:
        console.print(
            f"off: {one.report}, {display_name(one.name)}: {one.said.value:.2%} on the card, "
            f"{one.found:.2%} now",
            soft_wrap=True,
        )
    told = []
    if line is not None:
        told.append(
            f"{pathlib.Path(path) / card.FILE} is not what is made from the files beside it, from "
            f"its line {line} on: renew it by python -m trainers.card {path} --out {path}"
        )
    if off:
        told.append(f"{len(off)} of {len(figures)} figures are off")
    if told:
        raise RunError(". ".join(told))
    return figures
