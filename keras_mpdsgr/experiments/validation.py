"""Robust early stopping: each epoch's model attacked on images set apart, the best one kept."""

import functools
import math
import shutil
import warnings

import keras
import numpy as np

from keras_mpdsgr import attacks, data, evaluation
from keras_mpdsgr.errors import writing
from keras_mpdsgr.evaluation.admission import admit
from keras_mpdsgr.experiments import checkpoints
from keras_mpdsgr.experiments.epoch_table import EpochTable
from keras_mpdsgr.experiments.selection import (
    CLEAN,
    ROBUST,
    SINGLE_STEP,
    Epoch,
    best,
    measured,
    overfits_catastrophically,
)
from keras_mpdsgr.files import replacing
from keras_mpdsgr.fitting import averaged

# One a kill between it and the checkpoint, one a checkpoint that cannot be read.
_KEPT = 3


class RobustValidation(keras.callbacks.Callback):
    """Attacks the model after an epoch on images set apart, and keeps the best epoch's model.

    The attacks are the same for every network and every epoch: PGD of 10 steps and FGSM, both by
    ASSG, which fits its surrogate to the potentials that it meets, whatever the network's own is;
    by the model's own gradient where it has no spiking neurons. A dead network, right on no more
    clean images than the commonest class has, resists all attacks: its robust accuracy counts as 0.

    Where the training keeps an average of its weights, the model with these is attacked and kept.

    Puts `val_robust_accuracy` and `val_fgsm_accuracy` into the logs, NaN for epochs not measured.
    It must come before the callbacks that write these down.

    Args:
        model: The Keras model.
        x: Images set apart, `(n, H, W, C)`, in [0, 1].
        y: Their labels, `(n,)`.
        folder: Where models of the best epochs are kept.
        eps: Radius of the attacks, in units of pixels scaled to [0, 1].
        every: Epochs from one measurement to the next; the last epoch is always measured.
        epochs: Epochs of the whole run.
        seed: Of the attacks.
        batch_size: Images attacked at a time.
        done: The `Epoch`s measured before.
        say: Function that shows a line.
    """

    def __init__(self, model, x, y, folder, *, eps, every, epochs, seed, batch_size, done, say):
        super().__init__()
        self._network, self._x, self._y = model, x, y
        self._folder, self._every, self._epochs = folder, every, epochs
        self._eps, self._seed, self._batch_size = eps, seed, batch_size
        self._known = list(done)
        self._say = say
        self._attacks = None

    def on_epoch_end(self, epoch, logs=None):
        number = epoch + 1
        logs = {} if logs is None else logs
        if number % self._every and number != self._epochs:
            logs[ROBUST] = logs[SINGLE_STEP] = math.nan
            return
        with averaged(self.model):
            self._measure_and_keep(number, logs)

    def _measure_and_keep(self, number, logs):
        robust, single_step = self._measure()
        logs[ROBUST], logs[SINGLE_STEP] = robust, single_step
        found = Epoch(number, robust, single_step, logs.get(CLEAN, math.nan))
        overfitted = overfits_catastrophically(self._known)
        self._known.append(found)
        if overfits_catastrophically(self._known) and not overfitted:
            top = best(self._known)
            self._say(
                f"warning: catastrophic overfitting: PGD-10 leaves {found.robust:.1%} of the "
                f"images set apart, epoch {top.number} left {top.robust:.1%}, while FGSM leaves "
                f"{found.single_step:.1%}. Epoch {top.number} is kept. Try more "
                "`adversarial_steps`, n_fgsm for `adversarial_method`, or a smaller "
                "`adversarial_step_size`."
            )
        if best(self._known) is found:
            self._keep(number)

    def _measure(self):
        if self._attacks is None:
            common = {"eps": self._eps, "gradient": "assg", "eot": self._draws()}
            chosen = {
                "fgsm": attacks.FGSM(**common),
                "pgd10": attacks.PGD(steps=10, step_size=self._eps / 4, keep="first", **common),
            }
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that ASSG gives way to the model's own gradient
                self._attacks, *_ = admit(chosen, self._network, self._x)
        report = evaluation.evaluate(
            self._network,
            self._x,
            self._y,
            attacks=self._attacks,
            eps=self._eps,
            batch_size=self._batch_size,
            seed=self._seed,
            drop_broken=False,
        )
        dead = np.sum(report.clean_correct) <= np.bincount(self._y).max()
        shares = {name: float(share) for name, share in report.accuracy.items()}
        return 0.0 if dead else shares["pgd10"], shares["fgsm"]

    def _draws(self):
        return evaluation.eot_draws(self._network, self._x, self._batch_size)

    def _keep(self, number):
        checkpoints.save(self._network, path_of(self._folder, number))
        for old in sorted(self._folder.glob("best-*.keras"))[:-_KEPT]:
            old.unlink()


def path_of(folder, number):
    """Where the model of an epoch that was the best so far is kept."""
    return folder / f"best-{number:04d}.keras"


def held_out(images, config):
    """The data set without images set apart, and these, a pair of images and labels, or None."""
    if config.validation_images is None:
        return images, None
    n = len(images.x_train)
    if config.validation_images >= n:
        raise ValueError(
            f"`validation_images` must leave images to train on. Received: "
            f"{config.validation_images}, of {n} training images."
        )
    return data.hold_out(images, config.validation_images, config.seed)


def callback(model, config, held_out, folder, done, say):
    """The `RobustValidation` of a run of which `done` epochs are done."""
    with writing(folder.path):
        EpochTable(folder.metrics_path).cut(done)
    x, y = held_out
    return RobustValidation(
        model,
        data.to_pixels(x),
        y,
        folder.checkpoints,
        eps=config.eval_eps,
        every=config.validation_every,
        epochs=config.epochs,
        seed=config.seed,
        batch_size=config.eval_batch_size,
        done=measured(folder.metrics()),
        say=functools.partial(say, soft_wrap=True),
    )


def copy_best(folder):
    """Makes the best epoch's model that of the run."""
    with replacing(folder.model_path) as beside:
        shutil.copyfile(path_of(folder.checkpoints, folder.best_epoch().number), beside)
