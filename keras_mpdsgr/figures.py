"""Figures of matplotlib: titles that are wrapped to the width, and files that appear whole."""

import pathlib
import textwrap

from keras_mpdsgr.files import replacing

# Inches that a line of a title takes, in a font of 10.
TITLE_LINE = 0.2
# Letters that fit into an inch of a title, by the size of its font.
_LETTERS_AN_INCH = {9: 12, 10: 11}


def set_title(figure, title, fontsize=10):
    """Sets a title above a figure, in as many lines as it takes at the figure's width.

    Args:
        figure: The matplotlib `Figure`.
        title: The title; one of several lines keeps them.
        fontsize: 9 or 10.

    Returns:
        The number of lines.
    """
    letters = max(round(figure.get_figwidth() * _LETTERS_AN_INCH[fontsize]), 1)
    lines = [part for line in title.split("\n") for part in textwrap.wrap(line, letters)]
    if lines:
        figure.suptitle("\n".join(lines), fontsize=fontsize)
    return len(lines)


def save_figure(figure, path, dpi=120):
    """Writes a figure as a PNG file, whole or not at all."""
    with replacing(pathlib.Path(path)) as beside:
        figure.savefig(beside, dpi=dpi)
