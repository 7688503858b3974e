"""One report of an evaluation, as its JSON file and its per-sample CSV file hold it."""

import csv
import dataclasses
import pathlib
import re

import numpy as np

from keras_mpdsgr import evaluation
from keras_mpdsgr.errors import SetupError

CLEAN, WORST, WORST_L2 = "clean", "worst_case", "worst_case_l2"
# Plain steps along one fixed gradient overstate the robustness of spiking networks by ten points
# and more (arXiv 2512.22522); chance and another model's images, more.
_WEAK = re.compile(r"(FGSM|BIM|PGD)\(.*gradient='bpt[tr]|Transfer\(|RandomSigns\(")
_WEAK_NAMES = re.compile(r"(fgsm|bim|pgd)\d*(_bptr)?$|transfer$|random$")


@dataclasses.dataclass
class Result:
    """A report.

    Attributes:
        path: The JSON file.
        n: Images.
        eps: Radius of the L-infinity ball.
        figures: A share with its interval by name, in the order of the table.
        attacks: Names of the attacks, in the order they ran.
        norms: `"linf"`, `"l2"` or `"noise"` by attack.
        settings: Each attack and its arguments in words.
        checks: Obfuscation checks by name.
        verdict: Their summary.
        config: What else the figures depend on.
    """

    path: pathlib.Path
    n: int
    eps: float
    figures: dict
    attacks: list
    norms: dict
    settings: dict
    checks: dict
    verdict: str
    config: dict

    @staticmethod
    def holds(content):
        """Whether the content of a JSON file is a report of attacks."""
        if not isinstance(content, dict) or not {"clean", "accuracy"} <= content.keys():
            return False
        return content["accuracy"] != {}  # a reproduction keeps clean accuracy in a file of its own

    @classmethod
    def read(cls, path, content):
        """The report in a JSON file's content.

        Raises:
            SetupError: If a figure in it is missing or is no share.
        """
        try:
            return cls._read(path, content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SetupError(f"{path} is a damaged report: {_why(error)}.") from None

    @classmethod
    def _read(cls, path, content):
        accuracy, details = content["accuracy"], content.get("attacks") or {}
        shares = {CLEAN: content["clean"], **accuracy}
        for name in (WORST, WORST_L2):
            if content.get(name) is not None:
                shares[name] = content[name]
        intervals = content["intervals"]
        for name, share in shares.items():
            low, high = intervals[name]
            if not all(_is_share(value) for value in (share, low, high)):
                raise ValueError(f"{name} is no share of images")
        n, eps = content["n"], content["eps"]
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise ValueError("n is no number of images")
        checks = content.get("checks") or {}
        return cls(
            path=path,
            n=n,
            eps=float(eps),
            figures={
                name: evaluation.Share(round(share * n), n, *intervals[name])
                for name, share in shares.items()
            },
            attacks=list(accuracy),
            norms={name: str(details.get(name, {}).get("norm", "linf")) for name in accuracy},
            settings={name: str(details.get(name, {}).get("settings", "")) for name in accuracy},
            checks={
                k: {"status": str(v["status"]), "says": str(v["says"])} for k, v in checks.items()
            },
            verdict=str(content.get("verdict") or ""),
            config=dict(content.get("config") or {}),
        )

    def shares(self):
        """Every share with its interval, by name."""
        return self.figures

    @property
    def cumulative(self):
        """Whether an attack's figure counts what the attacks before it have broken."""
        return bool(self.config.get("drop_broken"))

    def of_norm(self, norm):
        """Names of the attacks of one threat model."""
        return [name for name in self.attacks if self.norms[name] == norm]

    def strongest(self, norm="linf"):
        """The attack that leaves least, the first of equals; None where there was none."""
        names = self.of_norm(norm)
        return min(names, key=lambda name: self.figures[name].value) if names else None

    @property
    def only_weak(self):
        """Whether all its L-infinity attacks are FGSM, BIM, PGD by a fixed gradient, or less."""
        names = self.of_norm("linf")
        return bool(names) and all(_is_weak(name, self.settings[name]) for name in names)

    @property
    def samples_path(self):
        """The per-sample CSV file, which may not be there."""
        return self.path.with_suffix(".csv")

    @property
    def picture_path(self):
        """The picture of adversarial images, which may not be there."""
        return self.path.with_suffix(".png")

    def samples(self):
        """Labels, and whether each sample is right, by figure; None where that is not known.

        Figures whose count is not that of the report are left out: their file is of another run.

        Returns:
            `(labels, right)`: labels `(n,)`, -1 where unknown; `right[name]` `(n,)`, bool.
        """
        if not self.samples_path.is_file():
            return None
        labels = np.full(self.n, -1)
        right = {name: np.zeros(self.n, bool) for name in (CLEAN, *self.attacks)}
        met = {name: np.zeros(self.n, bool) for name in right}
        try:
            with self.samples_path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    name, index, label = row["attack"], int(row["index"]), int(row["label"])
                    if name not in right or not 0 <= index < self.n:
                        continue
                    labels[index] = label
                    met[name][index] = True
                    right[name][index] = int(float(row["prediction"])) == label
        except (OSError, KeyError, TypeError, ValueError, csv.Error):
            return None
        linf = self.of_norm("linf")
        if not met[CLEAN].all():  # a file of an older version
            del right[CLEAN]
            if linf and self.cumulative:  # the first attack meets exactly what is right when clean
                right[CLEAN] = met[linf[0]]
        if linf:
            counted = [name for name in (CLEAN, *linf) if name in right]
            right[WORST] = np.logical_and.reduce([right[name] for name in counted])
        counts = {name: self.figures[name].count for name in right if name in self.figures}
        return labels, {k: v for k, v in right.items() if v.sum() == counts.get(k, -1)}


def is_sweep(content):
    """Whether the content of a JSON file is a sweep."""
    return isinstance(content, dict) and {"name", "values", "counts", "total"} <= set(content)


def read_sweep(path, content):
    """The `evaluation.Sweep` in a JSON file's content.

    Raises:
        SetupError: If it is damaged.
    """
    try:
        values = tuple(float(value) for value in content["values"])
        counts = tuple(int(count) for count in content["counts"])
        total = int(content["total"])
        if len(values) != len(counts) or not all(0 <= c <= total for c in counts) or total < 1:
            raise ValueError("its counts do not fit")
    except (TypeError, ValueError) as error:
        raise SetupError(f"{path} is a damaged sweep: {_why(error)}.") from None
    return evaluation.Sweep(str(content["name"]), values, counts, total)


def _is_share(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_weak(name, settings):
    return bool(_WEAK.match(settings) if settings else _WEAK_NAMES.match(name))


def _why(error):
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
