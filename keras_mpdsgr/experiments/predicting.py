"""Predictions of a trained model for image files, and whether an attack changes them."""

import dataclasses
import os
import pathlib
from typing import Any

import keras
import numpy as np

from keras_mpdsgr import attacks, data, evaluation, models
from keras_mpdsgr.arguments import check_choice, check_integer, check_path
from keras_mpdsgr.attacks.outputs import SIGMOIDS
from keras_mpdsgr.errors import setup_errors, writing
from keras_mpdsgr.evaluation.admission import admit
from keras_mpdsgr.evaluation.grid import on_grid
from keras_mpdsgr.evaluation.predictor import Predictor
from keras_mpdsgr.experiments.run import Run
from keras_mpdsgr.inputs import check_fits

_BATCH = 100
# Forward passes that are averaged where a model answers differently each time.
_DRAWS = 11


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        path: The image file.
        ranking: Pairs of a class's name and its probability, the most probable first.
        attacked: What an attack made of it, an `AttackedPrediction`; None where none was asked for.
    """

    path: pathlib.Path
    ranking: tuple[tuple[str, float], ...]
    attacked: "AttackedPrediction | None" = None

    @property
    def class_name(self):
        """Name of the most probable class."""
        return self.ranking[0][0]

    @property
    def probability(self):
        """Probability of that class, as the model has it."""
        return self.ranking[0][1]


@dataclasses.dataclass(frozen=True, eq=False)
class AttackedPrediction:
    """The prediction for an image after an attack; the label was the model's own prediction.

    Attributes:
        attack: Name of the attack.
        image: The adversarial image, float32 `(height, width, channels)` in [0, 1].
        ranking: As of `Prediction`, for that image.
        flipped: Whether the most probable class is another than before.
        path: The PNG file of the image at the nearest 8-bit levels; None where none was written.
        rounded: As `ranking`, for the image in that file; None where none was written.
        rounded_flipped: As `flipped`, for the image in that file.
    """

    attack: str
    image: np.ndarray
    ranking: tuple[tuple[str, float], ...]
    flipped: bool
    path: pathlib.Path | None = None
    rounded: tuple[tuple[str, float], ...] | None = None
    rounded_flipped: bool | None = None


def predict(model, paths, top=1, attack=None, eps=8 / 255, output=None, seed=0):
    """As `experiments.predict`, which says what the arguments are."""
    with setup_errors():
        check_integer("top", top, "classes shown for each image", least=1)
        check_integer("seed", seed, "of the attack and of random models", least=0)
        check_path("output", output)
        if output is not None and attack is None:
            raise ValueError("`output` is for adversarial images: it needs an `attack`.")
        if output is not None and pathlib.Path(output).exists() and not os.path.isdir(output):
            raise ValueError(f"`output` must be a folder. Received: {str(output)!r}, a file.")
        if attack is not None:
            if not isinstance(attack, attacks.Attack):
                check_choice("attack", attack, attacks.names())
            evaluation.suite([attack], eps)  # a wrong radius, before anything is loaded
        files = data.image_paths(paths)
        model = _loaded(model)
        x = data.read_images(files, _input_shape(model))
        answers = _Answers(model, x, top, seed)
        attacked = [None] * len(files)
        shares = answers.shares(x)
        if attack is not None:
            attacked = _attacked(answers, files, x, shares, attack, eps, output, seed)
    rankings = map(answers.ranking, shares)
    return [Prediction(*told) for told in zip(files, rankings, attacked, strict=True)]


class _Answers:
    """Probabilities of a model, and the names of its classes."""

    def __init__(self, model, x, top, seed):
        check_fits(model, x)
        self.model, self._top = model, top
        self._predictor = Predictor(model, min(_BATCH, len(x)), seed)
        self._predictor.look(x)
        self.outputs = self._predictor.outputs
        self.is_random = self._predictor.is_random(x)

    def shares(self, x):
        """Probabilities, `(n, classes)`; of a random model, the mean over its draws."""
        draws = range(_DRAWS if self.is_random else 1)
        return np.mean([self._shares(x, draw) for draw in draws], axis=0)

    def _shares(self, x, draw):
        logits = self._predictor.logits(x, vote=draw)
        if not np.isfinite(logits).all():
            raise ValueError("The model gives outputs that are not finite (NaN or infinite).")
        squashed = keras.ops.sigmoid if self.outputs == SIGMOIDS else keras.ops.softmax
        return keras.ops.convert_to_numpy(squashed(logits))

    def ranking(self, shares):
        """Names and probabilities of the most probable classes."""
        names = class_names(self.model, len(shares))
        best = np.argsort(-shares, kind="stable")[: self._top]
        return tuple((names[number], float(shares[number])) for number in best)


def class_names(model, classes):
    """The names that a model has for its classes; their numbers where it has none."""
    names = tuple(getattr(model, "class_names", ()))
    return names if len(names) == classes else tuple(map(str, range(classes)))


def _loaded(model):
    if isinstance(model, keras.Model):
        return model
    if isinstance(model, str | os.PathLike) and Run(model).config_path.is_file():
        return Run.finished(model).model()  # says what to do with one that is not finished
    return models.load_to_judge(model)


def _input_shape(model):
    shape: Any = getattr(model, "input_shape", None)
    fixed = isinstance(shape, tuple) and len(shape) == 4 and None not in shape[1:]
    if not fixed or shape[-1] not in (1, 3):
        raise ValueError(
            "`model` must take images of a fixed height and width and of 1 or 3 channels, (batch, "
            f"height, width, channels). Received: a model of input shape {shape}."
        )
    return shape[1:]


def _attacked(answers, files, x, shares, attack, eps, output, seed):
    eot = evaluation.eot_draws(answers.model, x)
    suite, *_ = admit(evaluation.suite([attack], eps, eot=eot), answers.model, x)
    ((label, chosen),) = suite.items()
    predicted = shares.argmax(axis=1)
    batch = {"batch_size": _BATCH, "outputs": answers.outputs}
    images = chosen(answers.model, x, predicted, seed=seed, **batch)
    found = answers.shares(images)
    columns: dict[str, list[Any]] = {
        "image": list(images),
        "ranking": [answers.ranking(row) for row in found],
        "flipped": (found.argmax(axis=1) != predicted).tolist(),
    }
    if output is not None:
        rounded, _ = on_grid(images, 8)
        told = answers.shares(rounded)
        columns["rounded"] = [answers.ranking(row) for row in told]
        columns["rounded_flipped"] = (told.argmax(axis=1) != predicted).tolist()
        columns["path"] = _written(pathlib.Path(output), files, label, rounded)
    rows = zip(*columns.values(), strict=True)
    return [AttackedPrediction(label, **dict(zip(columns, row, strict=True))) for row in rows]


def _written(folder, files, label, images):
    """Writes images of 8-bit levels as PNG; returns their paths, in the same order."""
    places = _places(folder, files, label)
    with writing(f"the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for place, image in zip(places, images, strict=True):
            levels = np.rint(image * 255).astype(np.uint8)
            keras.utils.save_img(place, levels, scale=False)
    return places


def _places(folder, files, label):
    """A name for each file, after the image's own; numbered where two would be the same."""
    places, taken = [], {path.resolve() for path in files}
    for path in files:
        number = 1
        while True:
            suffix = "" if number == 1 else f"-{number}"
            place = folder / f"{path.stem}-{label}{suffix}.png"
            if place.resolve() not in taken:  # an image that was read is never replaced
                break
            number += 1
        taken.add(place.resolve())
        places.append(place)
    return places
