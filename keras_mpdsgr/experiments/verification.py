"""Whether the numbers of a saved model's card can be reproduced."""

import dataclasses
import tempfile

import numpy as np

from keras_mpdsgr import data, evaluation
from keras_mpdsgr.errors import SetupError, setup_errors
from keras_mpdsgr.evaluation.admission import admit
from keras_mpdsgr.evaluation.records import describe
from keras_mpdsgr.evaluation.statistics import Share
from keras_mpdsgr.experiments import imports, model_folder
from keras_mpdsgr.experiments.final_table import final_attacks
from keras_mpdsgr.experiments.run import Run
from keras_mpdsgr.experiments.training import train

# A potential at the threshold may fall on its other side on another processor.
POINT = 0.01


@dataclasses.dataclass(frozen=True)
class Figure:
    """One share of a report, as the card has it and as it came out now.

    Attributes:
        report: Name of the report.
        name: `"clean"`, an attack, or `"worst_case"`.
        said: The `Share` on the card.
        found: The share now.
        low, high: What it may be.
    """

    report: str
    name: str
    said: Share
    found: float
    low: float
    high: float

    @property
    def holds(self):
        """Whether it may be."""
        return self.low <= self.found <= self.high


def verify(path, data_dir=None, retrain=False, limit=None, progress=None, verbose=True):
    """Evaluates a saved model as for the reports of its card.

    Args:
        path: Its folder.
        data_dir: Folder of the data sets; None for the usual one.
        retrain: Whether a network is trained again by the recorded settings and evaluated in the
            model's place. Its figures may then be anywhere in the card's intervals; else within
            one point of the card's figure.
        limit: The first images that are evaluated, of those of each report; None for all.
        progress: As of `evaluation.evaluate`.
        verbose: Whether the training shows how far it is.

    Yields:
        `Figure`s, those of a report together.

    Raises:
        SetupError: If the folder holds no saved model, the images are other ones, or this version
            attacks otherwise than the report says.
    """
    folder = Run.finished(path)
    reports = model_folder.card_reports(folder)
    configs = {name: model_folder.attack_config(name, one) for name, one in reports.items()}
    images = folder.images(data_dir, limit_train=1)
    most = max(report.n for report in reports.values())
    if most > len(images.x_test):
        raise SetupError(f"{path} is of {most} images, and there are {len(images.x_test)}.")
    x, y = data.to_pixels(images.x_test[:most]), images.y_test[:most]
    for name, report in reports.items():
        _check_images(name, report, x, y)
    model = _trained_anew(folder, data_dir, verbose) if retrain else folder.model()
    for name, report in reports.items():
        said = report if limit is None or limit >= report.n else first(report, limit)
        attacks = attacks_of(folder, name, report, configs[name], model, x)
        found = _evaluated(model, x[: said.n], y[: said.n], attacks, said, progress).shares()
        for share_name, share in said.shares().items():
            low, high = share.value - POINT, share.value + POINT
            if retrain:
                low, high = share.low, share.high
            # So that a point is a point, whatever float rounding says.
            bounds = low - 1e-9, high + 1e-9
            yield Figure(name, share_name, share, found[share_name].value, *bounds)


def first(report, n):
    """The report of the first `n` of a report's samples."""
    cut = {key: None if value is None else value[:n] for key, value in _arrays(report).items()}
    records = {
        name: dataclasses.replace(
            record,
            **{key: None if v is None else v[:n] for key, v in _arrays(record).items()},
        )
        for name, record in report.records.items()
    }
    return dataclasses.replace(report, **cut, records=records, images="")


def _arrays(told):
    """What a report or a record holds one a sample, by name."""
    values = {field.name: getattr(told, field.name) for field in dataclasses.fields(told)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _check_images(name, report, x, y):
    if evaluation.image_hash(x[: report.n], y[: report.n]) != report.images:
        raise SetupError(
            f"the report {name} is of other images than the first {report.n} test images here. "
            "Give the folder of the data set that it was measured on as `data_dir`."
        )


def _trained_anew(folder, data_dir, verbose):
    with tempfile.TemporaryDirectory() as place:
        config = folder.config.replace(
            run_dir=f"{place}/run", data_dir=data_dir or folder.config.data_dir
        )
        return train(config, attack=False, verbose=verbose).model()


def attacks_of(folder, name, report, config, model, x):
    """The attacks of a report, made again.

    Args:
        folder: The saved model's `Run`.
        name: Name of the report.
        report: The `Report`.
        config: The `AttackConfig` that it was made by; None for that of the training.
        model: The model that is to be attacked.
        x: Images, `(n, ...)`; some are enough.

    Returns:
        A dictionary from label to `Attack`.

    Raises:
        SetupError: If this version attacks otherwise than the report says.
    """
    eot = report.config["eot"]
    if config is None:
        suite = final_attacks(folder.config.eval_eps, eot, folder.config.neuron)
    else:
        imports.load(config.imports)
        with setup_errors():
            strength = config.eps, config.eps_l2, config.jit
            suite = evaluation.suite(config.chosen, *strength, eot=eot)
    told = {label: describe(attack) for label, attack in admit(suite, model, x)[0].items()}
    kept = {label: record.attack for label, record in report.records.items()}
    if told != kept:
        differ = [label for label in {**kept, **told} if told.get(label) != kept.get(label)]
        raise SetupError(
            f"the report {name} is of another version, whose attacks differ "
            f"({', '.join(differ)}). Attack the model again and renew its card."
        )
    return suite


def _evaluated(model, x, y, attacks, report, progress):
    config = report.config
    # The votes of a model that is not random are 1, which nobody asks for.
    votes = {"votes": config["votes"]} if config["votes"] > 1 else {}
    return evaluation.evaluate(
        model,
        x,
        y,
        attacks=attacks,
        eps=report.eps,
        progress=progress,
        **{key: config[key] for key in ("batch_size", "seed", "drop_broken", "outputs", "eot")},
        grid=config["grid"],
        **votes,
    )
