"""One row: trained, or found trained, and judged; what comes of it as one small JSON file."""

import csv
import json
import math
import pathlib
import platform
import time

import tensorflow as tf

from keras_mpdsgr import attacks, data, dynamics, evaluation, export, models
from keras_mpdsgr.errors import RunError
from keras_mpdsgr.experiments import train
from keras_mpdsgr.experiments.config import OF_SPIKING_NEURONS, ExperimentConfig
from keras_mpdsgr.experiments.run import Run
from keras_mpdsgr.experiments.settings import command_line
from keras_mpdsgr.files import replacing, write_json

EPS = 8 / 255
_SPIKES_OF = 200
_CURVES = (
    "epoch", "loss", "cross_entropy", "accuracy", "omega", "firing_rate", "val_accuracy",
    "val_robust_accuracy", "val_fgsm_accuracy", "input_gradient_l1",
)  # fmt: skip


def config_of(row, study, data_dir, runs):
    """The `ExperimentConfig` of a row's training."""
    step = study.screen if row.step == "screen" else study.final
    settings = {**study.common, **step, **row.settings, "seed": row.seed}
    if settings.get("neuron") == "relu":
        settings = {k: v for k, v in settings.items() if k not in OF_SPIKING_NEURONS}
    folder = pathlib.Path(runs) / row.trained_as
    return ExperimentConfig(**settings, data_dir=data_dir, run_dir=str(folder))


def measure(row, study, data_dir, runs, progress):
    """Trains a row, or goes on with it, and judges it.

    Args:
        row: The `Row`.
        study: The `Study`.
        data_dir: Folder of the prepared data sets.
        runs: Folder of the run folders.
        progress: As of `evaluation.evaluate`.

    Returns:
        What is written down of it, a dictionary; with `"error"` where training failed.
    """
    config = config_of(row, study, data_dir, runs)
    told = {"row": row.name, "title": row.title, "step": row.step, "seed": row.seed}
    told |= {"command": command_line(config.replace(run_dir=None, data_dir=None).command())}
    try:
        run = _trained(config)
    except RunError as error:
        return told | {"error": str(error)}
    path = run.model_path if row.judged == "best" else run.last_model_path
    model = models.load(path, dtype="float32")
    images = data.load(config.dataset, data_dir)
    told |= {"model": _described(run, row, model)}
    if row.step == "screen":
        x, y = images.x_train[-study.judged :], images.y_train[-study.judged :]
        told["judged_on"] = f"the last {study.judged} training images, which are not trained on"
        suites = {"screen": _screening()}
        whole = x, y
    else:
        x, y = images.x_test[: study.attacked], images.y_test[: study.attacked]
        told["judged_on"] = f"the first {study.attacked} test images; clean: all test images"
        suites = {"pgd": ["pgd"], **{name: name for name in study.suites}}
        whole = images.x_test, images.y_test
    told["clean"] = _clean(model, *whole)
    x = data.to_pixels(x)
    told["attacked"] = {
        name: _attacked(model, x, y, chosen, progress) for name, chosen in suites.items()
    }
    told |= _cost(model, x[:_SPIKES_OF])
    return told


def write(told, run, folder):
    """Writes a row's JSON file, and its curves as CSV where it was trained."""
    metrics = run.metrics()
    names = [name for name in _CURVES if name in metrics]
    if names:
        with (
            replacing(folder / f"{told['row']}.csv") as beside,
            beside.open("w", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(names)
            for values in zip(*(metrics[name] for name in names), strict=True):
                writer.writerow([_short(value) for value in values])
    write_json(folder / f"{told['row']}.json", told)


def _short(value):
    return value if isinstance(value, int) else "" if math.isnan(value) else f"{value:.5g}"


def _trained(config):
    """The finished `Run`; notes beside it the seconds that training took, in all its parts."""
    run = Run(config.run_dir)
    if not run.done:
        began, busy = time.monotonic(), time.process_time()
        try:
            train(config, attack=False)
        finally:
            if run.path.is_dir():
                taken = _seconds(run)
                taken["wall"] += time.monotonic() - began
                taken["cpu"] += time.process_time() - busy
                write_json(run.path / "seconds.json", taken)
    return run


def _seconds(run):
    try:
        return json.loads((run.path / "seconds.json").read_text())
    except (OSError, ValueError):
        return {"wall": 0.0, "cpu": 0.0}


def _described(run, row, model):
    best = run.best_epoch()
    epochs = run.config.epochs
    versions = {k: v for k, v in run.environment.items() if k in ("tensorflow", "keras", "python")}
    return {
        "epoch": best.number if row.judged == "best" else epochs,
        "epochs": epochs,
        "validated": best.robust,
        "parameters": model.count_params(),
        "training_seconds": {k: round(v, 1) for k, v in _seconds(run).items()},
        "machine": f"{run.environment.get('cores')} cores, {platform.machine()}",
        "versions": versions,
        "commit": run.environment.get("commit"),
    }


def _screening():
    return {"pgd": attacks.PGD(eps=EPS), "sapgd": attacks.SAPGD(eps=EPS)}


def _clean(model, x, y):
    right = 0
    for start in range(0, len(x), 1000):
        part = slice(start, start + 1000)
        logits = model.predict(data.to_pixels(x[part]), batch_size=100, verbose=0)
        right += int((logits.argmax(axis=1) == y[part]).sum())
    return {"n": len(x), "right": right}


def _attacked(model, x, y, chosen, progress):
    began, busy = time.monotonic(), time.process_time()
    eot = evaluation.eot_draws(model, x)
    suite = evaluation.suite(chosen, EPS, 0.5, "auto", eot)
    report = evaluation.evaluate(
        model, x, y, attacks=suite, eps=EPS, batch_size=100, eot=eot, progress=progress
    )
    return {
        "n": report.n,
        "eps": EPS,
        "clean_right": int(report.clean_correct.sum()),
        "right": {name: round(share * report.n) for name, share in report.accuracy.items()},
        "worst_case_right": round(report.worst_case * report.n),
        "survivors": [int(number) for number in report.survivors().nonzero()[0]],
        "left_out": report.left_out,
        "adapted": report.adapted,
        "seconds": {
            "wall": round(time.monotonic() - began, 1),
            "cpu": round(time.process_time() - busy, 1),
        },
    }


def _cost(model, x):
    """Spikes and energy an image."""
    with dynamics.capture_potentials() as captured:
        model(tf.constant(x), training=False)
    spikes = sum(float(tf.reduce_sum(layer.spikes)) for layer in captured) / len(x)
    counted = export.energy(model, x)
    return {
        "spikes": round(spikes, 1),
        "nanojoules": round(counted.picojoules / 1e3, 2),
        "ann_nanojoules": round(counted.ann_picojoules / 1e3, 2),
    }
