"""Runs attacks on a model and records, sample by sample, what they did."""

import contextlib
import hashlib
import time
import warnings

import numpy as np
import tensorflow as tf

from keras_mpdsgr.arguments import check_count, check_flag, check_model, check_path, check_seed
from keras_mpdsgr.attacks import Target
from keras_mpdsgr.attacks.arguments import check_attacked, check_fits, check_radius
from keras_mpdsgr.evaluation.journal import Journal
from keras_mpdsgr.evaluation.report import AttackRecord, Report
from keras_mpdsgr.evaluation.suites import suite

# Rounding of float32 pixels near 1.
_BALL_TOLERANCE = 1e-6
# As in the public code of SR (Liu et al., 2024).
_EOT_DRAWS = 10


def evaluate(
    model,
    x,
    y,
    attacks="paper",
    eps=8 / 255,
    batch_size=100,
    seed=0,
    drop_broken=None,
    eps_l2=0.5,
    jit="auto",
    eot=None,
    journal=None,
    progress=None,
):
    """Measures a classifier's accuracy on clean images and under attacks.

    An attack has succeeded where the model, asked again, misclassifies the attacked image.

    Args:
        model: A Keras classifier of pixels in [0, 1], spiking or not.
        x: Images, `(n, ...)`, floating point in [0, 1].
        y: True labels, `(n,)`, integers.
        attacks: Name of a suite, or a list of attack names or `Attack`s.
        eps: Radius of the L-infinity attacks given by name, in units of pixels scaled to [0, 1].
            The report states the largest radius of those that ran.
        batch_size: Images attacked at a time.
        seed: Of all that is random.
        drop_broken: Whether samples that are broken already are spared the later, dearer attacks of
            the same threat model; they then count as broken by those too, so that each accuracy
            holds for its attack and those before it. None: for all suites but `"paper"`, whose
            figures stand each for itself.
        eps_l2: Radius of the L2 attacks of the suites, same unit.
        jit: XLA, for attacks given by name: `"auto"` (on a GPU), `"on"` or `"off"`.
        eot: Draws that gradients are averaged over, for attacks given by name; None for 10 where
            the model answers differently twice, else 1.
        journal: Path of a CSV file that each sample's result is written to as it comes; a call with
            the same settings goes on from there. None to keep nothing.
        progress: An object with `attack(name, total)` and `advance(count, survivors)`, such as
            `RichProgress`, that shows how far it has come; None for silence.

    Returns:
        A `Report`.

    Raises:
        ValueError: If images, labels, attacks or numbers are out of range.

    Example:

    >>> import numpy as np
    >>> from keras_mpdsgr import models
    >>> model = models.vgg11((8, 8, 1), 10, timesteps=2, width=0.02)
    >>> x, y = np.full((4, 8, 8, 1), 0.5, "float32"), np.zeros(4, int)
    >>> sorted(evaluate(model, x, y, attacks=["fgsm"], eps=1 / 255).accuracy)
    ['fgsm']
    """
    check_model("model", model)
    x, y = check_attacked(x, y)
    check_fits(model, x, y)
    check_radius("eps", eps)
    suite(attacks, eps, eps_l2, jit)  # refuses a wrong name before the model is asked anything
    batch_size = min(check_count("batch_size", batch_size, "images"), len(x))
    seed = check_seed(seed)
    if drop_broken is None:
        drop_broken = attacks != "paper"
    check_flag("drop_broken", drop_broken)
    check_progress(progress)
    check_path("journal", journal)
    if eot is not None:
        check_count("eot", eot, "draws that a gradient is averaged over")
    judge = Judge(model, batch_size, seed)
    clean, _ = judge(x, y)
    if eot is None:
        eot = eot_draws(model, x, batch_size)
    chosen = suite(attacks, eps, eps_l2, jit, eot)
    radii = [attack.eps for attack in chosen.values() if attack.norm == "linf"]
    report = Report(y, clean, {}, max(radii, default=float(eps)))
    report.config = {
        "batch_size": batch_size,
        "seed": seed,
        "drop_broken": bool(drop_broken),
        "probabilities": judge.probabilities,
        "eot": eot,
    }
    written = Journal(journal, _settings(model, x, y, chosen, report.config))
    for name, attack in chosen.items():
        spared = np.zeros(len(x), bool)
        if drop_broken and attack.norm != "noise":
            spared = ~report.survivors(attack.norm)
        run = _Run(name, attack, model, judge, x, y, seed, batch_size, written)
        report.records[name] = run.record(np.flatnonzero(~spared), progress)
    return report


def eot_draws(model, x, batch_size=100):
    """Draws that an attack's gradients are averaged over: 10 for a model that is random, else 1.

    Args:
        model: A Keras classifier of pixels in [0, 1].
        x: Images, `(n, ...)`; of the first `batch_size` it is seen whether the model answers
            differently twice.
        batch_size: Images looked at, at most.
    """
    few = x[:batch_size]
    return _EOT_DRAWS if Judge(model, len(few)).is_random(few) else 1


def _settings(model, x, y, chosen, config):
    # Weights and images by their bytes: a journal of another model must not be gone on with.
    digest = hashlib.sha256()
    for array in (*model.get_weights(), x, y):
        digest.update(np.ascontiguousarray(array).tobytes())
    attacks = sorted((name, repr(attack)) for name, attack in chosen.items())
    return f"{digest.hexdigest()} {attacks} {sorted(config.items())}"


