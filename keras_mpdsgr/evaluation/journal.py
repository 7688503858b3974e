"""A file of per-sample results that grows while attacks run, and from which they resume."""

import csv
import dataclasses
import hashlib
import os
import pathlib

import numpy as np

from keras_mpdsgr.files import replacing

# The last field, by which a row that a kill cut short is known.
_END = "."
_VALUES = ("prediction", "loss", "linf", "l2", "right", "grid")
_FIELDS = ("run", "attack", "index", "label", *_VALUES, "seconds", "gradient_calls", "end")


@dataclasses.dataclass
class Done:
    """What a journal holds of one attack: per-sample values by name, and what they cost."""

    indices: np.ndarray
    values: dict
    seconds: float
    gradient_calls: int


class Journal:
    """Per-sample results in a CSV file, a row for each sample and attack.

    Rows of a run with other settings are dropped when it is opened; a row that a kill cut short is
    dropped too.

    Args:
        path: The file; None to keep nothing.
        settings: What the results depend on, in words; a change makes it another run.
    """

    def __init__(self, path, settings):
        self._path = None if path is None else pathlib.Path(path)
        self._run = _run_of(settings)
        self._rows = self._read(self._path, self._run)
        self._rewrite()

    def done(self, attack):
        """The `Done` of one attack."""
        rows = [row for row in self._rows if row["attack"] == attack]
        values = {name: np.array([float(row[name]) for row in rows]) for name in _VALUES}
        return Done(
            indices=np.array([int(row["index"]) for row in rows], int),
            values=values,
            seconds=sum(float(row["seconds"]) for row in rows),
            gradient_calls=round(sum(float(row["gradient_calls"]) for row in rows)),
        )

    def take_over(self, path, settings):
        """Adds the rows of another journal, of some of the same samples, that are not here yet.

        Args:
            path: Its file.
            settings: What its results depend on.

        Raises:
            ValueError: If it holds no rows of these settings, or a sample twice.
        """
        run = _run_of(settings)
        rows = self._read(pathlib.Path(path), run)
        if not rows:
            raise ValueError(
                "`parts` must be computed by the same model, on the same images, with the same "
                f"attacks and settings. Received: {path}, which holds no such results."
            )
        here = {(row["attack"], row["index"]) for row in self._rows}
        met = set()
        for row in rows:
            key = row["attack"], row["index"]
            if key in met:
                raise ValueError(
                    "`parts` must hold each sample once. Received: "
                    f"{path}, which holds sample {key[1]} of {key[0]} twice."
                )
            met.add(key)
        self._rows += [
            row | {"run": self._run} for row in rows if (row["attack"], row["index"]) not in here
        ]
        self._rewrite()

    def append(self, attack, indices, labels, values, seconds, gradient_calls):
        """Adds a chunk of samples; time and gradient calls are shared out evenly among them."""
        if self._path is None:
            return
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=_FIELDS)
            for k, index in enumerate(indices):
                own = {name: values[name][k] for name in _VALUES}
                writer.writerow(
                    {
                        "run": self._run,
                        "attack": attack,
                        "index": int(index),
                        "label": int(labels[k]),
                        **own,
                        "seconds": f"{seconds / len(indices):.6f}",
                        "gradient_calls": gradient_calls / len(indices),
                        "end": _END,
                    }
                )
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _read(path, run):
        if path is None or not path.is_file():
            return []
        with path.open(newline="") as file:
            return [row for row in csv.DictReader(file) if _is_whole(row, run)]

    def _rewrite(self):
        if self._path is None:
            return
        with replacing(self._path) as beside, beside.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=_FIELDS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self._rows)


def _run_of(settings):
    return hashlib.sha256(settings.encode()).hexdigest()[:12]


def _is_whole(row, run):
    if row.get("run") != run or row.get("end") != _END:
        return False
    try:
        [float(row[name]) for name in (*_VALUES, "index", "seconds", "gradient_calls")]
    except (TypeError, ValueError):
        return False
    return True
