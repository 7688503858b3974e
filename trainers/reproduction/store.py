"""What the folders of a reproduction hold already."""

import dataclasses
import json
import pathlib
import statistics

from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments.run import Run
from keras_mpdsgr.files import write_json
from trainers.reproduction.attack_groups import Task, group_of

_CHANCE = {"cifar100": 1 / 100, "tiny_imagenet": 1 / 200}
_CHANCE_OF_TEN = 1 / 10


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A number of a table, as it was measured.

    Attributes:
        value: In percent (Omega: a share); None where there is none.
        low, high: Its 95 % interval: Wilson's over images, or Student's over several seeds.
        n: Images looked at.
        spread: Standard deviation over seeds, where there are several.
        trouble: Why there is no number, or why it means little.
        dead: Whether the network is no better than guessing.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    spread: float | None = None
    trouble: str = ""
    dead: bool = False


class Store:
    """Results under one folder.

    Args:
        root: --run_dir.
        scale: The `Scale`, which says how many images and steps a result must have.
    """

    def __init__(self, root, scale):
        self.root = pathlib.Path(root)
        self.scale = scale
        self._reports = {}

    def folder(self, run):
        """The `experiments.Run` of its folder."""
        return Run(self.root / "runs" / run.folder)

    def trained(self, run):
        return self.folder(run).done

    def failure(self, run):
        """Why training failed, in words; None where it has not."""
        found = _read_json(self._failure_path(run))
        return found and found["error"]

    def write_failure(self, run, error):
        write_json(self._failure_path(run), {"error": str(error)})

    def result(self, task):
        """The `Report` of a task; None where it is missing or was asked otherwise."""
        path = self.path(task, ".json")
        if not path.is_file():
            return None
        from keras_mpdsgr.evaluation import Report  # takes seconds, which --help should not cost

        stamp = path, path.stat().st_mtime_ns
        if stamp not in self._reports:
            try:
                self._reports[stamp] = Report.from_json(path)
            except SetupError:
                self._reports[stamp] = None
        found = self._reports[stamp]
        return found if found and found.config.get("asked") == task.asked(self.scale) else None

    def write_result(self, task, report):
        path = self.path(task, ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        report.config["asked"] = task.asked(self.scale)
        report.to_json(path)

    def path(self, task, ending):
        """A file of a task's results."""
        return self.folder(task.run).results / (task.file + ending)

    def seconds(self, run):
        """Seconds that training and each group of attacks took so far, by name."""
        return _read_json(self._seconds_path(run)) or {}

    def add_seconds(self, run, name, seconds):
        taken = self.seconds(run)
        taken[name] = round(taken.get(name, 0.0) + seconds, 1)
        write_json(self._seconds_path(run), taken)

    def outcome(self, reading):
        """The `Outcome` of a `Reading`, over its seeds."""
        substitutes = reading.substitutes or (None,) * len(reading.runs)
        pairs = zip(reading.runs, substitutes, strict=True)
        single = [self._single(run, reading.measure, other) for run, other in pairs]
        return single[0] if len(single) == 1 else _over_seeds(single)

    def _single(self, run, measure, substitute):
        for needed in (substitute, run):
            failure = needed and self.failure(needed)
            if failure:
                return Outcome(trouble=f"failed: {failure}")
        if measure == "omega":
            return self._omega(run)
        result = self.result(Task(run, group_of(measure), substitute))
        if result is None:
            return Outcome(trouble="missing")
        share = result.shares()[measure]
        trouble = self._death(run)
        return Outcome(
            value=100 * share.value,
            low=100 * share.low,
            high=100 * share.high,
            n=result.n,
            trouble=trouble,
            dead=bool(trouble),
        )

    def _death(self, run):
        """Says so where a trained network is no better than guessing."""
        clean = self.result(Task(run, "clean"))
        chance = _CHANCE.get(run.config.dataset, _CHANCE_OF_TEN)
        if clean and clean.shares()["clean"].low <= chance:
            return f"dead network: {clean.clean:.1%} of clean images, no better than guessing"
        return ""

    def _omega(self, run):
        probe = self.folder(run).probe()
        if not probe:
            return Outcome(trouble="missing")
        epochs, omega = probe["epoch"], probe["omega"]
        last = [value for epoch, value in zip(epochs, omega, strict=True) if epoch == epochs[-1]]
        return Outcome(value=statistics.mean(last))

    def _failure_path(self, run):
        return self.folder(run).path / "failed.json"

    def _seconds_path(self, run):
        return self.folder(run).path / "seconds.json"


def _read_json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _over_seeds(single):
    import scipy.stats  # takes half a second, which --dry_run should not cost

    troubles = [one.trouble for one in single if one.trouble]
    values = [one.value for one in single if one.value is not None]
    if len(values) < len(single):
        return Outcome(trouble=troubles[0] if troubles else "missing")
    mean, spread = statistics.mean(values), statistics.stdev(values)
    reach = scipy.stats.t.ppf(0.975, len(values) - 1) * spread / len(values) ** 0.5
    return Outcome(
        value=mean,
        low=mean - reach,
        high=mean + reach,
        n=single[0].n,
        spread=spread,
        trouble=troubles[0] if troubles else "",
        dead=any(one.dead for one in single),
    )
