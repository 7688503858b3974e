"""What surrogate gradients share: a width, a half-width, a configuration; their registry."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_mpdsgr import plugins
from keras_mpdsgr.arguments import check_free, check_number, did_you_mean

# A surrogate without compact support ends at the |v| where h is this share of its peak.
HALF_WIDTH_SHARE_OF_PEAK = 0.1

_MEANINGS = {
    "gamma": "width of the surrogate's window, in units of membrane potential",
    "half_width": "half-width of the gradient-available interval, in units of membrane potential",
}

_registry: dict[str, type[Surrogate]] = {}


class Surrogate:
    """A surrogate gradient h(v) of the spike at distance v = u - v_th from the threshold.

    To add one, extend this class: give `unit_derivative`, the surrogate at gamma = 1; the default
    values of parameters of its own in `parameters`, which become arguments and attributes; and
    `unit_half_width` where it is known in closed form.

    Args:
        gamma: Scale of the width, in units of membrane potential; positive.
            h_gamma(v) = h_1(v / gamma) / gamma, which keeps the integral of h.
        half_width: Half-width of the interval around the threshold that counts as having a
            gradient (the gamma of the overlap Omega), in units of membrane potential; positive.
            By default the exact support where it is compact, else the |v| at which h has fallen
            to 10 % of its peak (`HALF_WIDTH_SHARE_OF_PEAK`).
        **parameters: Those named in the class' `parameters`; positive.

    Raises:
        ValueError: If an argument is unknown or not a positive finite number.

    Example:

    >>> @register("laplace")
    ... class Laplace(Surrogate):
    ...     def unit_derivative(self, x):
    ...         return tf.exp(-tf.abs(x)) / 2.0
    >>> round(get("laplace", gamma=0.5).half_width, 6)  # log(10) / 2
    1.151293
    """

    parameters: Mapping[str, float] = {}
    unit_half_width: float | None = None

    def __init__(self, gamma: float = 1.0, half_width: float | None = None, **parameters: float):
        self.gamma = _positive("gamma", gamma)
        self._half_width = None if half_width is None else _positive("half_width", half_width)
        given = {name: _positive(name, value) for name, value in parameters.items()}
        self._set({**self.parameters, **given})

    def _set(self, numbers: Mapping[str, float | tf.Tensor]) -> None:
        for name, value in numbers.items():
            if name not in ("gamma", *self.parameters):
                message = f"{type(self).__name__} takes {', '.join(['gamma', *self.parameters])}."
                raise ValueError(f"{message} Received: {name}={value!r}.")
            vars(self)[name] = value if tf.is_tensor(value) else _positive(name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        # Compiled functions hold it as a constant, and layers of equal ones share them.
        if name in ("gamma", *self.parameters) and name in vars(self):
            raise AttributeError(
                f"A surrogate does not change. Received: {name}={value!r}. Make another one, as by "
                f"`layer.surrogate = layer.surrogate.with_numbers({{{name!r}: ...}})`."
            )
        super().__setattr__(name, value)

    def unit_derivative(self, x: tf.Tensor) -> tf.Tensor:
        """h at gamma = 1, of x = v / gamma. The parameters are here scalar tensors of x's dtype."""
        raise NotImplementedError(f"{type(self).__name__} must define `unit_derivative(x)`.")

    def derivative(self, v: tf.Tensor) -> tf.Tensor:
        """The surrogate gradient at `v`.

        Args:
            v: Membrane potential minus threshold; floating tensor of any shape and precision.

        Returns:
            h(v), with the shape and dtype of `v`; finite for every finite `v`.
        """
        v = tf.convert_to_tensor(v)

        # tf.cast alone would take a Python number through float32
        def cast(x):
            return tf.cast(x if tf.is_tensor(x) else tf.constant(x, tf.float64), v.dtype)

        at = self.with_numbers({name: cast(number) for name, number in self.numbers().items()})
        return at.unit_derivative(v / at.gamma) / at.gamma

    @property
    def half_width(self) -> float:
        """Half-width of the gradient-available interval, in units of membrane potential."""
        if self._half_width is not None:
            return self._half_width
        if self.unit_half_width is not None:
            return self.gamma * self.unit_half_width
        return self.gamma * self._numeric_unit_half_width()

    def _numeric_unit_half_width(self) -> float:
        """At gamma = 1, the largest |v| with h(v) at the stated share of the peak."""
        grid = np.concatenate([[0.0], np.geomspace(1e-4, 1e6, 1001)])
        level = HALF_WIDTH_SHARE_OF_PEAK * self._height(grid).max()
        for _ in range(6):
            last = np.flatnonzero(self._height(grid) >= level)[-1]
            if last == len(grid) - 1:
                raise ValueError(
                    f"{type(self).__name__} does not fall to {HALF_WIDTH_SHARE_OF_PEAK:.0%} of its "
                    f"peak: pass `half_width` ({_MEANINGS['half_width']})."
                )
            grid = np.linspace(grid[last], grid[last + 1], 1001)
        return float(grid[0])

    def _height(self, distances: np.ndarray) -> np.ndarray:
        with tf.init_scope():  # a number is needed even while a graph is being traced
            unit = self.with_numbers({"gamma": 1.0})
            sides = unit.derivative(tf.constant([distances, -distances], tf.float64))
        return sides.numpy().max(axis=0)

    def numbers(self) -> dict[str, float]:
        """The values that `derivative` uses, by name: `gamma` and the class' `parameters`."""
        return {name: getattr(self, name) for name in ("gamma", *self.parameters)}

    def with_numbers(self, numbers: Mapping[str, float | tf.Tensor]) -> Surrogate:
        """A copy with other numbers: scalar tensors, say, so as not to retrace for each value.

        Args:
            numbers: New values by name, a subset of `numbers()`; positive. ValueError otherwise.
        """
        other = copy.copy(self)
        other._set(numbers)
        return other

    def with_width(self, gamma: float | tf.Tensor) -> Surrogate:
        """A copy of another width; a half-width that was given by hand is scaled along.

        Args:
            gamma: The new `gamma`, a number or a scalar tensor; positive.
        """
        other = self.with_numbers({"gamma": gamma})
        if self._half_width is not None:
            other._half_width = self._half_width * (gamma / self.gamma)
        return other

    def get_config(self) -> dict[str, Any]:
        return {**self.numbers(), "half_width": self._half_width}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Surrogate:
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), *self.get_config().items()))

    def __repr__(self) -> str:
        given = [f"{k}={v!r}" for k, v in self.get_config().items() if v is not None]
        return f"{type(self).__name__}({', '.join(given)})"


