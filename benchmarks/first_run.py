"""Keeps what README's first training and its control gave, and writes README's table of them.

    python -m benchmarks.first_run RUN_DIR CONTROL_DIR

RUN_DIR and CONTROL_DIR are the run folders of the two commands. Counts, the numbers of the images
that were classified right, the last epoch's metrics, and the minutes between the run's first file
and its report go to docs/first-run.json; the table goes between its marks in README.md, computed
from that file alone.
"""

import json
import pathlib

import numpy as np

from benchmarks import markdown
from keras_mpdsgr.evaluation import statistics
from keras_mpdsgr.experiments.model_folder import training_command
from trainers import marked, program

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "docs" / "first-run.json"
PAGE = REPOSITORY / "README.md"
TABLE = "first-run"
_REPORT = "final"
_METRICS = ("epoch", "omega", "firing_rate")
_LABELS = {"clean": "clean", "fgsm": "FGSM", "pgd": "PGD-7", "sapgd50": "SA-PGD, 50 steps"}
_WORST = "worst_case"


def measured(run):
    """What is kept of a run: its command, versions, last epoch, and the images left by each attack.

    Args:
        run: A `Run` that was attacked at the end of its training.

    Raises:
        SetupError: If it was not.
    """
    report = run.reports().get(_REPORT)
    if report is None:
        raise program.SetupError(f"{run.path} holds no results/{_REPORT}.json: train it first.")
    right = {"clean": report.clean_correct}
    right |= {name: report.correct(name) for name in report.records}
    right[_WORST] = report.survivors()
    metrics = run.metrics()
    began, ended = (
        path.stat().st_mtime for path in (run.config_path, run.results / f"{_REPORT}.json")
    )
    return {
        "command": training_command(run),
        "eta": run.config.eta,
        "versions": {k: run.environment[k] for k in ("python", "tensorflow", "keras")},
        "cores": run.environment["cores"],
        "commit": run.environment["commit"],
        "minutes": round((ended - began) / 60, 2),
        "last": {name: round(metrics[name][-1], 4) for name in _METRICS},
        "images": report.n,
        "image_hash": report.images,
        "eps": report.eps,
        "right": {name: np.flatnonzero(kept).tolist() for name, kept in right.items()},
    }


def table(runs):
    """The table of two runs as Markdown.

    Args:
        runs: Two dictionaries as `measured` makes them, of the same images: the run, its control.
    """
    if len({run["image_hash"] for run in runs}) > 1:
        raise program.SetupError("both runs must have been attacked on the same images.")
    header = ["", *(f"`--eta {run['eta']:g}`" for run in runs), "p"]
    total = runs[0]["images"]
    rows = []
    for name in runs[0]["right"]:
        kept = [set(run["right"][name]) for run in runs]
        shares = [statistics.wilson(len(one), total) for one in kept]
        cells = [f"{s.value:.1%} ({s.low:.1%} to {s.high:.1%})" for s in shares]
        p = statistics.mcnemar(*([i in one for i in range(total)] for one in kept))
        rows.append([_LABELS.get(name, "under all of them"), *cells, f"{p:.2g}"])
    for name, label in (("omega", "Omega"), ("firing_rate", "firing rate")):
        rows.append([label, *(f"{run['last'][name]:.3f}" for run in runs), ""])
    (cores,) = {run["cores"] for run in runs}
    minutes = [f"{run['minutes']:.1f}" for run in runs]
    rows.append([f"minutes of training and attacks, {cores} cores", *minutes, ""])
    return markdown.table(header, rows)


def main(folders):
    if len(folders) != 2:
        raise program.SetupError("name two run folders: benchmarks.first_run RUN_DIR CONTROL_DIR")
    from keras_mpdsgr.experiments import Run

    runs = [measured(Run(folder)) for folder in folders]
    text = table(runs)
    results = RESULTS, json.dumps(runs, indent=None) + "\n"
    marked.write(PAGE, {TABLE: text}, beside=[results])
    print(text)


if __name__ == "__main__":
    program.run(main, __doc__, positional=True)
