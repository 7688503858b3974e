"""Trains the missing runs, attacks their models, and reports progress."""

import json
import time

from keras_mpdsgr.errors import RunError, SetupError
from trainers.reproduction import attack_groups
from trainers.reproduction.durations import Durations, duration

# No part of what a network computes in inference mode, so no reason to compile again.
_TRAINING_ONLY = ("eta", "track_omega", "omega_form")
# Names of inner layers count up with each model that a process makes.
_NOT_OF_THE_NETWORK = ("compile_config", "shared_object_id", "name")
_MODELS_KEPT = 4


class Execution:
    """Does the work of plans, one run after the other.

    Args:
        store: The `Store`.
        console: A rich console.
        data_dir: Function of a data set's name that gives its folder.
        train: Function of a training's settings, such as `keras_mpdsgr.experiments.training.train`.
        attack: Function of a `Task` that gives its result, a `Report`.
    """

    def __init__(self, store, console, data_dir, train, attack):
        self._store = store
        self._console = console
        self._data_dir = data_dir
        self._train, self._attack = train, attack

    def carry_out(self, plans, done):
        """Does all that plans need.

        Args:
            plans: Tables and figures, in order.
            done: Function that is called with each plan once all of its runs are there.
        """
        everything = Agenda(self._store, plans)
        self._say_what_is_left(everything)
        for plan in plans:
            agenda = Agenda(self._store, [plan])
            for run in agenda.runs:
                number = everything.runs.index(run) + 1
                self._ensure(run, agenda.tasks_of(run), f"run {number} of {len(everything.runs)}")
                self._say_what_is_left(everything)
            done(plan)

    def _ensure(self, run, tasks, position):
        store = self._store
        if not store.trained(run) and not store.failure(run):
            self._console.rule(f"{position}: {run.folder}")
            self._train_run(run)
        if store.failure(run):
            self._console.print(f"{position} failed: {store.failure(run)}", soft_wrap=True)
            return
        for task in tasks:
            failed = task.substitute and store.failure(task.substitute)
            if store.result(task) is None and not failed:
                self._console.print(f"{position}, {run.folder}: {task.group}", soft_wrap=True)
                began = time.monotonic()
                result = self._attack(task)
                store.write_result(task, result)
                store.add_seconds(run, task.group, time.monotonic() - began)

    def _train_run(self, run):
        folder = self._store.folder(run)
        data_dir = self._data_dir(run.config.dataset)
        config = run.config.replace(run_dir=str(folder.path), data_dir=data_dir)
        began = time.monotonic()
        try:
            self._train(config)
        except RunError as error:
            if isinstance(error.__cause__, OSError):
                raise
            self._store.write_failure(run, error)
        finally:
            if folder.path.is_dir():
                self._store.add_seconds(run, "training", time.monotonic() - began)

    def _say_what_is_left(self, agenda):
        left = agenda.seconds_left()
        if left > 0:
            self._console.print(
                f"{agenda.runs_left()} of {len(agenda.runs)} runs left, about {duration(left)}",
                soft_wrap=True,
            )


class Agenda:
    """The runs and tasks of plans, and which of them are done.

    Args:
        store: The `Store`.
        plans: Tables and figures.
    """

    def __init__(self, store, plans):
        self._store = store
        readings = [one for plan in plans for one in plan.readings()]
        paired = [runs for plan in plans for runs in getattr(plan, "pair", {}).values()]
        found = dict.fromkeys(attack_groups.runs(readings))
        found |= dict.fromkeys(run for runs in paired for run in runs)
        self.runs = list(found)
        self._tasks = attack_groups.tasks(readings)
        for run in self.runs:
            # Needed to tell a dead network, whatever the plan reads.
            clean = attack_groups.Task(run, "clean")
            if clean not in self._tasks:
                self._tasks.append(clean)

    def tasks_of(self, run):
        """The groups of attacks on one run's model."""
        return [task for task in self._tasks if task.run == run]

    def missing(self, run):
        """The tasks of a run that are not done."""
        if self._store.failure(run):
            return []
        return [task for task in self.tasks_of(run) if self._store.result(task) is None]

    def seconds(self, run, estimates):
        """Seconds that a run's missing training and attacks will take."""
        seconds = sum(estimates.attack(task) for task in self.missing(run))
        if not self._store.trained(run) and not self._store.failure(run):
            seconds += estimates.training(run)
        return seconds

    def seconds_left(self):
        """Seconds that all will take."""
        estimates = Durations(self._store, self.runs)
        return sum(self.seconds(run, estimates) for run in self.runs)

    def runs_left(self):
        """Runs that are not trained or not attacked in full."""
        store = self._store
        return sum(
            not store.failure(run) and (not store.trained(run) or bool(self.missing(run)))
            for run in self.runs
        )


class Attacker:
    """Attacks trained models; those of one architecture share what is compiled.

    Args:
        store: The `Store`.
        data_dir: Function of a data set's name that gives its folder.
        progress: As of `evaluation.evaluate`.
        jit: XLA, as of `Attack`.
    """

    def __init__(self, store, data_dir, progress, jit):
        self._store, self._data_dir, self._progress, self._jit = store, data_dir, progress, jit
        self._models, self._images = {}, {}

    def __call__(self, task):
        """The result of a task, a `Report`."""
        from keras_mpdsgr import evaluation

        run = task.run
        model = self.model(run)
        x, y = self.test_images(run, task.asked(self._store.scale)["images"])
        substitute = None if task.substitute is None else self._load(task.substitute)
        journal = self._store.path(task, ".csv")
        journal.parent.mkdir(parents=True, exist_ok=True)
        return evaluation.evaluate(
            model,
            x,
            y,
            attacks=attack_groups.build(task, self._store.scale, self._jit, substitute),
            eps=attack_groups.EPS,
            batch_size=run.config.eval_batch_size,
            seed=run.config.seed,
            drop_broken=task.group == "strongest",
            journal=journal,
            progress=self._progress,
        )

    def test_images(self, run, limit):
        """Images and labels, the first `limit` of the test set, all with None."""
        from keras_mpdsgr import data

        name = run.config.dataset
        if name not in self._images:
            self._images[name] = data.load(
                name, self._data_dir(name), limit_train=1, limit_test=None
            )
        images = self._images[name]
        return data.to_pixels(images.x_test[:limit]), images.y_test[:limit]

    def model(self, run):
        """The run's trained model, in a model that may hold another's weights next time."""
        loaded = self._load(run)
        key = json.dumps(_architecture(json.loads(loaded.to_json())), sort_keys=True)
        if key not in self._models:
            if len(self._models) == _MODELS_KEPT:
                self._models.pop(next(iter(self._models)))
            self._models[key] = loaded
        shared = self._models[key]
        if shared is not loaded:
            shared.set_weights(loaded.get_weights())
        return shared

    def _load(self, run):
        from keras_mpdsgr import models

        path = self._store.folder(run).model_path
        try:
            return models.load_to_judge(path)
        except (OSError, ValueError) as error:
            raise SetupError(f"{error} Remove the folder {path.parent} and try again.") from error


def _architecture(config):
    """A model's configuration without what matters in training alone."""
    if isinstance(config, dict):
        skipped = (*_TRAINING_ONLY, *_NOT_OF_THE_NETWORK)
        return {k: _architecture(v) for k, v in config.items() if k not in skipped}
    if isinstance(config, list):
        return [_architecture(value) for value in config]
    return config
