"""What a run shows while it goes: bars on a terminal, one line an epoch elsewhere."""

import contextlib
import math
import time

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from keras_mpdsgr.experiments.interrupts import stop_if_interrupted

_SHOWN = ("loss", "cross_entropy", "accuracy", "omega", "firing_rate")
_TESTED = {"val_accuracy": "accuracy", "val_robust_accuracy": "robust accuracy"}
_WIDTH_ELSEWHERE = 110


def make_console(quiet=False):
    """A console as wide as the terminal, or of a fixed width where there is none.

    Args:
        quiet: Whether it shows nothing.
    """
    # No markup: a path may hold brackets.
    console = Console(highlight=False, markup=False, quiet=quiet)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, quiet=quiet, width=_WIDTH_ELSEWHERE)
    return console


def _bars(console):
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class TrainingProgress(keras.callbacks.Callback):
    """A bar over the steps of an epoch, and a line for each epoch that is done.

    Args:
        console: A rich console.
        epochs: Epochs of the whole run.
        first_epoch: Epochs done before.
        steps: Steps of an epoch.
        tested_on: What the images are called that `fit` has for `validation_data`.
    """

    def __init__(self, console, epochs, first_epoch, steps, tested_on="test"):
        super().__init__()
        self._console = console
        self._epochs = epochs
        self._first_epoch = first_epoch
        self._steps = steps
        self._tested_on = tested_on
        self._bars = _bars(console)
        self._task = None

    def on_train_begin(self, logs=None):
        self._began = time.monotonic()
        self._done = 0
        self._bars.start()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_began = time.monotonic()
        description = f"epoch {epoch + 1}/{self._epochs}"
        self._task = self._bars.add_task(description, total=self._steps, told="")

    def on_train_batch_end(self, batch, logs=None):
        stop_if_interrupted()
        if self._console.is_terminal:
            told = f"{_numbers(logs)}  {self._left((batch + 1) / self._steps)}"
            self._bars.update(self._task, completed=batch + 1, told=told)

    def on_epoch_end(self, epoch, logs=None):
        self._bars.remove_task(self._task)
        self._done += 1
        seconds = time.monotonic() - self._epoch_began
        tested = "".join(
            f"  {self._tested_on} {told} {logs[name]:.4f}"
            for name, told in _TESTED.items()
            if not math.isnan((logs or {}).get(name, math.nan))
        )
        self._console.print(
            f"epoch {epoch + 1}/{self._epochs}  {_numbers(logs)}{tested}  {seconds:.0f} s, "
            f"{self._left(0.0)}",
            soft_wrap=True,
        )

    def on_train_end(self, logs=None):
        self._bars.stop()

    def stop(self):
        """Takes the bar from the screen, however the training ended."""
        self._bars.stop()

    def _left(self, share_of_epoch):
        done = self._done + share_of_epoch
        if done <= 0:
            return ""
        total = self._epochs - self._first_epoch
        seconds = (time.monotonic() - self._began) / done * max(total - done, 0)
        return f"{duration(seconds)} left"


def duration(seconds):
    """Seconds as `1:02:03` or `2:03`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _numbers(logs):
    shown = ((name.replace("_", " "), logs[name]) for name in _SHOWN if name in (logs or {}))
    return "  ".join(f"{name} {value:.4f}" for name, value in shown)


class AttackProgress:
    """Shows each attack of an evaluation: images done, survivors so far, time left.

    Args:
        console: A rich console.
    """

    def __init__(self, console):
        self._console = console

    @contextlib.contextmanager
    def attack(self, name, total):
        """A bar for one attack."""
        with _bars(self._console) as bars:
            self._bars = bars
            self._total = total
            self._task = bars.add_task(name, total=total, told="")
            yield self

    def advance(self, count, survivors):
        """`count` more images are done; `survivors` in all are still classified right."""
        stop_if_interrupted()
        self._bars.update(self._task, advance=count, told=f"{survivors} still right")
