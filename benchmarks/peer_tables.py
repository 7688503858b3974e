"""The comparisons with other libraries' attacks in docs/evaluation.md: their files, their tables.

Tests measure them, which also hold the attacks to them, and write them if asked:

    python -m pytest -m slow tests/evaluation/test_references.py --record
    python -m pytest -m slow tests/attacks/test_against_autoattack.py --record
"""

import importlib.metadata
import pathlib

import numpy as np

from benchmarks import markdown
from keras_mpdsgr.evaluation import mcnemar
from keras_mpdsgr.files import read_json, write_json
from trainers import marked

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "docs" / "evaluation" / "peers"
PAGE = FOLDER.parents[1] / "evaluation.md"
# Name of the table, and of its file: the attacks that it must have.
TABLES = {
    "foolbox-and-art": (
        "FGSM (Foolbox)",
        "BIM, 7 steps (Foolbox)",
        "PGD, 7 steps (Foolbox)",
        "PGD, 50 steps (Foolbox)",
        "Auto-PGD, cross-entropy, 50 steps (ART)",
        "Square, 300 queries (ART)",
        "CW L2, 5 x 100 steps (Foolbox)",
    ),
    "public-autoattack": (
        "Auto-PGD, cross-entropy, 24/255",
        "APGD-T, 24/255",
        "FAB-T, 24/255",
        "Square, 24/255",
        "all four, 8/255",
        "all four, 16/255",
        "all four, 24/255",
    ),
}


def compared(own, reference, seconds, same=None, distances=None):
    """What is written down of one attack and its reference, a dictionary.

    Args:
        own: Booleans, `(n,)`: which images are right after this library's attack.
        reference: The same after the other's.
        seconds: CPU seconds of both.
        same: Share of images for which both found the same image; None if that says nothing.
        distances: Mean L2 distances of both from the clean images; None if they are bounded.
    """
    own, reference = np.asarray(own), np.asarray(reference)
    return {
        "images": len(own),
        "right": [int(own.sum()), int(reference.sum())],
        "only_right": [int((own & ~reference).sum()), int((reference & ~own).sum())],
        "p": float(mcnemar(own, reference)),
        "same": None if same is None else round(float(same), 4),
        "distances": None if distances is None else [round(float(one), 4) for one in distances],
        "cpu_seconds": [round(one, 1) for one in seconds],
    }


def table(told):
    """What a file says, in Markdown: on what it was measured, and the table.

    Args:
        told: What `record` has written.
    """
    said = ", ".join(f"{name} {value}" for name, value in told["settings"].items())
    head = (
        "attack", "ours", "reference", "only ours right", "only the reference's",
        "McNemar p", "same image", "CPU s, ours", "reference's",
    )  # fmt: skip
    rows = [_row(name, one) for name, one in told["attacks"].items()]
    return f"Measured with {said}.\n\n{markdown.table(head, rows)}"


def _row(name, one):
    shares = [f"{right / one['images']:.1%}" for right in one["right"]]
    if one["distances"]:
        shares = [
            f"{share}, distance {distance:.4f}"
            for share, distance in zip(shares, one["distances"], strict=True)
        ]
    same = "" if one["same"] is None else f"{one['same']:.0%}"
    seconds = [f"{seconds:.0f}" for seconds in one["cpu_seconds"]]
    return name, *shares, *one["only_right"], f"{one['p']:.2g}", same, *seconds


def tables(folder=FOLDER):
    """The tables whose files are in a folder, by name.

    Args:
        folder: Where the JSON files are.
    """
    paths = {name: folder / f"{name}.json" for name in TABLES}
    return {name: table(read_json(path)) for name, path in paths.items() if path.is_file()}


def record(name, settings, attacks, page=PAGE, folder=FOLDER):
    """Writes a file and its table into the page.

    Args:
        name: One of `TABLES`.
        settings: What was measured on what, by name.
        attacks: What `compared` gives, by the attack's name in the table.
        page: The page.
        folder: Where the file is written.

    Raises:
        ValueError: If an attack of the table is missing: a file holds all of one run or nothing.
    """
    missing = [attack for attack in TABLES[name] if attack not in attacks]
    if missing:
        raise ValueError(f"{name} is not written without {', '.join(missing)}.")
    folder.mkdir(parents=True, exist_ok=True)
    told = {"settings": settings, "attacks": {one: attacks[one] for one in TABLES[name]}}
    write_json(folder / f"{name}.json", told)
    marked.write(page, {name: table(told)})


def finish(name, settings, packages, attacks, write):
    """Prints what was measured, and writes it if asked.

    Args:
        name, attacks: As of `record`.
        settings: What was measured on what, by name.
        packages: Names of the distributions whose versions belong to that.
        write: Whether to `record` it.
    """
    settings = settings | {package: importlib.metadata.version(package) for package in packages}
    print(f"\n{table({'settings': settings, 'attacks': attacks})}")
    if write:
        record(name, settings, attacks)
