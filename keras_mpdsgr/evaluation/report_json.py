"""The JSON form of a report, and the way back."""

import numpy as np

from keras_mpdsgr.arguments import check_integer, check_number
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.evaluation.checks import Check
from keras_mpdsgr.evaluation.records import AttackRecord, plain
from keras_mpdsgr.evaluation.sample_numbers import check_indices

FORMAT = 3
# Without a record of what the newer one holds; read as if it held the usual.
_OLDER = 2
_SHARES = ("n", "clean", "accuracy", "worst_case", "worst_case_l2", "worst_case_grid")


def to_dict(report):
    """A `Report` as the values that its JSON file holds."""
    records = report.records
    return {
        "format": FORMAT,
        **_shares(report),
        "eps": report.eps,
        "intervals": {name: [share.low, share.high] for name, share in report.shares().items()},
        "grid": {name: share.value for name, share in report.shares(on_grid=True).items()},
        "checks": {name: plain(vars(check)) for name, check in report.checks.items()},
        "verdict": report.verdict,
        "attacks": {
            name: {
                "norm": record.norm,
                "bounded": record.bounded,
                "attack": plain(record.attack),
                "seconds": record.seconds,
                "gradient_calls": record.gradient_calls,
            }
            for name, record in records.items()
        },
        "left_out": dict(report.left_out),
        "adapted": dict(report.adapted),
        "self_check": plain(report.self_check),
        "spread": {name: vars(one) for name, one in _spreads(report).items()},
        "config": plain(report.config),
        "command": report.command,
        "images": report.images,
        "samples": {
            "index": report.indices.tolist(),
            "label": report.labels.tolist(),
            "clean": report.clean_prediction.tolist(),
            **_optional(clean_right=report.clean_right, clean_grid=report.clean_grid),
            "attacks": {name: _samples(record) for name, record in records.items()},
        },
    }


def arguments(content, source):
    """The arguments of the `Report` that a JSON file's content stands for, by name.

    Args:
        content: What the file holds.
        source: The file, for messages.

    Raises:
        SetupError: If it is damaged or of another format.
    """
    if not isinstance(content, dict) or not {"clean", "accuracy"} <= content.keys():
        raise SetupError(f"{source} holds no report of an evaluation.")
    if "format" not in content:
        raise SetupError(
            f"{source} was written by an older version, without the results of single images: run "
            "the attack again."
        )
    if content["format"] not in (FORMAT, _OLDER):
        raise SetupError(
            f"{source} was written by a newer version: its format is {content['format']!r}, and "
            f"this version reads {FORMAT}."
        )
    try:
        return _arguments(content)
    except KeyError as error:
        raise SetupError(f"{source} is a damaged report: {error} is missing.") from None
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise SetupError(f"{source} is a damaged report: {error}") from None


def check_shares(report, content, source):
    """Raises SetupError unless the shares in a JSON file are those of its samples."""
    for name, value in _shares(report).items():
        # It counted attacks without a bound, and had no grid.
        if content["format"] == _OLDER and name in ("worst_case_l2", "worst_case_grid"):
            continue
        if content.get(name, ...) != value:
            raise SetupError(
                f"{source} is a damaged report: `{name}` does not agree with its samples."
            )


def _shares(report):
    return {name: getattr(report, name) for name in _SHARES}


def _arguments(content):
    samples = content["samples"]
    n = len(samples["label"])
    command, images = content["command"], content["images"]
    if not n or not isinstance(command, str | None) or not isinstance(images, str):
        raise ValueError("there are no samples, or `command` or `images` is not text.")
    if samples.get("clean_right") is not None:
        check_integer("votes", content["config"].get("votes"), "forward passes", least=2)
    grids = [one.get("grid") for one in samples["attacks"].values()]
    if any((one is None) != (samples.get("clean_grid") is None) for one in grids):
        raise ValueError("`grid` must be there for all attacks and the clean images, or for none.")
    return {
        "labels": _classes("label", samples["label"], n),
        "clean_prediction": _classes("clean", samples["clean"], n),
        "records": {
            name: _record(name, about, samples["attacks"][name], n)
            for name, about in content["attacks"].items()
        },
        "eps": check_number("eps", content["eps"], least=0),
        "config": dict(content["config"]),
        "checks": {name: Check(**check) for name, check in content["checks"].items()},
        "indices": check_indices(_classes("index", samples["index"], n, np.int64), n),
        "images": images,
        "command": command,
        "clean_right": _passes(samples, "clean_right", n),
        "clean_grid": _passes(samples, "clean_grid", n),
        "left_out": _words(content, "left_out"),
        "adapted": _words(content, "adapted"),
        "self_check": dict(content.get("self_check", {})),
    }


def _words(content, name):
    found = dict(content.get(name, {}))
    if not all(isinstance(reason, str) for reason in found.values()):
        raise ValueError(f"`{name}` must hold a reason for each attack.")
    return found


def _passes(samples, name, n):
    values = samples.get(name)
    return None if values is None else _classes(name, values, n, least=-1)


def _spreads(report):
    found = {name: report.spread(name) for name in ("clean", *report.records)}
    return {name: one for name, one in found.items() if one is not None}


def _optional(**arrays):
    return {name: values.tolist() for name, values in arrays.items() if values is not None}


def _record(name, about, samples, n):
    norm, attack = about["norm"], about["attack"]
    whole = isinstance(attack["class"], str) and isinstance(attack["arguments"], dict)
    if not whole or not isinstance(norm, str):
        raise ValueError(f"the attack {name!r} has no norm, class or arguments.")
    known = [-1 if value is None else value for value in samples["prediction"]]
    return AttackRecord(
        norm=norm,
        attack=attack,
        prediction=_classes(name, known, n, least=-1),
        seconds=check_number("seconds", about["seconds"], least=0),
        gradient_calls=check_integer(
            "gradient_calls", about["gradient_calls"], "of all images", least=0
        ),
        bounded=bool(about.get("bounded", attack["arguments"].get("eps", 0) is not None)),
        right=_passes(samples, "right", n),
        grid=_passes(samples, "grid", n),
        **{key: _floats(name, samples[key], n) for key in ("loss", "linf", "l2")},
    )


def _samples(record):
    return {
        "prediction": [None if value < 0 else value for value in record.prediction.tolist()],
        **{key: _shortest(getattr(record, key)) for key in ("loss", "linf", "l2")},
        **_optional(right=record.right, grid=record.grid),
    }


def _shortest(values):
    """Of each float32 the shortest decimal that reads back as it; None for NaN and infinity."""
    texts = np.where(np.isfinite(values), values.astype(str), "")
    return [float(text) if text else None for text in texts.tolist()]


def _classes(name, values, n, dtype=np.int32, least=0):
    found = np.array(values, dtype)
    if found.shape != (n,) or found.tolist() != values or found.min() < least:
        raise ValueError(f"`{name}` must hold a whole number for each of the {n} samples.")
    return found


def _floats(name, values, n):
    found = np.array(values, np.float32)  # None becomes NaN
    if found.shape != (n,):
        raise ValueError(f"`{name}` must hold a number or null for each of the {n} samples.")
    return found
