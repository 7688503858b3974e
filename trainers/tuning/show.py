"""What a search shows while it runs."""

import contextlib
import time

import keras

from keras_mpdsgr.experiments.heartbeat import EVERY, Heartbeat
from keras_mpdsgr.experiments.progress import duration


class SearchShow:
    """Says each trial's values and result; on a terminal, and every half minute, its epoch too.

    Args:
        console: A rich console.
        max_trials: Trials, at most.
        epochs: Epochs of a whole training.
        alone: Whether this process runs all trials, so that the time left can be told.
        every: Seconds without a line after which one is printed, where there is no terminal.
        clock: Function that gives the time in seconds.
    """

    def __init__(self, console, max_trials, epochs, alone, every=EVERY, clock=time.monotonic):
        self._console = console
        self._max_trials = max_trials
        self._epochs = epochs
        self._alone = alone
        self._clock = clock
        self._began = clock()
        self._done = 0
        self._now = ""
        self._heart = Heartbeat(
            lambda line: console.print(line, soft_wrap=True), self._line, every, clock
        )

    def trial(self, number, values):
        """A context around one trial; gives the callbacks for its training."""
        text = f"trial {int(number) + 1} of {self._max_trials}: {say_values(values)}"
        return self._shown(text, int(number))

    def control(self, values):
        """The same around the control, after the last trial."""
        return self._shown(f"control: {say_values(values)}", self._max_trials)

    @contextlib.contextmanager
    def _shown(self, text, number):
        self._now, self._number, self._began_trial = text, number, self._clock()
        with contextlib.ExitStack() as shown:
            status = None
            if self._console.is_terminal:
                status = shown.enter_context(self._console.status(text))
            else:
                shown.enter_context(self._heart.beating())

            def update(told):
                self._now = f"{text}, {told}"
                if status is not None:
                    status.update(self._now)

            yield [_Epochs(update)]

    def result(self, number, values, measured, seconds=None):
        """Says what came of a trial."""
        self._done += 1
        self._took = self._clock() - self._began
        took = "" if seconds is None else f"  {duration(seconds)}"
        shares = "  ".join(f"{name} {measured[name]:.1%}" for name in ("clean", "robust"))
        self._console.print(
            f"trial {int(number) + 1}/{self._max_trials}  {say_values(values)}  {shares}  "
            f"score {measured['score']:.3f}{took}{self._left(int(number) + 1)}",
            soft_wrap=True,
        )

    def _line(self):
        took = self._clock() - self._began_trial
        return f"{self._now}, {duration(took)} so far{self._left(self._number, took)}"

    def _left(self, done, took=0.0):
        """The time left in words, after `done` trials and `took` seconds of the next."""
        left = self._max_trials - done
        if not self._alone or not self._done or left <= 0:
            return ""
        ahead = max(self._took / self._done * left - took, 0)
        return f", about {duration(ahead)} left"

    def ended(self, trial):
        """The same, of a trial that some worker has reported to the chief."""
        names = trial.metrics.metrics
        measured = {name: trial.metrics.get_best_value(name) for name in names}
        if "score" in measured:
            self.result(trial.trial_id, trial.hyperparameters.values, measured)


def say_values(values):
    """The values of a trial in words."""
    shown = ((k, v) for k, v in values.items() if not k.startswith("tuner/") or k == "tuner/epochs")
    return ", ".join(
        f"{name.removeprefix('tuner/')} {value:.4g}" if isinstance(value, float) else
        f"{name.removeprefix('tuner/')} {value}"
        for name, value in shown
    )  # fmt: skip


class _Epochs(keras.callbacks.Callback):
    def __init__(self, update):
        super().__init__()
        self._update = update

    def on_epoch_begin(self, epoch, logs=None):
        self._update(f"epoch {epoch + 1} of {self.params['epochs']}")

    def on_train_end(self, logs=None):
        self._update("under attack")
