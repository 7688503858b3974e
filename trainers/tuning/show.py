"""What is seen of a search while it goes on."""

import contextlib
import time

import keras

from keras_mpdsgr.experiments.progress import duration


class SearchShow:
    """Says each trial's values and result; on a terminal, its epoch too.

    Args:
        console: A rich console.
        max_trials: Trials, at most.
        epochs: Epochs of a whole training.
        alone: Whether this process runs all trials, so that the time left can be told.
    """

    def __init__(self, console, max_trials, epochs, alone):
        self._console = console
        self._max_trials = max_trials
        self._epochs = epochs
        self._alone = alone
        self._began = time.monotonic()
        self._done = 0

    @contextlib.contextmanager
    def trial(self, number, values):
        """A context around one trial; gives the callbacks for its training."""
        text = f"trial {int(number) + 1} of {self._max_trials}: {say_values(values)}"
        with self._console.status(text) as status:
            yield [_Epochs(status, text)]

    def result(self, number, values, measured, seconds=None):
        """Says what came of a trial."""
        self._done += 1
        took = "" if seconds is None else f"  {duration(seconds)}"
        left = self._max_trials - int(number) - 1
        if self._alone and left > 0:
            ahead = (time.monotonic() - self._began) / self._done * left
            took += f", about {duration(ahead)} left"
        shares = "  ".join(f"{name} {measured[name]:.1%}" for name in ("clean", "robust"))
        self._console.print(
            f"trial {int(number) + 1}/{self._max_trials}  {say_values(values)}  {shares}  "
            f"score {measured['score']:.3f}{took}",
            soft_wrap=True,
        )

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
    def __init__(self, status, text):
        super().__init__()
        self._status, self._text = status, text

    def on_epoch_begin(self, epoch, logs=None):
        self._status.update(f"{self._text}, epoch {epoch + 1} of {self.params['epochs']}")

    def on_train_end(self, logs=None):
        self._status.update(f"{self._text}, under attack")
