"""What one attack did to each sample, and which attack with which arguments it was."""

import dataclasses
import inspect
import math
import operator

import keras
import numpy as np

from keras_mpdsgr import attacks, dynamics, surrogates

# Plain steps along one fixed gradient overstate the robustness of spiking networks by ten points
# and more (arXiv 2512.22522); chance and another model's images, more.
_WEAK = ("Transfer", "RandomSigns")
_WEAK_ALONG_FIXED_GRADIENT = ("FGSM", "BIM", "PGD")
_OF_REPORT = ("eps", "jit", "eot")
_FIXED_GRADIENTS = ("bptt", "bptr")


@dataclasses.dataclass(eq=False)
class AttackRecord:
    """What one attack did to each sample.

    Attributes:
        norm: Threat model: `"linf"`, `"l2"`, or `"noise"`, which is none.
        attack: The attack, as `describe` gives it.
        prediction: Class predicted for the attacked image, `(n,)`, int32; -1 where the sample was
            not attacked, as an attack before had broken it.
        loss: Cross-entropy there, `(n,)`, float32; NaN where it was not attacked.
        linf, l2: Distances from the clean image, `(n,)`, float32, in units of pixels.
        seconds: Time taken.
        gradient_calls: Input gradients computed, counted by image.
        bounded: Whether it stays within a radius. One that does not counts in no worst case.
        right: Forward passes, of the report's votes, that were right on the attacked image, `(n,)`,
            int32; -1 where it was not attacked. None where one pass has judged.
        grid: Class predicted for the attacked image on a grid of pixels, `(n,)`, int32; -1 where it
            was not attacked. None where no grid was asked for.
    """

    norm: str
    attack: dict
    prediction: np.ndarray
    loss: np.ndarray
    linf: np.ndarray
    l2: np.ndarray
    seconds: float = 0.0
    gradient_calls: int = 0
    bounded: bool = True
    right: np.ndarray | None = None
    grid: np.ndarray | None = None

    def __post_init__(self):
        self.prediction = np.asarray(self.prediction, np.int32)
        for name in ("right", "grid"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else np.asarray(value, np.int32))
        for name in ("loss", "linf", "l2"):
            setattr(self, name, np.asarray(getattr(self, name), np.float32))

    @classmethod
    def empty(cls, n, attack):
        """The record of an attack that has not touched any of `n` samples yet."""
        loss, linf, l2 = (np.full(n, np.nan) for _ in range(3))
        prediction, right, grid = (np.full(n, -1) for _ in range(3))
        bounded = getattr(attack, "eps", None) is not None
        return cls(
            attack.norm, describe(attack), prediction, loss, linf, l2,
            bounded=bounded, right=right, grid=grid,
        )  # fmt: skip

    def forget(self, where):
        """Counts samples, a mask `(n,)`, as not attacked, except what was found on the grid."""
        self.prediction[where] = -1
        for name in ("loss", "linf", "l2"):
            getattr(self, name)[where] = np.nan
        if self.right is not None:
            self.right[where] = -1

    @property
    def settings(self):
        """The attack and its arguments in words, such as `FGSM(eps=0.03)`."""
        return _words(self.attack)

    @property
    def is_weak(self):
        """Whether it is FGSM, BIM or PGD along a fixed gradient, or knows less of the model."""
        kind, gradient = self.attack["class"], self.attack["arguments"].get("gradient")
        along_fixed = kind in _WEAK_ALONG_FIXED_GRADIENT and gradient in _FIXED_GRADIENTS
        return along_fixed or kind in _WEAK


def describe(attack, model_name=operator.attrgetter("name")):
    """An attack as plain values.

    Args:
        attack: An `Attack`.
        model_name: Function of a Keras model inside it that gives what stands for it.

    Returns:
        `{"class": "PGD", "arguments": {"eps": 0.03, ...}}`: attacks inside it in the same form,
        surrogates as `{"class", "config"}`, models by their names.
    """
    arguments = plain(attack.get_config(), model_name)
    return {"class": type(attack).__name__, "arguments": arguments}


def label_of(attack):
    """What an attack is called: its class, and what differs from the class's defaults.

    Radius, compilation and draws of a gradient are those of the whole report, and left out.
    """
    usual = {name: one.default for name, one in inspect.signature(type(attack)).parameters.items()}
    differs = {
        name: plain(value)
        for name, value in attack.get_config().items()
        if name not in _OF_REPORT
        and usual.get(name, inspect.Parameter.empty) is not inspect.Parameter.empty
        and plain(value) != plain(usual[name])
    }
    told = (f"{name}={_words(value)}" for name, value in differs.items())
    return " ".join([type(attack).__name__.lower(), *told])


def plain(value, model_name=operator.attrgetter("name")):
    """A value as JSON holds it; what JSON has no form for, in words."""
    if isinstance(value, attacks.Attack):
        return describe(value, model_name)
    if isinstance(value, surrogates.Surrogate):
        return {"class": type(value).__name__, "config": plain(value.get_config())}
    if isinstance(value, dynamics.GradientMode):
        state = vars(dynamics.GradientMode())
        settings = {k: v for k, v in vars(value).items() if k not in state or k == "surrogate"}
        return {"class": type(value).__name__, "config": plain(settings)}
    if isinstance(value, keras.Model):
        return model_name(value)
    if isinstance(value, dict):
        return {str(name): plain(entry, model_name) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry, model_name) for entry in value]
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if value is None or isinstance(value, bool | int | str):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else repr(value)


def _words(value):
    if isinstance(value, dict) and "class" in value:
        arguments = value.get("arguments") or value.get("config") or {}
        told = ", ".join(f"{name}={_words(entry)}" for name, entry in arguments.items())
        return f"{value['class']}({told})"
    if isinstance(value, list):
        return f"[{', '.join(_words(entry) for entry in value)}]"
    return repr(value)
