"""One attack on one set of samples, chunk by chunk: attacked, checked, judged and recorded."""

import contextlib
import time

import numpy as np

from keras_mpdsgr.evaluation.identity import model_digest
from keras_mpdsgr.evaluation.records import AttackRecord, describe
from keras_mpdsgr.evaluation.sample_numbers import positions

# Rounding of float32 pixels near 1.
_BALL_TOLERANCE = 1e-6


class AttackRun:
    """Attacks on one set of samples.

    Args:
        model: The Keras model.
        predictor: The `Predictor` that judges.
        x, y: Images and labels.
        indices: `(n,)`, the samples' numbers.
        seed: Of all that is random.
        batch_size: Images attacked at a time.
        journal: The `Journal` that results are written to and taken from.
        grid: Clean images on a grid of pixels, and the `GridSearch` for it; None for no grid.
    """

    def __init__(self, model, predictor, x, y, indices, seed, batch_size, journal, grid=None):
        self._model, self._predictor = model, predictor
        self._x, self._y, self._indices = x, y, indices
        self._seed, self._batch_size, self._journal = seed, batch_size, journal
        self._on_grid, self._search = grid or (None, None)

    def record(self, name, attack, wanted, progress):
        """The `AttackRecord` of an attack on some samples.

        Args:
            name: Its label.
            attack: The `Attack`.
            wanted: Positions of the samples.
            progress: As of `evaluate`.
        """
        record = AttackRecord.empty(len(self._x), attack)
        # A name would not tell a transfer's substitute from another of the same architecture.
        record.attack = describe(attack, lambda model: f"{model.name} {model_digest(model)[:8]}")
        done = self._journal.done(name)
        at = positions(self._indices, done.indices)
        for value, values in done.values.items():
            getattr(record, value)[at] = values
        record.seconds, record.gradient_calls = done.seconds, done.gradient_calls
        left = np.setdiff1d(wanted, at)
        shown = progress.attack(name, len(left)) if progress else contextlib.nullcontext()
        with shown as bar:
            for where in self._attacked(name, attack, left, record):
                if bar is not None:
                    survivors = int((record.prediction == self._y).sum())
                    bar.advance(len(where), survivors)
        record.seconds = round(record.seconds, 3)
        return record

    def _attacked(self, name, attack, left, record):
        """Attacks what is left, chunk by chunk; yields the positions that are done."""
        target = attack.target(self._model, self._predictor.outputs)
        x, y = self._x[left], self._y[left]
        began, calls = time.monotonic(), 0
        # By its name: attacks of one suite do not start from one random point.
        for part, adversarial in attack.chunks(
            target, x, y, self._seed, self._batch_size, self._indices[left], stream=(name,)
        ):
            where = left[part]
            confine(attack, self._x[where], adversarial)
            measured = self._measure(where, adversarial)
            measured["grid"] = self._grid(attack, where, adversarial, measured["prediction"])
            for value, values in measured.items():
                getattr(record, value)[where] = values
            seconds, made = time.monotonic() - began, target.gradient_calls - calls
            numbers = self._indices[where]
            self._journal.append(name, numbers, self._y[where], measured, seconds, made)
            record.seconds += seconds
            record.gradient_calls += made
            began, calls = time.monotonic(), target.gradient_calls
            yield where

    def _measure(self, where, adversarial):
        numbers = self._indices[where]
        prediction, loss, right = self._predictor(adversarial, self._y[where], numbers)
        difference = adversarial.astype(np.float64) - self._x[where]
        difference = difference.reshape(len(where), -1)
        return {
            "prediction": prediction,
            "loss": loss,
            "linf": np.abs(difference).max(axis=1),
            "l2": np.sqrt(np.square(difference).sum(axis=1)),
            "right": right,
        }

    def _grid(self, attack, where, adversarial, prediction):
        """Classes predicted on the grid; -1 without one. What is right off it is not searched."""
        if self._search is None:
            return np.full(len(where), -1)
        found = prediction.copy()
        misled = prediction != self._y[where]
        at = where[misled]
        if len(at):
            x, y, numbers = self._on_grid[at], self._y[at], self._indices[at]
            images = self._search(x, adversarial[misled], y, numbers, attack)
            confine(attack, x, images)
            found[misled] = self._predictor(images, y, numbers)[0]
        return found


def confine(attack, x, adversarial):
    """Raises RuntimeError if an attack has left its ball or the valid pixels."""
    if not np.isfinite(adversarial).all() or adversarial.min() < 0 or adversarial.max() > 1:
        raise RuntimeError(f"{attack!r} made pixels outside [0, 1]: its accuracy means nothing.")
    radius = getattr(attack, "eps", None)
    if attack.norm == "noise" or radius is None or len(x) == 0:
        return
    moved = (adversarial.astype(np.float64) - x).reshape(len(x), -1)
    order = np.inf if attack.norm == "linf" else 2
    farthest = np.linalg.norm(moved, ord=order, axis=1).max()
    if farthest > radius + _BALL_TOLERANCE:
        raise RuntimeError(f"{attack!r} left its ball: an image moved by {farthest:g}.")
