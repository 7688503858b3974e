"""Tables whose numbers stay whole: a terminal that is too narrow gets fewer columns."""

import typing

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

# What rich draws beside a cell: a blank on each side and one line; one more line at the end.
_AROUND, _END = 3, 1
_LEAST_WORDS = 16


class Column(typing.NamedTuple):
    """A column.

    Attributes:
        name: Its heading.
        number: Whether it holds numbers, which are never wrapped; words may be.
        rank: How soon it is left out: the highest first, of equals the rightmost.
    """

    name: str
    number: bool = True
    rank: int = 1


def print_table(console, title, columns, rows, whole="", caption=None):
    """Prints a table; whole, however wide, where there is no terminal.

    Args:
        console: A rich console.
        title: Its title.
        columns: The `Column`s; the first always stays.
        rows: Their cells as text, a sequence a row.
        whole: Where the whole table is, in words, for a line about columns left out.
        caption: What is said under it.
    """
    rows = [tuple(map(str, row)) for row in rows]
    least = [_least(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    kept = list(range(len(columns)))
    while console.is_terminal and len(kept) > 1 and _width(least, kept) > console.width:
        kept.remove(max(kept[1:], key=lambda i: (columns[i].rank, i)))
    shown = Table(
        title=Text(title),
        title_justify="left",
        caption=caption and Text(caption),
        min_width=min(cell_len(title), console.width),
    )
    for i in kept:
        one = columns[i]
        shown.add_column(
            Text(one.name), justify="right" if one.number else "left", min_width=least[i]
        )
    for row in rows:
        shown.add_row(*(Text(row[i], no_wrap=columns[i].number) for i in kept))
    wide = max(console.width, _width(least, kept))
    console.print(shown, width=wide, crop=False)
    if len(kept) < len(columns):
        left = ", ".join(columns[i].name for i in range(len(columns)) if i not in kept)
        where = f" The whole table: {whole}" if whole else ""
        console.print(f"Too narrow for: {left}.{where}", soft_wrap=True)


def _least(column, cells):
    """The width that a column needs at least."""
    widest = max(map(cell_len, cells), default=0)
    words = column.name.split() if column.number else " ".join([column.name, *cells]).split()
    longest_word = max(map(cell_len, words), default=0)
    return max(widest if column.number else min(widest, _LEAST_WORDS), longest_word)


def _width(least, kept):
    return sum(least[i] + _AROUND for i in kept) + _END
