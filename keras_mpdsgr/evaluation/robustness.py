"""Runs attacks on a model and records, sample by sample, what they did."""

import contextlib
import hashlib
import time

import numpy as np

from keras_mpdsgr.arguments import check_flag, check_integer, check_model, check_path
from keras_mpdsgr.evaluation import identity
from keras_mpdsgr.evaluation.journal import Journal
from keras_mpdsgr.evaluation.predictor import Predictor
from keras_mpdsgr.evaluation.records import AttackRecord
from keras_mpdsgr.evaluation.report import CLEAN, Report, image_hash
from keras_mpdsgr.evaluation.sample_numbers import check_indices, check_parts, positions
from keras_mpdsgr.evaluation.suites import suite
from keras_mpdsgr.inputs import check_attacked, check_fits, check_images, check_radius

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
    indices=None,
    parts=None,
):
    """Measures a classifier's accuracy on clean images and under attacks.

    An attack has succeeded where the model, asked again, misclassifies the attacked image.

    Args:
        model: A Keras classifier of pixels in [0, 1], spiking or not.
        x: Images, `(n, ...)`, floating point in [0, 1].
        y: True labels, `(n,)`, integers.
        attacks: Name of a suite, a list of attack names or `Attack`s, or a dictionary from a label
            to an `Attack`, which may be empty: clean accuracy alone.
        eps: Radius of the L-infinity attacks given by name, in units of pixels scaled to [0, 1].
            The report states the largest radius of those that ran.
        batch_size: Images attacked at a time.
        seed: Of all that is random.
        drop_broken: Whether samples that are broken already are spared the later, dearer attacks of
            the same threat model; they then count as broken by those too, so that each accuracy
            holds for its attack and those before it. None: for all suites but `"paper"`, whose
            accuracies stand each for itself.
        eps_l2: Radius of the L2 attacks of the suites, same unit.
        jit: XLA, for attacks given by name: `"auto"` (on a GPU), `"on"` or `"off"`.
        eot: Draws that gradients are averaged over, for attacks given by name; None for 10 where
            the model answers differently twice, else 1.
        journal: Path of a CSV file that each sample's result is written to as it comes; a call with
            the same settings goes on from there. None to keep nothing.
        progress: An object with `attack(name, total)` and `advance(count, survivors)`, such as
            `RichProgress`, that shows how far it has come; None for silence.
        indices: `(n,)`, the samples' numbers, where they are a part of a larger set: random draws
            go by them. None for 0..n-1.
        parts: The journals of calls on parts of these samples, as a dictionary from path to that
            call's `indices`: their results are taken over, not computed again. None for none.

    Returns:
        A `Report`.

    Raises:
        ValueError: If images, labels, attacks or numbers are out of range, or a part was computed
            by another model, on other images, or with other attacks or settings.

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
    # A wrong name is refused before the model is asked anything.
    if attacks != {} and CLEAN in suite(attacks, eps, eps_l2, jit):
        raise ValueError(f"`attacks` must not call an attack {CLEAN!r}. Received: {attacks!r}.")
    batch_size = check_integer("batch_size", batch_size, "images", least=1)
    if indices is None:
        batch_size = min(batch_size, len(x))  # a part keeps the shape of the whole's batches
    indices = check_indices(indices, len(x))
    seed = check_integer("seed", seed, least=0)
    if drop_broken is None:
        drop_broken = attacks != "paper"
    check_flag("drop_broken", drop_broken)
    check_progress(progress)
    check_path("journal", journal)
    if eot is not None:
        check_integer("eot", eot, "draws that a gradient is averaged over", least=1)
    predictor = Predictor(model, batch_size, seed)
    if eot is None:
        eot = eot_draws(model, x, batch_size)
    chosen = {} if attacks == {} else suite(attacks, eps, eps_l2, jit, eot)
    radii = [attack.eps for attack in chosen.values() if attack.norm == "linf"]
    config = {
        "batch_size": batch_size,
        "seed": seed,
        "drop_broken": bool(drop_broken),
        "probabilities": predictor.probabilities,
        "eot": eot,
    }
    keys = {name: identity.attack_key(attack) for name, attack in chosen.items()}

    def settings(at):
        few = identity.probed(x[at]), identity.probed(indices[at])
        known = identity.model_digest(model, lambda: predictor.logits(*few))
        return _settings(known, x[at], y[at], keys, config, indices[at])

    everything = np.arange(len(x))
    written = Journal(journal, settings(everything))
    for path, at in check_parts(parts, indices).items():
        written.take_over(path, settings(at))
    clean = _clean(predictor, x, y, indices, written)
    largest = max(radii, default=float(eps))
    report = Report(y, clean, {}, largest, config, indices=indices, images=image_hash(x, y))
    for name, attack in chosen.items():
        spared = np.zeros(len(x), bool)
        if drop_broken and attack.norm != "noise":
            spared = ~report.survivors(attack.norm)
        run = _Run(name, attack, model, predictor, x, y, indices, seed, batch_size, written)
        report.records[name] = run.record(np.flatnonzero(~spared), progress)
    return report


def eot_draws(model, x, batch_size=100):
    """Draws that an attack's gradients are averaged over: 10 for a model that is random, else 1.

    Args:
        model: A Keras classifier of pixels in [0, 1].
        x: Images, `(n, ...)`; of the first `batch_size` it is seen whether the model answers
            differently twice.
        batch_size: Images looked at, at most.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check_model("model", model)
    few = check_images(x)[: check_integer("batch_size", batch_size, "images looked at", least=1)]
    check_fits(model, few)
    return _EOT_DRAWS if Predictor(model, len(few)).is_random(few) else 1


