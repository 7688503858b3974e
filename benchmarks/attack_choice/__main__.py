"""Measures what docs/evaluation.md says of the strongest suite, and writes its tables.

    python -m benchmarks.attack_choice
    python -m benchmarks.attack_choice --part choice --rows sapgd_100,sapgd_500
    python -m benchmarks.attack_choice --dry_run

Parts: choice, each attack alone on images that the suite was chosen by; leaves, the suite on
others; grid, what images of 8 bits a pixel break; published, AutoAttack on the images of leaves.
All attack saved_models/digits. A row is written as JSON once it is measured, and one that is there
with the same settings and the same model is not measured again: the same command resumes. A table
is written into the page beside the folder (docs/evaluation.md) when all its rows are there; until
then the page keeps what it has.
"""

import pathlib

from absl import flags

from benchmarks.attack_choice.rows import FOLDER, PARTS, chosen_rows
from trainers import program

_PART = flags.DEFINE_enum("part", None, PARTS, "Which part is measured; all.")
_ROWS = flags.DEFINE_list("rows", [], "Rows that are measured, separated by commas; all.")
_OUTPUT = flags.DEFINE_string("output", str(FOLDER), "Folder for the rows' JSON files.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "List rows and tables; measure and write nothing.")


def main():
    rows = chosen_rows(_PART.value, _ROWS.value)
    # TensorFlow takes seconds to import.
    from benchmarks.attack_choice import command

    command.run(rows, pathlib.Path(_OUTPUT.value), _DRY_RUN.value)


if __name__ == "__main__":
    program.run(main, __doc__)
