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

from benchmarks import choice_tables
from benchmarks.choice_rows import PARTS, ROWS
from keras_mpdsgr.arguments import did_you_mean
from keras_mpdsgr.files import write_json
from trainers import marked, program

_FOLDER = pathlib.Path(__file__).resolve().parents[1] / "docs" / "evaluation"
_PART = flags.DEFINE_enum("part", None, PARTS, "Which part is measured; all.")
_ROWS = flags.DEFINE_list("rows", [], "Rows that are measured, separated by commas; all.")
_OUTPUT = flags.DEFINE_string("output", str(_FOLDER), "Folder for the rows' JSON files.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "List rows and tables; measure and write nothing.")


def chosen_rows(part, names):
    """The rows of a part and of these names; all where there are none.

    Raises:
        SetupError: If there is no row of a name, or none of it in the part.
    """
    own = [name for name, row in ROWS.items() if part in (None, row.part)]
    for name in names:
        if name not in own:
            raise program.SetupError(
                f"--rows must be of {', '.join(own)}. Received: {name}.{did_you_mean(name, own)}"
            )
    return [ROWS[name] for name in own if not names or name in names]


def measure(rows, folder, bench, progress=None, say=print):
    """Measures the rows that are missing, and returns how many these were.

    Args:
        rows: The `Row`s.
        folder: Where their files are.
        bench: The `Bench`.
        progress: As of `evaluation.evaluate`.
        say: Function that shows a line.
    """
    from benchmarks.choice_measuring import read

    found = read(folder)
    missing = [row for row in rows if not _done(row, found, bench)]
    for number, row in enumerate(missing, 1):
        say(f"row {number} of {len(missing)}: {row.name}, {row.title}")
        told = bench.measure(row, progress)
        write_json(folder / f"{row.name}.json", told)
        left = ", ".join(f"{name} {len(numbers)}" for name, numbers in told["left"].items())
        say(f"left of {told['right_when_clean']}: {left}; {told['cpu_seconds']} CPU s")
    return len(missing)


def write_tables(folder, bench, rows=ROWS, dry_run=False, say=print):
    """Writes the tables that can be made into the page beside a folder, if there is one.

    Args:
        folder: Where the files are.
        bench: The `Bench`; rows that were measured with other settings count as missing.
        rows: All `Row`s, by name.
        dry_run: Whether nothing is written.
        say: Function that shows a line.
    """
    from benchmarks.choice_measuring import read

    found = read(folder)
    done = {name: found[name] for name, row in rows.items() if _done(row, found, bench)}
    page = folder.with_name(f"{folder.name}.md")
    for name, (needed, _) in choice_tables.TABLES.items():
        missing = choice_tables.missing(name, done)
        state = f"stays, {len(missing)} of {len(needed)} rows are missing" if missing else "is made"
        say(f"{page.name}: table {name} {state}")
    if not dry_run and page.is_file():
        marked.write(page, choice_tables.made(done))


def _done(row, found, bench):
    return row.name in found and found[row.name]["settings"] == bench.settings(row)


def main():
    rows = chosen_rows(_PART.value, _ROWS.value)
    folder = pathlib.Path(_OUTPUT.value)
    # TensorFlow takes seconds to import.
    from benchmarks.choice_measuring import Bench, read
    from keras_mpdsgr.experiments.progress import AttackProgress, make_console

    bench = Bench()
    if _DRY_RUN.value:
        found = read(folder)
        for row in rows:
            state = "done" if _done(row, found, bench) else "missing"
            print(f"{row.name}: {row.title}, {state}")
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise program.SetupError(f"cannot write to {folder}: {error}") from error
        console = make_console()
        measure(rows, folder, bench, AttackProgress(console), console.print)
    write_tables(folder, bench, dry_run=_DRY_RUN.value)


if __name__ == "__main__":
    program.run(main, __doc__)
