"""KerasTuner's oracles and tuner, which survive a kill and a failed trial."""

import contextlib
import json
import pathlib
import time

import keras
import keras_tuner

from keras_mpdsgr.experiments import checkpoints
from keras_mpdsgr.files import read_json, write_json
from keras_mpdsgr.keras_internals import RestartableOracle, RestartableTuner
from trainers.tuning import trials

_NEVER = 10**9


class _Told(RestartableOracle):
    """An oracle that calls `ended` with each trial that ends."""

    ended = None

    def end_trial(self, trial):
        super().end_trial(trial)
        if self.ended is not None:
            self.ended(self.trials[trial.trial_id])


class _Random(_Told, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Hyperband(_Told, keras_tuner.oracles.HyperbandOracle):
    pass


class _Bayesian(_Told, keras_tuner.oracles.BayesianOptimizationOracle):
    pass


_ORACLES = {"random": _Random, "hyperband": _Hyperband, "bayesian": _Bayesian}


def make_oracle(algorithm, objective, max_trials, epochs, dimensions, seed):
    """The oracle of an algorithm.

    Args:
        algorithm: `"random"`, `"hyperband"` or `"bayesian"`.
        objective: The `keras_tuner.Objective`.
        max_trials: Trials, at most.
        epochs: Epochs of a whole training.
        dimensions: Number of values searched.
        seed: Of the choices.
    """
    options = {
        "objective": objective,
        "seed": seed + 1,  # 0 would have KerasTuner draw one.
        "max_consecutive_failed_trials": _NEVER,
    }
    if algorithm == "hyperband":
        options["max_epochs"] = epochs
        options["hyperband_iterations"] = _NEVER
    else:
        options["max_trials"] = max_trials
    if algorithm == "bayesian":
        # KerasTuner's own, three for each dimension, may be all there are.
        options["num_initial_points"] = max(2, min(3 * dimensions, max_trials // 2))
    oracle = _ORACLES[algorithm](**options)
    oracle.max_trials = max_trials
    return oracle


class SearchTuner(RestartableTuner, keras_tuner.Tuner):
    """Runs trials one after the other; one that fails counts as failed, and the search continues.

    Args:
        oracle: What `make_oracle` has returned.
        hypermodel: An `MPDSGRHyperModel`.
        directory: Where the search is stored and resumed.
        show: Object with `trial(number, values)`, a context, and `result(number, values, measured,
            seconds)`.
    """

    def __init__(self, oracle, hypermodel, directory, show):
        self._show = show
        with contextlib.redirect_stdout(None):
            super().__init__(oracle, hypermodel, directory=str(directory), project_name="search")

    def populate_space(self):
        hp = self.oracle.get_space()
        self.hypermodel.space.values(hp)
        self.oracle.update_space(hp)

    def run_trial(self, trial, *args, **kwargs):
        hp, began = trial.hyperparameters, time.monotonic()
        with self._show.trial(trial.trial_id, hp.values) as callbacks:
            self.hypermodel.objective.right = None
            try:
                measured = self._train_and_measure(trial, callbacks)
            except keras_tuner.errors.FatalError:
                raise
            except Exception as error:  # one failure must not end a search of hours
                text = " ".join(str(error).split())
                self.hypermodel.say_failure(f"{type(error).__name__}: {text[:300]}")
                measured = self.hypermodel.objective.failure()
        right = self.hypermodel.objective.right
        if right is not None:
            write_json(self._right(trial.trial_id), [int(one) for one in right])
        self._show.result(trial.trial_id, hp.values, measured, time.monotonic() - began)
        return measured

    def _train_and_measure(self, trial, callbacks):
        hp = trial.hyperparameters
        keras.utils.clear_session()
        model = self.hypermodel.build(hp)
        earlier = hp.values.get(trials.EARLIER_TRIAL)
        if earlier is not None:
            model.load_weights(self._weights(earlier))
        measured = self.hypermodel.fit(hp, model, callbacks=callbacks)
        if trials.EPOCHS in hp.values:  # Hyperband may take it up again.
            checkpoints.save_weights(model, self._weights(trial.trial_id))
        return measured

    def right(self, trial_id):
        """Whether each image is right under every attack; None of a trial of another machine."""
        path = self._right(trial_id)
        return read_json(path) if path.is_file() else None

    def _right(self, trial_id):
        return pathlib.Path(self.get_trial_dir(trial_id)) / "right.json"

    def _weights(self, trial_id):
        return pathlib.Path(self.get_trial_dir(trial_id)) / "trial.weights.h5"

    def pre_create_trial(self):
        # A worker that is told to wait would else ask again without a pause.
        if self.is_worker:
            time.sleep(0.2)


def is_over(oracle):
    """Whether an oracle has no trial left to give: all are there and none is under way."""
    ended = ("COMPLETED", "FAILED")
    trials_of = oracle.trials.values()
    return len(trials_of) >= oracle.max_trials and all(t.status in ended for t in trials_of)


def damaged(folder):
    """The first file of a search that cannot be read; None if all can."""
    for path in sorted(pathlib.Path(folder).glob("search/**/*.json")):
        try:
            json.loads(path.read_text())
        except ValueError:
            return path
    return None
