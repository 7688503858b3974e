"""The result of an evaluation: shares with their intervals, and what each was computed from."""

import dataclasses
import hashlib

import numpy as np

from keras_mpdsgr.evaluation import comparison, report_json, report_markdown
from keras_mpdsgr.evaluation.checks import verdict
from keras_mpdsgr.evaluation.statistics import spread, wilson
from keras_mpdsgr.files import read_json, write_json

THREAT_MODELS = ("linf", "l2")
# What the results of clean images stand under.
CLEAN = "clean"


@dataclasses.dataclass(eq=False)
class Report:
    """Accuracy of a model on clean and on attacked images, sample by sample.

    Two reports are equal if their JSON files are.

    Attributes:
        labels: True classes, `(n,)`, int32.
        clean_prediction: Classes predicted for the clean images, `(n,)`, int32.
        records: An `AttackRecord` for each attack, by name.
        eps: Radius of the L-infinity ball.
        config: What else the results depend on.
        checks: Results of gradient-obfuscation checks, a `Check` by name.
        indices: The samples' numbers in a larger set, `(n,)`; None for 0..n-1.
        images: SHA-256 of images and labels, as `image_hash` gives it.
        command: The command that made the report; None where there was none.
        clean_right: Forward passes, of `votes`, that were right on the clean image, `(n,)`; None
            where one pass has judged.
        clean_grid: Classes predicted for the clean images on the grid, `(n,)`; None without one.
        left_out: Attacks that cannot take the model or the images, and why.
        adapted: Attacks that were changed for the model, and how.
        self_check: What the evaluation has checked of itself, and whether it held.

    Example:

    >>> from keras_mpdsgr.evaluation import AttackRecord
    >>> attack = {"class": "FGSM", "arguments": {"gradient": "bptt"}}
    >>> record = AttackRecord("linf", attack, [3, 7], loss=[0, 2], linf=[0, 0], l2=[0, 0])
    >>> report = Report(np.array([3, 8]), np.array([3, 8]), {"fgsm": record}, eps=8 / 255)
    >>> report.clean, report.worst_case, report.strongest(), report.only_weak
    (1.0, 0.5, 'fgsm', True)
    """

    labels: np.ndarray
    clean_prediction: np.ndarray
    records: dict
    eps: float
    config: dict = dataclasses.field(default_factory=dict)
    checks: dict = dataclasses.field(default_factory=dict)
    indices: np.ndarray | None = None
    images: str = ""
    command: str | None = None
    clean_right: np.ndarray | None = None
    clean_grid: np.ndarray | None = None
    left_out: dict = dataclasses.field(default_factory=dict)
    adapted: dict = dataclasses.field(default_factory=dict)
    self_check: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.indices is None:
            self.indices = np.arange(self.n)

    def __eq__(self, other):
        return isinstance(other, Report) and self.to_dict() == other.to_dict()

    @property
    def n(self):
        """Number of samples."""
        return len(self.labels)

    @property
    def verdict(self):
        """The checks in one sentence; empty where there were none, or where none can be given."""
        if self.only_class is not None:
            return f"No verdict: the model answers class {self.only_class} whatever the image."
        return verdict(self.checks) if self.checks else ""

    @property
    def only_class(self):
        """The class predicted for all clean images although they have several; else None."""
        found = np.unique(self.clean_prediction)
        return int(found[0]) if len(found) == 1 and len(np.unique(self.labels)) > 1 else None

    @property
    def votes(self):
        """Forward passes that judge an image: it is misclassified if most of them err."""
        return self.config.get("votes", 1)

    def spread(self, name):
        """The `Spread` of single forward passes on the images of one attack, or on `"clean"` ones.

        None where one pass has judged.
        """
        right = self.clean_right if name == CLEAN else self.records[name].right
        return None if right is None else spread(np.maximum(right, 0), self.votes)

    @property
    def cumulative(self):
        """Whether an attack's accuracy counts what attacks of its norm before it have broken."""
        return bool(self.config.get("drop_broken"))

    @property
    def clean_correct(self):
        """Whether each clean image is classified right, `(n,)`."""
        return self.clean_prediction == self.labels

    def correct(self, name, on_grid=False):
        """Whether each sample is classified right under one attack, or its image on the grid."""
        record = self.records[name]
        return (record.grid if on_grid else record.prediction) == self.labels

    def of_norm(self, norm):
        """Names of the attacks of one threat model, in the order they ran."""
        return [name for name, record in self.records.items() if record.norm == norm]

    def survivors(self, norm="linf", on_grid=False):
        """Whether each sample is right when clean and under every attack of a threat model.

        Args:
            norm: `"linf"` or `"l2"`.
            on_grid: Whether to count images on the grid.
        """
        right = self.clean_grid == self.labels if on_grid else self.clean_correct.copy()
        for name in self.bounded(norm):
            right &= self.correct(name, on_grid)
        return right

    def added(self):
        """Images that each attack within a radius broke and none before it of its threat model.

        Clean errors are nobody's. From an attack's name to a number.
        """
        found = {}
        for norm in ("linf", "l2"):
            standing = self.clean_correct.copy()
            for name in self.bounded(norm):
                left = standing & self.correct(name)
                found[name] = int(standing.sum() - left.sum())
                standing = left
        return found

    def bounded(self, norm):
        """Names of the attacks of one threat model that stay within a radius."""
        return [name for name in self.of_norm(norm) if self.records[name].bounded]

    def strongest(self, norm="linf"):
        """The attack within a radius that leaves fewest images, or None; the first of equals."""
        return min(self.bounded(norm), key=self.accuracy.__getitem__, default=None)

    @property
    def only_weak(self):
        """Whether all its L-infinity attacks are FGSM, BIM, PGD along a fixed gradient, or less."""
        names = self.of_norm("linf")
        return bool(names) and all(self.records[name].is_weak for name in names)

    @property
    def clean(self):
        """Share of clean images classified right."""
        return float(self.clean_correct.mean())

    @property
    def accuracy(self):
        """Share classified right under each attack."""
        return {name: float(self.correct(name).mean()) for name in self.records}

    @property
    def worst_case(self):
        """Share that survives every L-infinity attack at eps; None where there was none."""
        return float(self.survivors("linf").mean()) if self.bounded("linf") else None

    @property
    def worst_case_l2(self):
        """Share that survives every L2 attack within a radius; None where there was none."""
        return float(self.survivors("l2").mean()) if self.bounded("l2") else None

    @property
    def worst_case_grid(self):
        """As `worst_case`, of images on the grid; None where there was no grid or no attack."""
        share = self.shares(on_grid=True).get("worst_case")
        return None if share is None else share.value

    def shares(self, on_grid=False):
        """Every share with its 95 % interval, a `Share` by name, in the order of the table.

        Args:
            on_grid: Whether to count images on the grid; empty where there was none.
        """
        if on_grid and self.clean_grid is None:
            return {}
        clean = self.clean_grid == self.labels if on_grid else self.clean_correct
        right = {CLEAN: clean} | {name: self.correct(name, on_grid) for name in self.records}
        for label, norm in (("worst_case", "linf"), ("worst_case_l2", "l2")):
            if self.bounded(norm):
                right[label] = self.survivors(norm, on_grid)
        return {name: wilson(found.sum(), self.n) for name, found in right.items()}

    @property
    def per_sample(self):
        """One dictionary a sample: index, label, clean prediction, and each attack's values."""
        rows = []
        for i, number in enumerate(np.asarray(self.indices)):
            row = {
                "index": int(number),
                "label": int(self.labels[i]),
                "clean": int(self.clean_prediction[i]),
                "broken_by": self._broken_by(i),
            }
            for name, record in self.records.items():
                row[f"{name}_prediction"] = int(record.prediction[i])
                for key in ("loss", "linf", "l2"):
                    row[f"{name}_{key}"] = float(getattr(record, key)[i])
            rows.append(row)
        return rows

    def _broken_by(self, i):
        if not self.clean_correct[i]:
            return CLEAN
        attacks = (
            name
            for name, record in self.records.items()
            if record.norm in THREAT_MODELS and record.bounded
        )
        return next((name for name in attacks if not self.correct(name)[i]), "")

    def compare(self, other):
        """McNemar's paired tests against another model's report on the same images.

        Args:
            other: A `Report` of the same images, labels and eps.

        Returns:
            A `Comparison`, a dictionary of `PairedTest`s, which are p-values: `"clean"`, each
            attack that both ran with the same settings, and `"worst_case"` if all their L-infinity
            attacks are the same. Its `left_out` says what was not compared, and why. Where broken
            samples were spared, an attack is compared only if those before it are the same too.

        Raises:
            ValueError: If `other` is of other images, labels or another eps.
        """
        if not isinstance(other, Report):
            raise ValueError(f"`other` must be a `Report`. Received: {other!r}.")
        return comparison.compare(self, other)

    def to_markdown(self):
        """The table as Markdown: accuracy, interval, time and gradients of each attack."""
        return report_markdown.to_markdown(self)

    def notes(self):
        """Notes that belong to the table, a list of sentences."""
        return report_markdown.notes(self)

    def to_dict(self):
        """The report as plain values, in the form of `to_json`."""
        return report_json.to_dict(self)

    def to_json(self, path):
        """Writes the report as JSON, whole or not at all."""
        write_json(path, self.to_dict())

    @classmethod
    def from_json(cls, path):
        """Reads the report that `to_json` has written.

        Args:
            path: The file.

        Raises:
            ValueError: If the file is missing, damaged, or of another version's format, or if its
                shares do not follow from its samples.
        """
        content = read_json(path)
        report = cls(**report_json.arguments(content, path))
        report_json.check_shares(report, content, path)
        return report


def image_hash(x, y):
    """SHA-256 of images, `(n, ...)`, as float32, their shape and their labels, `(n,)`."""
    digest = hashlib.sha256(repr(x.shape).encode())
    digest.update(np.ascontiguousarray(x, "<f4").data)
    digest.update(np.ascontiguousarray(y, "<i8").data)
    return digest.hexdigest()
