"""What a run shows while it goes: bars on a terminal, lines elsewhere."""

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

from keras_mpdsgr.experiments.heartbeat import EVERY, Heartbeat
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


def _heart(console, line, every, clock):
    return Heartbeat(lambda told: console.print(told, soft_wrap=True), line, every, clock)


class TrainingProgress(keras.callbacks.Callback):
    """A line for each epoch that is done; within one, a bar, or a line every half minute.

    Args:
        console: A rich console.
        epochs: Epochs of the whole run.
        first_epoch: Epochs done before.
        steps: Steps of an epoch.
        tested_on: What the images are called that `fit` has for `validation_data`.
        every: Seconds without a line after which one is printed, where there is no terminal.
        clock: Function that gives the time in seconds.
    """

    def __init__(
        self, console, epochs, first_epoch, steps, tested_on="test", every=EVERY,
        clock=time.monotonic,
    ):  # fmt: skip
        super().__init__()
        self._console = console
        self._epochs = epochs
        self._first_epoch = first_epoch
        self._steps = steps
        self._tested_on = tested_on
        self._clock = clock
        self._heart = _heart(console, self._line, every, clock)
        self._bars = _bars(console)
        self._task = None
        self._shown = contextlib.ExitStack()
        self._epoch, self._step, self._logs = first_epoch, 0, {}

    def on_train_begin(self, logs=None):
        self._began = self._epoch_began = self._clock()
        self._done = 0
        self._shown.enter_context(self._bars)
        if not self._console.is_terminal and not self._console.quiet:
            self._shown.enter_context(self._heart.beating())

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._step, self._logs = epoch, 0, {}
        self._epoch_began = self._clock()
        description = f"epoch {epoch + 1}/{self._epochs}"
        self._task = self._bars.add_task(description, total=self._steps, told="")

    def on_train_batch_end(self, batch, logs=None):
        stop_if_interrupted()
        self._step, self._logs = batch + 1, logs or {}
        if self._console.is_terminal:
            told = f"{_numbers(logs)}  {self._left(self._share())}"
            self._bars.update(self._task, completed=batch + 1, told=told)

    def on_epoch_end(self, epoch, logs=None):
        self._bars.remove_task(self._task)
        self._done += 1
        seconds = self._clock() - self._epoch_began
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
        self._heart.said()

    def on_train_end(self, logs=None):
        self.stop()

    def stop(self):
        """Takes the bar from the screen and ends the lines, however the training ended."""
        self._shown.close()

    def _line(self):
        step, loss = self._step, self._logs.get("loss")
        parts = [f"epoch {self._epoch + 1}/{self._epochs}: step {step} of {self._steps}"]
        if step == self._steps:
            parts = [f"epoch {self._epoch + 1}/{self._epochs}: all steps done, measuring"]
        parts += [] if loss is None else [f"loss {loss:.4g}"]
        # Before the first step is done, it is compiled and no speed is known.
        left = self._left(self._share())
        parts.append(left or f"{duration(self._clock() - self._epoch_began)} so far")
        return ", ".join(parts)

    def _share(self):
        return self._step / self._steps

    def _left(self, share_of_epoch):
        done = self._done + share_of_epoch
        if done <= 0:
            return ""
        total = self._epochs - self._first_epoch
        seconds = (self._clock() - self._began) / done * max(total - done, 0)
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

    On a terminal a bar; elsewhere a line every half minute, and one when the attack is done.

    Args:
        console: A rich console.
        every: Seconds without a line after which one is printed.
        clock: Function that gives the time in seconds.
    """

    def __init__(self, console, every=EVERY, clock=time.monotonic):
        self._console = console
        self._clock = clock
        self._heart = _heart(console, self._line, every, clock)

    @contextlib.contextmanager
    def attack(self, name, total):
        """A context around one attack, on `total` images."""
        self._name, self._total, self._done, self._survivors = name, total, 0, None
        self._began = self._clock()
        with contextlib.ExitStack() as shown:
            self._bars = shown.enter_context(_bars(self._console))
            self._task = self._bars.add_task(name, total=total, told="")
            in_lines = not self._console.is_terminal and not self._console.quiet
            if in_lines:
                shown.enter_context(self._heart.beating())
            yield self
        if in_lines and total:
            self._console.print(self._line(), soft_wrap=True)

    def advance(self, count, survivors):
        """`count` more images are done; `survivors` in all are still classified right."""
        stop_if_interrupted()
        self._done += count
        self._survivors = survivors
        self._bars.update(self._task, advance=count, told=self._right())

    def _right(self):
        return f"{self._survivors} still right"

    def _line(self):
        took = self._clock() - self._began
        parts = [f"{self._name}: {self._done} of {self._total} images"]
        parts += [] if self._survivors is None else [self._right()]
        if 0 < self._done < self._total:
            left = took / self._done * (self._total - self._done)
            parts.append(f"{duration(left)} left")
        else:
            parts.append(f"{duration(took)}{'' if self._done else ' so far'}")
        return ", ".join(parts)
