"""Runs attacks on a model and records, sample by sample, what they did."""

import hashlib
import time

import numpy as np

from keras_mpdsgr.arguments import (
    check_choice,
    check_flag,
    check_integer,
    check_model,
    check_path,
)
from keras_mpdsgr.evaluation import identity, self_check
from keras_mpdsgr.evaluation.admission import admit
from keras_mpdsgr.evaluation.attack_run import AttackRun
from keras_mpdsgr.evaluation.grid import GRIDS, GridSearch, on_grid
from keras_mpdsgr.evaluation.journal import Journal
from keras_mpdsgr.evaluation.predictor import Predictor
from keras_mpdsgr.evaluation.report import CLEAN, Report, image_hash
from keras_mpdsgr.evaluation.sample_numbers import check_indices, check_parts, positions
from keras_mpdsgr.evaluation.suites import suite
from keras_mpdsgr.inputs import check_attacked, check_fits, check_images, check_radius

# As in the public code of SR (Liu et al., 2024).
_EOT_DRAWS = 10
# Odd, so that no image is tied.
_VOTES = 11


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
    votes=_VOTES,
    outputs="auto",
    grid=None,
):
    """Measures a classifier's accuracy on clean images and under attacks.

    An attack has succeeded where the model, asked again, misclassifies the attacked image. A model
    that is random is asked several times, by draws that no attack saw, and most of them decide.

    Args:
        model: A Keras classifier of pixels in [0, 1], spiking or not.
        x: Images, `(n, ...)`, floating point in [0, 1].
        y: True labels, `(n,)`, integers.
        attacks: Name of a suite, a list of attack names or `Attack`s, or a dictionary from a label
            to an `Attack`, which may be empty: clean accuracy alone. Before the first runs, those
            that cannot take the model or the images are left out, with a warning, and backward
            passes of spiking neurons give way to the model's own gradient where it has none; the
            report names both.
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
            the same settings resumes from there. None to keep nothing.
        progress: An object with `attack(name, total)` and `advance(count, survivors)`, such as
            `RichProgress`, that shows how far it has come; None for silence.
        indices: `(n,)`, the samples' numbers, where they are a part of a larger set: random draws
            go by them. None for 0..n-1.
        parts: The journals of calls on parts of these samples, as a dictionary from path to that
            call's `indices`: their results are taken over, not computed again. None for none.
        votes: Forward passes that judge an image where the model is random, at least 10.
        outputs: What the model gives: `"logits"`, `"probabilities"` (a softmax), `"sigmoids"` (one
            for each class), or `"auto"`, by its last layers, or by its answers to the clean images
            where these do not tell, with a warning.
        grid: Whether what is broken must be broken by an image of 8 bits a pixel, too: 8, or None.
            The rounding is searched inside the ball, and what is found is counted beside. With
            `drop_broken` an image is spared only when it is broken on the grid as well.

    Returns:
        A `Report`.

    Raises:
        ValueError: If images, labels, attacks or numbers are out of range, an attack is targeted,
            the model answers otherwise when asked otherwise, or a part was computed by another
            model, on other images, or with other attacks or settings.

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
    check_integer("votes", votes, "forward passes that judge an image", least=10)
    predictor = Predictor(model, batch_size, seed, outputs)
    check_choice("grid", grid, GRIDS)
    state = self_check.state_of(model)
    predictor.look(x)
    if predictor.is_random(x):
        predictor.votes = votes
    else:
        self_check.check_agreement(model, predictor, x)
    if eot is None:
        eot = _EOT_DRAWS if predictor.votes > 1 else 1
    chosen = {} if attacks == {} else suite(attacks, eps, eps_l2, jit, eot)
    chosen, left_out, adapted = admit(chosen, model, x)
    radii = [
        attack.eps for attack in chosen.values() if attack.norm == "linf" and _is_bounded(attack)
    ]
    config = {
        "batch_size": batch_size,
        "seed": seed,
        "drop_broken": bool(drop_broken),
        "outputs": predictor.outputs,
        "eot": eot,
        "votes": predictor.votes,
        "grid": grid,
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
    clean, right = _clean(predictor, x, y, indices, written)
    largest = max(radii, default=float(eps))
    report = Report(y, clean, {}, largest, config, indices=indices, images=image_hash(x, y))
    report.left_out, report.adapted = left_out, adapted
    report.clean_right = right if predictor.votes > 1 else None
    asked = (model, predictor, x, y, indices, seed, batch_size)
    report.self_check["eps_0_is_clean"] = self_check.no_attack_is_clean(*asked, clean)
    search = None
    if grid:
        held, report.config["images_on_grid"] = on_grid(x, grid)
        report.clean_grid = predictor(held, y, indices)[0]
        search = held, GridSearch(predictor, grid, seed)
    run = AttackRun(*asked, written, search)
    for name, attack in chosen.items():
        spared = np.zeros(len(x), bool)
        if drop_broken and attack.norm != "noise":
            spared = ~report.survivors(attack.norm)
        left = ~spared | report.survivors(attack.norm, on_grid=True) if grid else ~spared
        record = run.record(name, attack, np.flatnonzero(left), progress)
        record.right = record.right if predictor.votes > 1 else None
        record.grid = record.grid if grid else None
        record.forget(spared)
        report.records[name] = record
    report.self_check["model_is_as_before"] = self_check.state_of(model) == state
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


def _is_bounded(attack):
    return getattr(attack, "eps", None) is not None


def _settings(model_key, x, y, attack_keys, config, indices):
    """All that the results depend on, as text: never resume another run's journal."""
    digest = hashlib.sha256()
    if not np.array_equal(indices, np.arange(len(x))):
        digest.update(np.ascontiguousarray(indices, np.int64).tobytes())
    content = (digest.hexdigest(), image_hash(x, y), model_key, sorted(attack_keys.items()))
    return repr((*content, sorted(config.items()), sorted(identity.versions().items())))


def _clean(predictor, x, y, indices, journal):
    """Predictions for the clean images and right passes, as far as may be from the journal."""
    done = journal.done(CLEAN)
    clean, right = np.full((2, len(x)), -1, np.int32)
    at = positions(indices, done.indices)
    clean[at], right[at] = done.values["prediction"], done.values["right"]
    left = np.flatnonzero(~np.isin(indices, done.indices))
    if len(left):
        began = time.monotonic()
        clean[left], loss, right[left] = (values[left] for values in predictor(x, y, indices))
        values = {"prediction": clean[left], "loss": loss, "right": right[left]}
        values |= {"linf": 0.0 * loss, "l2": 0.0 * loss, "grid": np.full(len(left), -1)}
        journal.append(CLEAN, indices[left], y[left], values, time.monotonic() - began, 0)
    return clean, right


def check_progress(progress):
    """Raises unless `progress` is None or can show how far an evaluation has come."""
    shows = callable(getattr(progress, "attack", None))
    if progress is not None and not (shows and callable(getattr(progress, "advance", None))):
        raise ValueError(
            "`progress` must be None or an object with `attack(name, total)` and "
            f"`advance(count, survivors)`. Received: {progress!r}."
        )
