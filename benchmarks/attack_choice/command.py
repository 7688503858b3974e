"""What `python -m benchmarks.attack_choice` does: rows that are missing, then the tables."""

from benchmarks.attack_choice import tables
from benchmarks.attack_choice.measuring import Bench, read
from benchmarks.attack_choice.rows import ROWS
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments.progress import AttackProgress, make_console
from keras_mpdsgr.files import write_json
from trainers import marked


def run(rows, folder, dry_run=False):
    """Measures the rows that are missing and writes the tables, or lists both.

    Args:
        rows: The `Row`s.
        folder: Where their files are.
        dry_run: Whether nothing is measured and written.
    """
    bench = Bench()
    if dry_run:
        found = read(folder)
        for row in rows:
            state = "done" if _done(row, found, bench) else "missing"
            print(f"{row.name}: {row.title}, {state}")
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"cannot write to {folder}: {error}") from error
        console = make_console()
        measure(rows, folder, bench, AttackProgress(console), console.print)
    write_tables(folder, bench, dry_run=dry_run)


def measure(rows, folder, bench, progress=None, say=print):
    """Measures the rows that are missing, and returns how many these were.

    Args:
        rows: The `Row`s.
        folder: Where their files are.
        bench: The `Bench`.
        progress: As of `evaluation.evaluate`.
        say: Function that shows a line.
    """
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
    found = read(folder)
    done = {name: found[name] for name, row in rows.items() if _done(row, found, bench)}
    page = folder.with_name(f"{folder.name}.md")
    for name, (needed, _) in tables.TABLES.items():
        missing = tables.missing(name, done)
        state = f"stays, {len(missing)} of {len(needed)} rows are missing" if missing else "is made"
        say(f"{page.name}: table {name} {state}")
    if not dry_run and page.is_file():
        marked.write(page, tables.made(done))


def _done(row, found, bench):
    return row.name in found and found[row.name]["settings"] == bench.settings(row)
