"""Trains the same networks in float32 and in bfloat16, and compares them image by image.

    python -m benchmarks.precision --data_dir DIR

Eight seeds on the digits and one on CIFAR-10; DIR holds CIFAR-10 as TensorFlow Datasets prepares
it. Run folders are kept in --run_dir, so that the same command resumes. All models are judged in
float32: accuracy on the images that are attacked, and what FGSM, PGD-7 and SA-PGD leave of them
together. Figures go to docs/performance/precision.json, the table between its marks in
docs/performance.md.
"""

import dataclasses
import pathlib

import numpy as np
import scipy.stats
from absl import flags

from benchmarks import machine, reporting
from keras_mpdsgr.evaluation import mcnemar, paired_difference
from keras_mpdsgr.experiments import ExperimentConfig, train
from keras_mpdsgr.files import write_json
from trainers import marked, program

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "performance.md"
RESULTS = PAGE.with_suffix("") / "precision.json"
TABLE = "precision"
TYPES = ("off", "bfloat16")
_NETWORK = {"width": 0.125, "timesteps": 4, "surrogate": "triangle", "eta": 0.05}
TRAININGS = (
    *(
        ExperimentConfig(dataset="digits", epochs=20, seed=seed, eval_limit=360, **_NETWORK)
        for seed in range(42, 50)
    ),
    ExperimentConfig(
        dataset="cifar10", epochs=4, limit_train=10_000, seed=42, eval_limit=1000, **_NETWORK
    ),
)
_RUNS = flags.DEFINE_string("run_dir", "runs/precision", "Folder of the run folders.")
_DATA = flags.DEFINE_string("data_dir", None, "Folder of the prepared data sets (TFDS); TFDS' own.")


def measured(config, folder, data_dir=None):
    """What is kept of a training in both types, a dictionary; trains what is not trained yet.

    Args:
        config: The `ExperimentConfig`, whose `mixed_precision` is set here.
        folder: Folder of the run folders.
        data_dir: Folder of the prepared data sets.
    """
    told = {"dataset": config.dataset, "seed": config.seed, "types": {}}
    for kind in TYPES:
        run_dir = pathlib.Path(folder) / f"{config.dataset}-seed{config.seed}-{kind}"
        settings = {"mixed_precision": kind, "run_dir": str(run_dir), "data_dir": data_dir}
        run = train(dataclasses.replace(config, **settings))
        told["types"][kind] = _judged(run)
    return told


def _judged(run):
    report = run.reports()["final"]
    kept = {"clean": report.clean_correct, "left": report.survivors()}
    return {
        "command": "python -m " + " ".join(run.config.command()),
        "images": report.n,
        "image_hash": report.images,
        "eps": report.eps,
        "omega": round(run.metrics()["omega"][-1], 4),
        **{name: [int(i) for i in right.nonzero()[0]] for name, right in kept.items()},
    }


def table(found):
    """The table as Markdown.

    Args:
        found: What `measured` gives of each training, as `"trainings"`.
    """
    head = ["data, seed", "images", "right when clean", "Omega"]
    head += ["left by the attacks", "difference of these, points", "McNemar p"]
    lines = reporting.table(head, [_row(told) for told in found["trainings"]])
    seeds = [told for told in found["trainings"] if told["dataset"] == "digits"]
    clean, left = (_over(seeds, name) for name in ("clean", "left"))
    return (
        f"{lines}\n\nMean of the {len(seeds)} seeds on the digits, with Student's 95 % interval of "
        f"the seeds: {clean} points of clean accuracy, {left} of what the attacks leave."
    )


def _over(seeds, name):
    """Mean difference over seeds, in points, and how far other seeds would move it."""
    own, half = ([len(told["types"][kind][name]) for told in seeds] for kind in TYPES)
    points = 100 * np.subtract(half, own) / seeds[0]["types"][TYPES[0]]["images"]
    ends = scipy.stats.ttest_1samp(points, 0).confidence_interval()
    return f"{points.mean():+.1f} ({ends.low:+.1f} to {ends.high:+.1f})"


def _row(told):
    own, half = (told["types"][kind] for kind in TYPES)
    if own["image_hash"] != half["image_hash"]:
        raise program.SetupError("both types must have been judged on the same images.")
    total = own["images"]
    pairs = [f"{len(a) / total:.1%}, {len(b) / total:.1%}" for a, b in
             ((own[name], half[name]) for name in ("clean", "left"))]  # fmt: skip
    second, first = ([i in one["left"] for i in range(total)] for one in (own, half))
    difference = paired_difference(first, second)
    ends = [f"{100 * end:+.1f}" for end in (difference.value, difference.low, difference.high)]
    return [
        f"{told['dataset']}, {told['seed']}",
        total,
        pairs[0],
        f"{own['omega']:.3f}, {half['omega']:.3f}",
        pairs[1],
        f"{ends[0]} ({ends[1]} to {ends[2]})",
        f"{float(mcnemar(first, second)):.2g}",
    ]


def main():
    found = {"machine": machine.describe(), "trainings": []}
    for config in TRAININGS:
        found["trainings"].append(measured(config, _RUNS.value, _DATA.value))
    write_json(RESULTS, found)
    marked.write(PAGE, {TABLE: table(found)})
    print(table(found))


if __name__ == "__main__":
    program.run(main, __doc__)
