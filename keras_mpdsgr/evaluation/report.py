"""The result of an evaluation: shares with their intervals, and what each was computed from."""

import dataclasses
import json
import os
import pathlib

import numpy as np

from keras_mpdsgr.evaluation.statistics import mcnemar, wilson

THREAT_MODELS = ("linf", "l2")
# What the figures of clean images stand under.
CLEAN = "clean"


@dataclasses.dataclass
class AttackRecord:
    """What one attack did to each sample.

    Attributes:
        norm: Threat model: `"linf"`, `"l2"`, or `"noise"`, which is none.
        prediction: Class predicted for the attacked image, `(n,)`; -1 where the sample was not
            attacked, as an attack before had broken it.
        loss: Cross-entropy there, `(n,)`.
        linf, l2: Distances from the clean image, `(n,)`, in units of pixels.
        seconds: Time taken.
        gradient_calls: Input gradients computed, counted by image.
        settings: The attack and its arguments, in words.
    """

    norm: str
    prediction: np.ndarray
    loss: np.ndarray
    linf: np.ndarray
    l2: np.ndarray
    seconds: float = 0.0
    gradient_calls: int = 0
    settings: str = ""

    @classmethod
    def empty(cls, n, attack):
        """The record of an attack that has not touched any of `n` samples yet."""
        loss, linf, l2 = (np.full(n, np.nan) for _ in range(3))
        return cls(attack.norm, np.full(n, -1, np.int32), loss, linf, l2, settings=repr(attack))


@dataclasses.dataclass
class Report:
    """Accuracy of a model on clean and on attacked images, sample by sample.

    Attributes:
        labels: True classes, `(n,)`.
        clean_prediction: Classes predicted for the clean images, `(n,)`.
        records: An `AttackRecord` for each attack, by name.
        eps: Radius of the L-infinity ball.
        config: What else the figures depend on.
        checks: Results of gradient-obfuscation checks, by name.
        verdict: Their summary in words.
        indices: The samples' numbers in a larger set, `(n,)`; None for 0..n-1.
    """

    labels: np.ndarray
    clean_prediction: np.ndarray
    records: dict
    eps: float
    config: dict = dataclasses.field(default_factory=dict)
    checks: dict = dataclasses.field(default_factory=dict)
    verdict: str = ""
    indices: np.ndarray | None = None

    @property
    def n(self):
        """Number of samples."""
        return len(self.labels)

    @property
    def clean_correct(self):
        """Whether each clean image is classified right, `(n,)`."""
        return self.clean_prediction == self.labels

    def correct(self, name):
        """Whether each sample is classified right under one attack, `(n,)`."""
        return self.records[name].prediction == self.labels

    def survivors(self, norm="linf"):
        """Whether each sample is right when clean and under every attack of a threat model."""
        right = self.clean_correct.copy()
        for name, record in self.records.items():
            if record.norm == norm:
                right &= self.correct(name)
        return right

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
        return self._worst_case("linf")

    @property
    def worst_case_l2(self):
        """Share that survives every L2 attack; None where there was none."""
        return self._worst_case("l2")

    def _worst_case(self, norm):
        if not any(record.norm == norm for record in self.records.values()):
            return None
        return float(self.survivors(norm).mean())

    def shares(self):
        """Every figure with its 95 % interval, a `Share` by name, in the order of the table."""
        shares = {"clean": wilson(self.clean_correct.sum(), self.n)}
        for name in self.records:
            shares[name] = wilson(self.correct(name).sum(), self.n)
        for label, norm in (("worst_case", "linf"), ("worst_case_l2", "l2")):
            if self._worst_case(norm) is not None:
                shares[label] = wilson(self.survivors(norm).sum(), self.n)
        return shares

    @property
    def per_sample(self):
        """One dictionary a sample: index, label, clean prediction, and each attack's figures."""
        rows = []
        for i, number in enumerate(np.arange(self.n) if self.indices is None else self.indices):
            row = {
                "index": int(number),
                "label": int(self.labels[i]),
                "clean": int(self.clean_prediction[i]),
                "broken_by": self._broken_by(i),
            }
            for name, record in self.records.items():
                row[f"{name}_prediction"] = int(record.prediction[i])
                for figure in ("loss", "linf", "l2"):
                    row[f"{name}_{figure}"] = float(getattr(record, figure)[i])
            rows.append(row)
        return rows

    def _broken_by(self, i):
        if self.clean_prediction[i] != self.labels[i]:
            return "clean"
        attacks = (name for name, record in self.records.items() if record.norm in THREAT_MODELS)
        return next((n for n in attacks if self.records[n].prediction[i] != self.labels[i]), "")

    def compare(self, other):
        """McNemar's p-values against another model's report on the same samples.

        Args:
            other: A `Report` with the same labels.

        Returns:
            A dictionary: `"clean"`, each attack that both have, and `"worst_case"`.

        Raises:
            ValueError: If the labels differ.
        """
        if not np.array_equal(self.labels, other.labels):
            raise ValueError("`other` must be a report on the same samples. Its labels differ.")
        common = [name for name in self.records if name in other.records]
        values = {"clean": mcnemar(self.clean_correct, other.clean_correct)}
        values |= {name: mcnemar(self.correct(name), other.correct(name)) for name in common}
        values["worst_case"] = mcnemar(self.survivors(), other.survivors())
        return values

    def to_dict(self):
        """The report as plain values, in the form of `to_json`."""
        return {
            "n": self.n,
            "eps": self.eps,
            "clean": self.clean,
            "accuracy": self.accuracy,
            "worst_case": self.worst_case,
            "worst_case_l2": self.worst_case_l2,
            "intervals": {name: [s.low, s.high] for name, s in self.shares().items()},
            "checks": self.checks,
            "verdict": self.verdict,
            "attacks": {
                name: {
                    "norm": record.norm,
                    "settings": record.settings,
                    "seconds": round(record.seconds, 3),
                    "gradient_calls": record.gradient_calls,
                }
                for name, record in self.records.items()
            },
            "config": self.config,
        }

    def to_markdown(self):
        """The table as Markdown: accuracy, interval, time and gradients of each attack."""
        lines = [
            f"| {self.n} images | accuracy | 95 % interval | seconds | gradients an image |",
            "| --- | --- | --- | --- | --- |",
        ]
        for name, share in self.shares().items():
            record = self.records.get(name)
            cost = ("", "")
            if record is not None:
                cost = f"{record.seconds:.1f}", f"{record.gradient_calls / self.n:.1f}"
            interval = f"{share.low:.2%} .. {share.high:.2%}"
            lines.append(f"| {name} | {share.value:.2%} | {interval} | {cost[0]} | {cost[1]} |")
        return "\n".join(lines) + "\n"

    def to_json(self, path):
        """Writes the report as JSON, whole or not at all."""
        path = pathlib.Path(path)
        beside = path.with_name(path.name + ".part")
        beside.write_text(json.dumps(self.to_dict(), indent=2) + "\n")
        os.replace(beside, path)
