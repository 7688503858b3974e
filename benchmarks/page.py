"""Rewrites the tables of docs/performance.md from the JSON files in docs/performance/.

    python -m benchmarks.page

A table stands between marks (`trainers.marked`); one whose file is not there stays.
"""

import json
import pathlib

from benchmarks import (
    adversarial,
    attack,
    full_width,
    memory,
    operations,
    pipeline,
    scaling,
    seeds,
    training,
)
from trainers import marked, program

_PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "performance.md"
# Name of the table: file, and the function that makes it.
_TABLES = {
    "training": ("training", training.steps_table),
    "first-step": ("training", training.first_step_table),
    "attack": ("attack", lambda result: attack.table(result, "attack")),
    "input-gradient": ("attack", lambda result: attack.table(result, "input_gradient")),
    "bfloat16-training": ("bfloat16-training", training.steps_table),
    "bfloat16-attack": ("bfloat16-attack", lambda result: attack.table(result, "attack")),
    "adversarial": ("adversarial", adversarial.steps_table),
    "memory": ("memory", memory.table),
    "pipeline": ("pipeline", pipeline.table),
    "operations": ("operations", operations.table),
    "precision": ("precision", seeds.table),
    "full-width": ("full_width", full_width.table),
    "half-width-training": ("half-width-training", training.steps_table),
    "half-width-attack": ("half-width-attack", lambda result: attack.table(result, "attack")),
    "scaling": ("scaling", scaling.tables),
}


def tables(folder):
    """The tables whose files are in a folder, by name.

    Args:
        folder: Where the JSON files are.
    """
    paths = {name: (folder / f"{file}.json", make) for name, (file, make) in _TABLES.items()}
    return {
        name: make(json.loads(path.read_text()))
        for name, (path, make) in paths.items()
        if path.is_file()
    }


def main():
    marked.write(_PAGE, tables(_PAGE.with_suffix("")))


if __name__ == "__main__":
    program.run(main, __doc__)
