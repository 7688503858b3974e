"""A file of per-sample results that grows while attacks run, and from which they go on."""

import csv
import dataclasses
import hashlib
import os
import pathlib

import numpy as np

# The last field, by which a row that a kill cut short is known.
_END = "."
_FIGURES = ("prediction", "loss", "linf", "l2")
_FIELDS = ("run", "attack", "index", "label", *_FIGURES, "seconds", "gradient_calls", "end")


@dataclasses.dataclass
class Done:
    """What a journal holds of one attack: per-sample figures by name, and what they cost."""

    indices: np.ndarray
    figures: dict
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
        self._run = hashlib.sha256(settings.encode()).hexdigest()[:12]
        self._rows = self._read()
        self._rewrite()

    def done(self, attack):
        """The `Done` of one attack."""
        rows = [row for row in self._rows if row["attack"] == attack]
        figures = {name: np.array([float(row[name]) for row in rows]) for name in _FIGURES}
        return Done(
            indices=np.array([int(row["index"]) for row in rows], int),
            figures=figures,
            seconds=sum(float(row["seconds"]) for row in rows),
            gradient_calls=round(sum(float(row["gradient_calls"]) for row in rows)),
        )

    def append(self, attack, indices, labels, figures, seconds, gradient_calls):
        """Adds a chunk of samples; time and gradient calls are shared out evenly among them."""
        if self._path is None:
            return
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=_FIELDS)
            for k, index in enumerate(indices):
                own = {name: figures[name][k] for name in _FIGURES}
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

    def _read(self):
        if self._path is None or not self._path.is_file():
            return []
        with self._path.open(newline="") as file:
            return [row for row in csv.DictReader(file) if self._whole(row)]

    def _whole(self, row):
        if row.get("run") != self._run or row.get("end") != _END:
            return False
        try:
            [float(row[name]) for name in (*_FIGURES, "index", "seconds", "gradient_calls")]
        except (TypeError, ValueError):
            return False
        return True

    def _rewrite(self):
        if self._path is None:
            return
        beside = self._path.with_name(self._path.name + ".part")
        with beside.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=_FIELDS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self._rows)
        os.replace(beside, self._path)
