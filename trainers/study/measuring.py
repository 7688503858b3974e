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
from keras_mpdsgr.experiments import AttackConfig, attack, train
from keras_mpdsgr.experiments.run import Run
from keras_mpdsgr.experiments.selection import measured
from keras_mpdsgr.files import replacing, write_json
from trainers.study.rows import config_of, training_command

EPS = 8 / 255
_SPIKES_OF = 200
_CURVES = (
    "epoch", "loss", "cross_entropy", "accuracy", "omega", "firing_rate", "val_accuracy",
    "val_robust_accuracy", "val_fgsm_accuracy", "input_gradient_l1",
)  # fmt: skip


def measure(row, study, data_dir, runs, progress):
    """Trains a row or resumes its training, and judges it.

    Args:
        row: The `Row`.
        study: The `Study`.
        data_dir: Folder of the prepared data sets.
        runs: Folder of the run folders.
        progress: As of `evaluation.evaluate`.

    Returns:
        What is written down of it, a dictionary; with `"error"` where training failed.
    """
    folder = str(pathlib.Path(runs) / row.trained_as)
    config = config_of(row, study).replace(data_dir=data_dir, run_dir=folder)
    told = {"row": row.name, "title": row.title, "step": row.step, "seed": row.seed}
    told |= {"command": training_command(row, study), "judged_in": "float32"}
    try:
        run = _trained(config)
    except RunError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return told | {"error": str(error)}
    last = row.judged == "last"
    model = models.load(run.last_model_path if last else run.model_path, dtype="float32")
    images = data.load(config.dataset, data_dir)
    told |= {"model": _described(run, last, model)}
    if row.step == "screen":
        x, y = images.x_train[-study.judged :], images.y_train[-study.judged :]
        told["judged_on"] = f"the last {study.judged} training images, which are not trained on"
        told["clean"] = _clean(model, x, y)
        x = data.to_pixels(x)
        told["attacked"] = {"screen": _screened(model, x, y, progress)}
    else:
        x = data.to_pixels(images.x_test[: study.attacked])
        told["judged_on"] = f"the first {study.attacked} test images; clean: all test images"
        told["clean"] = _clean(model, images.x_test, images.y_test)
        told["attacked"] = _attacked(run, study, data_dir)
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
    """The finished `Run`; notes beside it the seconds that its epochs took, part by part."""
    run = Run(config.run_dir)
    if not run.done:
        before, began, busy = _epochs(run), time.monotonic(), time.process_time()
        try:
            train(config, attack=False)
        finally:
            if run.path.is_dir():
                taken = _seconds(run)
                taken["wall"] += time.monotonic() - began
                taken["cpu"] += time.process_time() - busy
                taken["epochs"] += _epochs(run) - before
                write_json(run.path / "seconds.json", taken)
    return run


def _epochs(run):
    """How many epochs are done."""
    return len(run.metrics()["epoch"]) if run.metrics_path.is_file() else 0


def _seconds(run):
    none = {"wall": 0.0, "cpu": 0.0, "epochs": 0}
    try:
        return none | json.loads((run.path / "seconds.json").read_text())
    except (OSError, ValueError):
        return none


def _all_seconds(run):
    """Seconds of all epochs; None where a part was killed before it could note its own."""
    taken = _seconds(run)
    if taken.pop("epochs") != run.config.epochs:
        return None
    return {name: round(value, 1) for name, value in taken.items()}


def _described(run, last, model):
    epochs = run.config.epochs
    by_number = {epoch.number: epoch for epoch in measured(run.metrics())}
    judged = by_number[epochs] if last else run.best_epoch()
    versions = {k: v for k, v in run.environment.items() if k in ("tensorflow", "keras", "python")}
    return {
        "epoch": judged.number if judged else epochs,
        "epochs": epochs,
        "validated": judged.robust if judged else None,
        "parameters": model.count_params(),
        "training_seconds": _all_seconds(run),
        "machine": f"{run.environment.get('cores')} cores, {platform.machine()}",
        "versions": versions,
        "commit": run.environment.get("commit"),
    }


def _clean(model, x, y):
    right = 0
    for start in range(0, len(x), 1000):
        part = slice(start, start + 1000)
        logits = model.predict(data.to_pixels(x[part]), batch_size=100, verbose=0)
        right += int((logits.argmax(axis=1) == y[part]).sum())
    return {"n": len(x), "right": right}


def _screened(model, x, y, progress):
    began, busy = time.monotonic(), time.process_time()
    eot = evaluation.eot_draws(model, x)
    screening = {"pgd": attacks.PGD(eps=EPS), "sapgd": attacks.SAPGD(eps=EPS)}
    report = evaluation.evaluate(
        model, x, y, attacks=screening, eps=EPS, batch_size=100, eot=eot, progress=progress
    )
    taken = {"wall": time.monotonic() - began, "cpu": time.process_time() - busy}
    return _told(report) | {"seconds": {name: round(value, 1) for name, value in taken.items()}}


def _attacked(run, study, data_dir):
    """What `trainers.attack` finds, which leaves its reports in the run folder, for a card."""
    asked = {"pgd": {"attacks": ("pgd",)}, **{name: {"suite": name} for name in study.suites}}
    common = {"run_dir": str(run.path), "data_dir": data_dir, "limit": study.attacked, "eps": EPS}
    told = {}
    for name, chosen in asked.items():
        report = attack(AttackConfig(**common, **chosen))
        taken = sum(record.seconds for record in report.records.values())
        told[name] = _told(report) | {"seconds": {"wall": round(taken, 1)}}
    return told


def _told(report):
    return {
        "n": report.n,
        "eps": EPS,
        "clean_right": int(report.clean_correct.sum()),
        "right": {name: round(share * report.n) for name, share in report.accuracy.items()},
        "cumulative": report.cumulative,
        "worst_case_right": round(report.worst_case * report.n),
        "survivors": [int(number) for number in report.survivors().nonzero()[0]],
        "left_out": report.left_out,
        "adapted": report.adapted,
    }


def _cost(model, x):
    """Spikes and energy an image."""
    with dynamics.capture_potentials() as captured:
        model(tf.constant(x), training=False)
    spikes = sum(float(tf.reduce_sum(layer.spikes)) for layer in captured) / len(x)
    counted = export.energy(model, x)
    return {
        "spikes": round(spikes, 1) if captured else None,
        "nanojoules": round(counted.picojoules / 1e3, 2),
        "ann_nanojoules": round(counted.ann_picojoules / 1e3, 2),
    }
