"""One row of the tables of docs/evaluation.md, measured: what is asked of it, what came of it."""

import hashlib
import os
import pathlib
import platform
import time

import numpy as np

from benchmarks.attack_choice.rows import MODEL, Made
from keras_mpdsgr import attacks, data, evaluation, models
from keras_mpdsgr.evaluation import identity
from keras_mpdsgr.files import read_json

# Draws go by the label: attacks that are compared start from the same random points.
_LABEL = "alone"


class Bench:
    """The model under attack, and its test images."""

    def __init__(self):
        path = models.find(MODEL)
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.model = models.load(path)
        digits = data.load("digits", limit_train=1)
        self._x, self._y = data.to_pixels(digits.x_test), digits.y_test

    def images(self, row):
        """Images and labels of a row."""
        part = slice(*row.images)
        return self._x[part], self._y[part]

    def settings(self, row):
        """All that a row's figures depend on besides versions, as plain values."""
        return {
            "model": self.digest,
            "images": list(row.images),
            "image_hash": evaluation.image_hash(*self.images(row)),
            "eps": row.eps,
            "seed": row.seed,
            "grid": row.grid,
            "attacks": {
                name: evaluation.describe(attack) for name, attack in attacks_of(row).items()
            },
        }

    def measure(self, row, progress=None):
        """What is written down of a row, a dictionary.

        Args:
            row: The `Row`.
            progress: As of `evaluation.evaluate`.
        """
        x, y = self.images(row)
        numbers = np.arange(*row.images)
        began = time.process_time()
        report = evaluation.evaluate(
            self.model,
            x,
            y,
            attacks=attacks_of(row),
            eps=row.eps,
            seed=row.seed,
            indices=numbers,
            grid=row.grid,
            progress=progress,
        )
        seconds = time.process_time() - began

        def kept(right):
            return [int(number) for number in numbers[right]]

        told = {
            "row": row.name,
            "title": row.title,
            "part": row.part,
            "settings": self.settings(row),
            "right_when_clean": int(report.clean_correct.sum()),
            "left": {name: kept(report.correct(name)) for name in report.records},
            "gradients_an_image": {
                name: round(record.gradient_calls / len(x), 1)
                for name, record in report.records.items()
            },
            "cpu_seconds": round(seconds, 1),
            "cores": os.cpu_count(),
            "versions": {"python": platform.python_version(), **identity.versions()},
        }
        if row.grid:
            right = report.clean_grid == report.labels
            told["right_on_grid"] = int(right.sum())
            told["left_on_grid"] = {
                name: kept(right & report.correct(name, on_grid=True)) for name in report.records
            }
        return told


def attacks_of(row):
    """The attacks of a row, by their labels."""
    if isinstance(row.attack, str):
        return evaluation.suite(row.attack, row.eps)
    return {_LABEL: make(row.attack)}


def make(value):
    """The attack that a `Made` stands for; other values as they are."""
    if isinstance(value, Made):
        arguments = {name: make(each) for name, each in value.arguments.items()}
        return getattr(attacks, value.kind)(**arguments)
    if isinstance(value, tuple) and any(isinstance(each, Made) for each in value):
        return [make(each) for each in value]
    return value


def read(folder):
    """What is written of the rows that are measured, by their names."""
    paths = sorted(pathlib.Path(folder).glob("*.json"))
    return {told["row"]: told for told in map(read_json, paths)}