def register(name: str) -> Callable[[type[Surrogate]], type[Surrogate]]:
    """Class decorator that makes a surrogate known to `get` by name, and to Keras' saving.

    Args:
        name: Name for `get`. ValueError if another class has it.
    """

    def decorate(cls):
        if not (inspect.isclass(cls) and issubclass(cls, Surrogate)):
            raise ValueError(
                f"A surrogate must be a class that extends `Surrogate`. Received: {cls!r}."
            )
        check_free(name, cls, _registry)
        if keras.saving.get_registered_name(cls) == cls.__name__:  # unknown to Keras so far
            keras.saving.register_keras_serializable("keras_mpdsgr.surrogates", name)(cls)
        _registry[name] = cls
        return cls

    return decorate


def names() -> tuple[str, ...]:
    """The names that `get` knows, those of installed plug-ins among them, sorted."""
    plugins.load(plugins.SURROGATES, lambda name, cls: register(name)(cls))
    return tuple(sorted(_registry))


def get(identifier: str | Surrogate | Mapping[str, Any], **kwargs: Any) -> Surrogate:
    """A surrogate from its name, its serialized configuration, or itself.

    Args:
        identifier: A name (`names()`), a `Surrogate`, which is returned unchanged, or what
            `keras.saving.serialize_keras_object` made of one.
        **kwargs: Arguments of the class, with a name only.

    Raises:
        ValueError: If the identifier is unknown, or arguments come with anything but a name.

    >>> get("triangle", gamma=0.5).derivative(tf.constant([0.0, 0.25, -1.0])).numpy().tolist()
    [2.0, 1.0, 0.0]
    """
    # Names are listed, which loads plug-ins, only where one is not known yet.
    if isinstance(identifier, str) and (identifier in _registry or identifier in names()):
        return _registry[identifier](**kwargs)
    if isinstance(identifier, Surrogate | Mapping) and kwargs:
        message = "`surrogate` takes arguments with a name only, as an object has its own."
        raise ValueError(f"{message} Received: surrogate={identifier!r} with {kwargs}.")
    found: Any = identifier
    if isinstance(identifier, Mapping):
        found = _deserialized(identifier) or (names() and _deserialized(identifier))
    if isinstance(found, Surrogate):
        return found
    raise ValueError(
        f"`surrogate` must be a name ({', '.join(names())}), a Surrogate "
        f"or the configuration of a registered one. Received: surrogate={identifier!r}."
        f"{did_you_mean(identifier, names())}"
    )


def _deserialized(config: Mapping[str, Any]) -> Any:
    try:
        return keras.saving.deserialize_keras_object(dict(config))
    except (TypeError, KeyError):  # Keras' words for a class that is not registered
        return None


def _positive(name: str, value: Any) -> float:
    meaning = _MEANINGS.get(name, "parameter of the surrogate's shape at gamma = 1")
    return check_number(name, value, meaning, above=0)
