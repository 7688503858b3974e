"""Tables of a run, metrics.csv and probe.csv: rows that begin with an epoch, written and read."""

import contextlib
import csv
import io
import math
import os
import pathlib

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.files import replacing


class EpochTable:
    """A CSV file of rows that begin with an epoch; cut back when a run resumes from an earlier one.

    Args:
        path: The file.
    """

    def __init__(self, path):
        self._path = pathlib.Path(path)

    def cut(self, epochs):
        """Keeps the rows of the first `epochs` epochs."""
        kept = [row for row in table_rows(self._path) if int(row["epoch"]) <= epochs]
        if not kept:
            self._path.unlink(missing_ok=True)
            return
        with replacing(self._path) as beside, beside.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(kept[0]))
            writer.writeheader()
            writer.writerows(kept)

    def append(self, rows):
        """Adds rows, dictionaries with the same keys each time, and brings them to disk."""
        new = not self._path.is_file()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            if new:
                writer.writeheader()
            writer.writerows(rows)
            file.flush()
            with contextlib.suppress(OSError):  # no file of a disk, such as a pipe
                os.fsync(file.fileno())


def table_rows(path):
    """The rows of a CSV file of a run that are whole, as dictionaries of strings.

    Raises:
        SetupError: If it is not such a table.
    """
    if not path.is_file():
        return []
    try:
        text = path.read_bytes().decode()
        # A row that a kill or a full disk cut short has no end of line.
        whole = io.StringIO(text[: text.rfind("\n") + 1], newline="")
        rows = list(csv.DictReader(whole, strict=True))
        if not all(row["epoch"].isdigit() and None not in row.values() for row in rows):
            raise ValueError
    except (ValueError, KeyError, AttributeError, csv.Error):
        raise SetupError(f"{path} is damaged. Give another `run_dir`.") from None
    return rows


def columns(rows, words=()):
    """Rows of strings as lists of numbers by name; those of `words` stay strings."""
    if not rows:
        return {}
    return {
        name: [row[name] if name in words else _number(name, row[name]) for row in rows]
        for name in rows[0]
    }


def _number(name, text):
    try:
        return int(text) if name in ("epoch", "t") else float(text)
    except ValueError:
        return math.nan
