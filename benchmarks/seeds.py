"""Trains the same networks in two ways over several seeds, and compares them image by image.

    python -m benchmarks.seeds --data_dir DIR
    python -m benchmarks.seeds --compare omega

Comparisons: precision, float32 and bfloat16, on the digits and on CIFAR-10, which DIR holds as
TensorFlow Datasets prepares it; omega, eta 0 and eta 0.05, on the digits. Run folders are kept in
--run_dir, so that the same command resumes. All models are judged in float32: accuracy on the
images that are attacked, and what FGSM, PGD-7 and SA-PGD leave of them together. Figures go to a
JSON file in docs/, the table between its marks in a page.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import scipy.stats
from absl import flags

from benchmarks import machine, markdown
from keras_mpdsgr.evaluation import mcnemar, paired_difference
from keras_mpdsgr.experiments import ExperimentConfig, train
from keras_mpdsgr.experiments.model_folder import training_command
from keras_mpdsgr.files import write_json
from trainers import marked, program

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"
_SEEDS = range(42, 50)
_NETWORK: dict[str, Any] = {"width": 0.125, "timesteps": 4, "surrogate": "triangle", "eta": 0.05}
_DIGITS = tuple(
    ExperimentConfig(dataset="digits", epochs=20, seed=seed, eval_limit=360, **_NETWORK)
    for seed in _SEEDS
)
_CIFAR10 = ExperimentConfig(
    dataset="cifar10", epochs=4, limit_train=10_000, seed=42, eval_limit=1000, **_NETWORK
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two ways to train.

    Attributes:
        name: That of the table.
        page: The page that it stands in.
        results: The JSON file.
        setting: Field of `ExperimentConfig` in which the two differ.
        values: Its two values; the second is compared with the first.
        trainings: What is trained in both, but for this field.
    """

    name: str
    page: pathlib.Path
    results: pathlib.Path
    setting: str
    values: tuple
    trainings: tuple

    def configs(self, training):
        """The two `ExperimentConfig`s of a training."""
        return [training.replace(**{self.setting: value}) for value in self.values]


COMPARISONS = {
    "precision": Comparison(
        "precision",
        DOCS / "performance.md",
        DOCS / "performance" / "precision.json",
        "mixed_precision",
        ("off", "bfloat16"),
        (*_DIGITS, _CIFAR10),
    ),
    "omega": Comparison(
        "omega-seeds",
        DOCS / "robust-training.md",
        DOCS / "omega-seeds.json",
        "eta",
        (0.0, 0.05),
        _DIGITS,
    ),
}
_COMPARE = flags.DEFINE_enum("compare", "precision", list(COMPARISONS), "What is compared.")
_RUNS = flags.DEFINE_string("run_dir", "runs/seeds", "Folder of the run folders.")
_DATA = flags.DEFINE_string("data_dir", None, "Folder of the prepared data sets (TFDS); TFDS' own.")


def measured(configs, folder, data_dir=None):
    """What is kept of a training in both ways, a dictionary; trains what is not trained yet.

    Args:
        configs: Two `ExperimentConfig`s.
        folder: Folder of the run folders.
        data_dir: Folder of the prepared data sets.
    """
    told = {"dataset": configs[0].dataset, "seed": configs[0].seed, "ways": []}
    for config in configs:
        run_dir = pathlib.Path(folder) / f"{config.title()}-{config.key()}"
        run = train(config.replace(run_dir=str(run_dir), data_dir=data_dir))
        told["ways"].append(_judged(run))
    return told


def _judged(run):
    report = run.reports()["final"]
    return {
        "command": training_command(run),
        "images": report.n,
        "image_hash": report.images,
        "eps": report.eps,
        "omega": round(run.metrics()["omega"][-1], 4),
        "clean": np.flatnonzero(report.clean_correct).tolist(),
        "left": np.flatnonzero(report.survivors()).tolist(),
    }


def table(found):
    """The table as Markdown.

    Args:
        found: What `measured` gives of each training, as `"trainings"`.
    """
    head = ["data, seed", "images", "right when clean", "Omega"]
    head += ["left by the attacks", "difference of these, points", "McNemar p"]
    lines = markdown.table(head, [_row(told) for told in found["trainings"]])
    seeds = [told for told in found["trainings"] if told["dataset"] == "digits"]
    clean, left = (_over(seeds, name) for name in ("clean", "left"))
    return (
        f"{lines}\n\nMean of the {len(seeds)} seeds on the digits, with Student's 95 % interval of "
        f"the seeds: {clean} points of clean accuracy, {left} of what the attacks leave."
    )


def _over(seeds, name):
    """Mean difference over seeds, in points, and how far other seeds would move it."""
    first, second = ([len(told["ways"][way][name]) for told in seeds] for way in (0, 1))
    points = 100 * np.subtract(second, first) / seeds[0]["ways"][0]["images"]
    ends = scipy.stats.ttest_1samp(points, 0).confidence_interval()
    return f"{points.mean():+.1f} ({ends.low:+.1f} to {ends.high:+.1f})"


def _row(told):
    first, second = told["ways"]
    if first["image_hash"] != second["image_hash"]:
        raise program.SetupError("both must have been judged on the same images.")
    total = first["images"]
    clean, left = (
        f"{len(first[name]) / total:.1%}, {len(second[name]) / total:.1%}"
        for name in ("clean", "left")
    )
    kept = [[i in way["left"] for i in range(total)] for way in (second, first)]
    difference = paired_difference(*kept)
    ends = [f"{100 * end:+.1f}" for end in (difference.value, difference.low, difference.high)]
    return [
        f"{told['dataset']}, {told['seed']}",
        total,
        clean,
        f"{first['omega']:.3f}, {second['omega']:.3f}",
        left,
        f"{ends[0]} ({ends[1]} to {ends[2]})",
        f"{float(mcnemar(*kept)):.2g}",
    ]


def main():
    compared = COMPARISONS[_COMPARE.value]
    found = {"machine": machine.describe(), "trainings": []}
    for training in compared.trainings:
        configs = compared.configs(training)
        found["trainings"].append(measured(configs, _RUNS.value, _DATA.value))
    write_json(compared.results, found)
    marked.write(compared.page, {compared.name: table(found)})
    print(table(found))


if __name__ == "__main__":
    program.run(main, __doc__)
