"""The paper's own numbers, from paper_values.json."""

import functools
import json
import pathlib

_PATH = pathlib.Path(__file__).with_name("paper_values.json")


@functools.cache
def printed():
    """All of the file."""
    return json.loads(_PATH.read_text())


def row(number, labels, section=""):
    """The numbers of one row of a table, by column; in percent, a pair where there are two.

    Args:
        number: The table's, as `"1"`.
        labels: What stands at the row's left.
        section: Heading above it.
    """
    for found in printed()["tables"][number]["rows"]:
        if found["labels"] == list(labels) and found.get("section", "") == section:
            return found["values"]
    raise KeyError(f"table {number} has no row {labels} in {section!r}")


def of_cell(number, labels, section, key):
    """One cell's numbers as a tuple; empty for a column that the paper does not have."""
    found = row(number, labels, section).get(key, ())
    return tuple(found) if isinstance(found, list) else (found,) if found != () else ()
