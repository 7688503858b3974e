"""Rewrites the tables of docs/performance.md from the JSON files in docs/performance/.

    python -m benchmarks.page

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; one whose file is not there stays.
"""

import json
import pathlib
import re

from benchmarks import attack, memory, operations, pipeline, scaling, training
from keras_mpdsgr.files import replacing
from trainers import program

_PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "performance.md"
# Name of the table: file, and the function that makes it.
_TABLES = {
    "training": ("training", training.steps_table),
    "first-step": ("training", training.first_step_table),
    "attack": ("attack", lambda result: attack.table(result, "attack")),
    "input-gradient": ("attack", lambda result: attack.table(result, "input_gradient")),
    "memory": ("memory", memory.table),
    "pipeline": ("pipeline", pipeline.table),
    "operations": ("operations", operations.table),
    "scaling": ("scaling", scaling.tables),
}


def filled(text, folder):
    """A page with the tables of a folder's files between its marks.

    Args:
        text: The page.
        folder: Where the JSON files are.
    """

    def table(found):
        file, make = _TABLES[found["name"]]
        path = folder / f"{file}.json"
        if not path.is_file():
            return found[0]
        return f"{found['mark']}\n\n{make(json.loads(path.read_text()))}\n\n<!-- end -->"

    marked = r"(?P<mark><!-- table: (?P<name>[\w-]+) -->).*?<!-- end -->"
    return re.sub(marked, table, text, flags=re.DOTALL)


def main():
    text = filled(_PAGE.read_text(), _PAGE.with_suffix(""))
    with replacing(_PAGE) as beside:
        beside.write_text(text)


if __name__ == "__main__":
    program.run(main, __doc__)