def _settings(model_key, x, y, attack_keys, config, indices):
    """All that the results depend on, as text: never go on with another run's journal."""
    digest = hashlib.sha256()
    if not np.array_equal(indices, np.arange(len(x))):
        digest.update(np.ascontiguousarray(indices, np.int64).tobytes())
    content = (digest.hexdigest(), image_hash(x, y), model_key, sorted(attack_keys.items()))
    return repr((*content, sorted(config.items()), sorted(identity.versions().items())))


def _clean(predictor, x, y, indices, journal):
    """Predictions for the clean images; those that the journal has, from there."""
    done = journal.done(CLEAN)
    clean = np.full(len(x), -1, np.int32)
    clean[positions(indices, done.indices)] = done.values["prediction"]
    left = np.flatnonzero(~np.isin(indices, done.indices))
    if len(left):
        began = time.monotonic()
        found, loss = (values[left] for values in predictor(x, y, indices))
        values = {"prediction": found, "loss": loss, **dict.fromkeys(("linf", "l2"), 0.0 * loss)}
        seconds = time.monotonic() - began
        journal.append(CLEAN, indices[left], y[left], values, seconds, 0)
        clean[left] = found
    return clean


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

    def __init__(self, name, attack, model, predictor, x, y, indices, seed, batch_size, journal):
        self._name, self._attack, self._model, self._predictor = name, attack, model, predictor
        self._x, self._y, self._indices = x, y, indices
        self._seed, self._batch_size, self._journal = seed, batch_size, journal

    def record(self, wanted, progress):
        record = AttackRecord.empty(len(self._x), self._attack)
        done = self._journal.done(self._name)
        at = positions(self._indices, done.indices)
        for name, values in done.values.items():
            getattr(record, name)[at] = values
        record.seconds, record.gradient_calls = done.seconds, done.gradient_calls
        left = np.setdiff1d(wanted, at)
        shown = progress.attack(self._name, len(left)) if progress else contextlib.nullcontext()
        with shown as bar:
            for where in self._attacked(left, record):
                if bar is not None:
                    survivors = int((record.prediction == self._y).sum())
                    bar.advance(len(where), survivors)
        record.seconds = round(record.seconds, 3)
        return record

    def _attacked(self, left, record):
        """Attacks what is left, chunk by chunk; yields the positions that are done."""
        target = self._attack.target(self._model)
        x, y = self._x[left], self._y[left]
        began, calls = time.monotonic(), 0
        for part, adversarial in self._attack.chunks(
            target, x, y, self._seed, self._batch_size, self._indices[left]
        ):
            where = left[part]
            confine(self._attack, self._x[where], adversarial)
            measured = self._measure(where, adversarial)
            for name, values in measured.items():
                getattr(record, name)[where] = values
            seconds, made = time.monotonic() - began, target.gradient_calls - calls
            numbers = self._indices[where]
            self._journal.append(self._name, numbers, self._y[where], measured, seconds, made)
            record.seconds += seconds
            record.gradient_calls += made
            began, calls = time.monotonic(), target.gradient_calls
            yield where

    def _measure(self, where, adversarial):
        prediction, loss = self._predictor(adversarial, self._y[where])
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
        raise RuntimeError(f"{attack!r} made pixels outside [0, 1]: its accuracy means nothing.")
    radius = getattr(attack, "eps", None)
    if attack.norm == "noise" or radius is None or len(x) == 0:
        return
    moved = (adversarial.astype(np.float64) - x).reshape(len(x), -1)
    order = np.inf if attack.norm == "linf" else 2
    farthest = np.linalg.norm(moved, ord=order, axis=1).max()
    if farthest > radius + _BALL_TOLERANCE:
        raise RuntimeError(f"{attack!r} left its ball: an image moved by {farthest:g}.")
