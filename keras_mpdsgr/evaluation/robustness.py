"""Runs attacks on a model and records, sample by sample, what they did."""

import contextlib
import time

import numpy as np
import tensorflow as tf

from keras_mpdsgr.attacks import Target
from keras_mpdsgr.attacks.arguments import check_attacked, check_positive_count, check_radius
from keras_mpdsgr.evaluation.report import AttackRecord, Report
from keras_mpdsgr.evaluation.suites import suite

# Rounding of float32 pixels near 1.
_BALL_TOLERANCE = 1e-6


def evaluate(
    model,
    x,
    y,
    attacks="paper",
    eps=8 / 255,
    batch_size=100,
    seed=0,
    drop_broken=True,
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
        batch_size: Images attacked at a time.
        seed: Of all that is random.
        drop_broken: Whether samples that are broken already are spared the later, dearer attacks of
            the same threat model; they then count as broken by those too.
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
    x, y = check_attacked(x, y)
    chosen = suite(attacks, check_radius("eps", eps))
    batch_size = min(check_positive_count("batch_size", batch_size, "images"), len(x))
    judge = Judge(model, batch_size)
    clean, _ = judge(x, y)
    report = Report(y, clean, {}, float(eps))
    report.config = {"batch_size": batch_size, "seed": seed, "drop_broken": drop_broken}
    for name, attack in chosen.items():
        spared = np.zeros(len(x), bool)
        if drop_broken and attack.norm != "noise":
            spared = ~report.survivors(attack.norm)
        report.records[name] = _attacked(
            attack, model, judge, x, y, seed, batch_size, ~spared, name, progress
        )
    return report


def _attacked(attack, model, judge, x, y, seed, batch_size, wanted, name, progress):
    target = attack.target(model)
    positions = np.flatnonzero(wanted)
    record = AttackRecord(
        norm=attack.norm,
        prediction=np.full(len(x), -1, np.int32),
        loss=np.full(len(x), np.nan),
        linf=np.full(len(x), np.nan),
        l2=np.full(len(x), np.nan),
        settings=repr(attack),
    )
    started = time.monotonic()
    with progress.attack(name, len(positions)) if progress else contextlib.nullcontext() as shown:
        chunks = attack.chunks(target, x[positions], y[positions], seed, batch_size, positions)
        for part, adversarial in chunks:
            where = positions[part]
            confine(attack, x[where], adversarial)
            record.prediction[where], record.loss[where] = judge(adversarial, y[where])
            difference = (adversarial.astype(np.float64) - x[where]).reshape(len(where), -1)
            record.linf[where] = np.abs(difference).max(axis=1)
            record.l2[where] = np.sqrt(np.square(difference).sum(axis=1))
            if shown is not None:
                shown.advance(len(where), int((record.prediction == y).sum()))
    record.seconds = time.monotonic() - started
    record.gradient_calls = target.gradient_calls
    return record


def confine(attack, x, adversarial):
    """Raises RuntimeError if an attack has left its ball or the valid pixels."""
    if not np.isfinite(adversarial).all() or adversarial.min() < 0 or adversarial.max() > 1:
        raise RuntimeError(f"{attack!r} made pixels outside [0, 1]; its figure would mean nothing.")
    farthest = np.abs(adversarial - x).max() if len(x) else 0.0
    if attack.norm == "linf" and farthest > attack.eps + _BALL_TOLERANCE:
        raise RuntimeError(f"{attack!r} left its ball: a pixel moved by {farthest:g}.")


class Judge:
    """Predictions and losses of a model, in batches of one shape.

    Args:
        model: The Keras model.
        batch_size: Images at a time.
    """

    def __init__(self, model, batch_size):
        self._target = Target(model)
        self._batch_size = batch_size
        self._compiled = tf.function(self._target.logits)

    def logits(self, x):
        """Logits, `(n, classes)`."""
        parts = []
        for start in range(0, len(x), self._batch_size):
            part = np.arange(start, min(start + self._batch_size, len(x)))
            filled = np.resize(part, self._batch_size)
            parts.append(self._compiled(tf.constant(x[filled])).numpy()[: len(part)])
        return np.concatenate(parts)

    def __call__(self, x, y):
        """Predicted classes and cross-entropies, each `(n,)`."""
        logits = self.logits(x)
        if not y.max(initial=0) < logits.shape[1]:
            raise ValueError(
                f"`y` must hold classes below the model's {logits.shape[1]}. "
                f"Received: {int(y.max())}."
            )
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
        return logits.argmax(axis=1).astype(np.int32), losses.numpy()
