"""What a search has found: table, picture, JSON, and the command that trains the best."""

import dataclasses

from keras_mpdsgr import evaluation, tuning
from keras_mpdsgr.experiments.columns import Column
from trainers.tuning import trials

_SIGNIFICANT = 6


@dataclasses.dataclass
class Trial:
    """A trial that was measured.

    Attributes:
        number: From 1; KerasTuner's own numbers begin at 0.
        values: Values searched, by name.
        epochs: Epochs trained; None for those of the flags.
        measured: What the objective has measured, by name.
        on_front: Whether no other trial is better in clean and robust accuracy.
    """

    number: int
    values: dict
    epochs: int | None
    measured: dict
    on_front: bool = False

    @property
    def failed(self):
        return bool(self.measured["failed"])


def collect(oracle):
    """The trials of an oracle that were measured, in their order, the front marked."""
    found = []
    for trial in sorted(oracle.trials.values(), key=lambda trial: int(trial.trial_id)):
        if trial.status != "COMPLETED":
            continue
        own = trial.hyperparameters.values
        values = {name: value for name, value in own.items() if not name.startswith("tuner/")}
        measured = {name: trial.metrics.get_best_value(name) for name in trial.metrics.metrics}
        found.append(Trial(int(trial.trial_id) + 1, values, own.get(trials.EPOCHS), measured))
    alive = [trial for trial in found if not trial.failed]
    if alive:
        points = [(trial.measured["clean"], trial.measured["robust"]) for trial in alive]
        for trial, is_on in zip(alive, tuning.pareto_front(points), strict=True):
            trial.on_front = bool(is_on)
    return found


def best_of(found):
    """The trial of the highest score, the cleaner one of equals; None if all have failed."""
    alive = [trial for trial in found if not trial.failed]
    by_score = (trial.measured["score"] for trial in alive)
    ranked = sorted(
        zip(by_score, alive, strict=True),
        key=lambda entry: (-entry[0], -entry[1].measured["clean"], entry[1].number),
    )
    return ranked[0][1] if ranked else None


def table(found, best, images):
    """The trials as `Column`s and rows, the best first."""
    names = list(found[0].values)
    by_epochs = any(trial.epochs is not None for trial in found)
    columns = [Column("trial"), *(Column(name, rank=0) for name in names)]
    columns += [Column("epochs", rank=3)] if by_epochs else []
    columns += [Column("clean"), Column("PGD", rank=4), Column("SA-PGD", rank=4), Column("robust")]
    columns += [Column("95 % interval", rank=2), Column("score", rank=3)]
    columns.append(Column("Pareto", number=False, rank=2))
    rows = []
    for trial in sorted(found, key=lambda trial: (trial is not best, -trial.measured["score"])):
        measured = trial.measured
        share = evaluation.wilson(round(measured["robust"] * images), images)
        row = [f"{trial.number}", *(_short(trial.values[name]) for name in names)]
        row += [f"{trial.epochs}"] if by_epochs else []
        row += [f"{measured[name]:.1%}" for name in ("clean", "pgd", "sapgd", "robust")]
        row += [f"{share.low:.1%} .. {share.high:.1%}", f"{measured['score']:.3f}"]
        rows.append([*row, "failed" if trial.failed else "front" if trial.on_front else ""])
    return columns, rows


def _short(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def training_of(config, trial):
    """The `ExperimentConfig` that trains a trial's network on all training images."""
    rounded = {
        name: float(f"{value:.{_SIGNIFICANT}g}") if isinstance(value, float) else value
        for name, value in trial.values.items()
    }
    epochs = {} if trial.epochs is None else {"epochs": trial.epochs}
    return config.training(**rounded, **epochs, run_dir=None)


def as_json(found, best, line, wanted, images, compared=None):
    """All of it, for a JSON file."""
    return {
        "objective": wanted,
        "images": images,
        "trials": [dataclasses.asdict(trial) for trial in found],
        "best": None if best is None else best.number,
        "command": line,
        "control": compared,
    }


def plot(path, found, best, title):
    """The clean-robust trade-off of the trials that did not fail."""
    alive = [trial for trial in found if not trial.failed]
    tuning.plot_trade_off(
        path,
        [trial.measured["clean"] for trial in alive],
        [trial.measured["robust"] for trial in alive],
        [trial.values["eta"] for trial in alive],
        [trial.number for trial in alive],
        alive.index(best),
        title,
    )