def check_progress(progress):
    """Raises unless `progress` is None or can show how far an evaluation has come."""
    shows = callable(getattr(progress, "attack", None))
    if progress is not None and not (shows and callable(getattr(progress, "advance", None))):
        raise ValueError(
            "`progress` must be None or an object with `attack(name, total)` and "
            f"`advance(count, survivors)`. Received: {progress!r}."
        )


class _Run:
    """One attack on one set of samples."""

    def __init__(self, name, attack, model, judge, x, y, seed, batch_size, journal):
        self._name, self._attack, self._model, self._judge = name, attack, model, judge
        self._x, self._y = x, y
        self._seed, self._batch_size, self._journal = seed, batch_size, journal

    def record(self, positions, progress):
        record = AttackRecord.empty(len(self._x), self._attack)
        done = self._journal.done(self._name)
        for figure, values in done.figures.items():
            getattr(record, figure)[done.indices] = values
        record.seconds, record.gradient_calls = done.seconds, done.gradient_calls
        left = np.setdiff1d(positions, done.indices)
        shown = progress.attack(self._name, len(left)) if progress else contextlib.nullcontext()
        with shown as bar:
            for where in self._attacked(left, record):
                if bar is not None:
                    survivors = int((record.prediction == self._y).sum())
                    bar.advance(len(where), survivors)
        return record

    def _attacked(self, left, record):
        """Attacks what is left, chunk by chunk; yields the positions that are done."""
        target = self._attack.target(self._model)
        x, y = self._x[left], self._y[left]
        began, calls = time.monotonic(), 0
        for part, adversarial in self._attack.chunks(
            target, x, y, self._seed, self._batch_size, left
        ):
            where = left[part]
            confine(self._attack, self._x[where], adversarial)
            figures = self._measure(where, adversarial)
            for figure, values in figures.items():
                getattr(record, figure)[where] = values
            seconds, made = time.monotonic() - began, target.gradient_calls - calls
            self._journal.append(self._name, where, self._y[where], figures, seconds, made)
            record.seconds += seconds
            record.gradient_calls += made
            began, calls = time.monotonic(), target.gradient_calls
            yield where

    def _measure(self, where, adversarial):
        prediction, loss = self._judge(adversarial, self._y[where])
        difference = adversarial.astype(np.float64) - self._x[where]
        difference = difference.reshape(len(where), -1)
        return {
            "prediction": prediction,
            "loss": loss,
            "linf": np.abs(difference).max(axis=1),
            "l2": np.sqrt(np.square(difference).sum(axis=1)),
        }


def confine(attack, x, adversarial):
    """Raises RuntimeError if an attack has left its ball or the valid pixels."""
    if not np.isfinite(adversarial).all() or adversarial.min() < 0 or adversarial.max() > 1:
        raise RuntimeError(f"{attack!r} made pixels outside [0, 1]; its figure would mean nothing.")
    radius = getattr(attack, "eps", None)
    if attack.norm == "noise" or radius is None or len(x) == 0:
        return
    moved = (adversarial.astype(np.float64) - x).reshape(len(x), -1)
    order = np.inf if attack.norm == "linf" else 2
    farthest = np.linalg.norm(moved, ord=order, axis=1).max()
    if farthest > radius + _BALL_TOLERANCE:
        raise RuntimeError(f"{attack!r} left its ball: an image moved by {farthest:g}.")


class Judge:
    """Predictions and losses of a model, in batches of one shape.

    Args:
        model: The Keras model.
        batch_size: Images at a time.
        seed: Of the model's own draws, if it is random.

    Raises:
        ValueError: If a label is no class of the model, or its outputs are not finite.
    """

    def __init__(self, model, batch_size, seed=0):
        self._seed = seed
        self._target = Target(model)
        self._batch_size = batch_size
        self.probabilities = self._target.probabilities

    def logits(self, x):
        """Logits, `(n, classes)`."""
        parts = []
        for start in range(0, len(x), self._batch_size):
            part = np.arange(start, min(start + self._batch_size, len(x)))
            filled = np.resize(part, self._batch_size)
            with self._target.seeded(self._seed, start):
                parts.append(self._target.predict(x[filled])[: len(part)])
        logits = np.concatenate(parts)
        if not self.probabilities and _look_like_probabilities(logits):
            warnings.warn(
                "The model's outputs look like probabilities but are taken for logits. Let the "
                "model end in logits, or in a softmax layer.",
                stacklevel=2,
            )
        return logits

    def is_random(self, x):
        """Whether the model answers differently to the same images under another seed."""
        few = x[: self._batch_size]
        return not np.array_equal(
            *(Judge(self._target.model, len(few), seed).logits(few) for seed in (0, 1))
        )

    def __call__(self, x, y):
        """Predicted classes and cross-entropies, each `(n,)`."""
        logits = self.logits(x)
        if not np.isfinite(logits).all():
            raise ValueError("`model` gives outputs that are not finite (NaN or infinite).")
        if not y.max(initial=0) < logits.shape[1]:
            raise ValueError(
                f"`y` must hold classes below the model's {logits.shape[1]}. "
                f"Received: {int(y.max())}."
            )
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
        return logits.argmax(axis=1).astype(np.int32), losses.numpy()


def _look_like_probabilities(outputs):
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-4))
