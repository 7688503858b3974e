"""The L2 attack of Carlini and Wagner."""

import dataclasses
import math

import tensorflow as tf

from keras_mpdsgr.arguments import check_flag, check_integer, check_number
from keras_mpdsgr.attacks import losses
from keras_mpdsgr.attacks.ball import image_norm, per_image
from keras_mpdsgr.attacks.base import Attack
from keras_mpdsgr.attacks.fields import outside, static, tensor
from keras_mpdsgr.inputs import check_radius

# Keeps arctanh finite at pixels 0 and 1.
_INSIDE = 0.999999
# Adam's own constants (Kingma & Ba, 2015).
_BETA1, _BETA2, _ADAM_EPSILON = 0.9, 0.999, 1e-8
_LARGEST_CONSTANT = 1e10


def _check_distance(name, eps):
    return None if eps is None else check_radius(name, eps, most=math.inf)


@dataclasses.dataclass(frozen=True, repr=False)
class CarliniWagnerL2(Attack):
    """Carlini & Wagner (2017), L2: the nearest misclassified image, by Adam in tanh space.

    Minimises `||x' - x||^2 + c * max(z_y - max_{j != y} z_j, -confidence)`. Returns for each sample
    the nearest image that succeeded, else the clean one.

    Args:
        eps: Radius within which a success counts, in units of pixels scaled to [0, 1]; None for any
            distance, as in the paper.
        steps: Steps of Adam in each search step.
        learning_rate: Of Adam.
        constant: The first c. The public code of the rate-gradient attack has 1e-4 and no search,
            which is nearly powerless; with `binary_search_steps` above 1 the search starts from it.
        confidence: Margin by which the image must be misclassified, in units of logits.
        binary_search_steps: Values of c tried; 1 for no search.
        targeted: Whether `y` holds the classes to reach.
        gradient, surrogate, eot, jit: As of `Attack`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    eps: float | None = outside(None, _check_distance)
    steps: int = outside(200, check_integer, "steps of Adam", least=1)
    learning_rate: float = tensor(0.01, check_number, above=0)
    constant: float = outside(1e-3, check_number, above=0)
    confidence: float = tensor(0.0, check_number, least=0)
    binary_search_steps: int = outside(9, check_integer, "values of the constant tried", least=1)
    targeted: bool = static(False, check_flag)

    norm = "l2"

    def passes(self):
        return [(self._backward(), self.steps * self.binary_search_steps * self.eot)]

    def perturb(self, target, x, y, draws):
        ones = tf.ones(tf.shape(x)[:1])
        best = {"image": x, "distance": ones * float("inf")}
        constant, low, high = ones * self.constant, ones * 0.0, ones * _LARGEST_CONSTANT
        for _ in range(self.binary_search_steps):
            found, best = self._descend(target, x, y, constant, best)
            low, high = tf.where(found, low, constant), tf.where(found, constant, high)
            bounded = high < _LARGEST_CONSTANT
            constant = tf.where(bounded, (low + high) / 2, constant * 10)
        if self.eps is None:
            return best["image"]
        near = best["distance"] <= self.eps
        return tf.where(per_image(near, x), best["image"], x)

    def _descend(self, target, x, y, constant, best):
        start = tf.atanh((2 * x - 1) * _INSIDE)
        state = {
            "point": start,
            "first_moment": tf.zeros_like(x),
            "second_moment": tf.zeros_like(x),
            "found": tf.zeros(tf.shape(x)[:1], tf.bool),
            "best_image": best["image"],
            "best_distance": best["distance"],
            "mode": (),
        }
        for i in range(1, self.steps + 1):
            number = tf.constant(float(i))
            state = target.call(self.iterate, state, x, y, constant, number, look=i == 1)
            target.count(len(y) - target.padding)
        # The last point too, which no gradient was taken at.
        image = _image(state["point"])
        state = self._remember(state, image, target.answers(image), x, y)
        return state["found"], {"image": state["best_image"], "distance": state["best_distance"]}

    def iterate(self, target, state, x, y, constant, i):
        # The distance is to the image as tanh space can show it.
        shown = _image(tf.atanh((2 * x - 1) * _INSIDE))
        image = _image(state["point"])
        gradient, logits, _, mode = target.input_gradient(
            image, y, lambda logits, y: constant * self._hinge(logits, y), state["mode"]
        )
        state = self._remember(state, image, logits, x, y) | {"mode": mode}
        gradient += 2 * (image - shown)
        gradient *= 2 * image * (1 - image)  # d image / d point
        first = _BETA1 * state["first_moment"] + (1 - _BETA1) * gradient
        second = _BETA2 * state["second_moment"] + (1 - _BETA2) * tf.square(gradient)
        offset = first / (1 - _BETA1**i) / (tf.sqrt(second / (1 - _BETA2**i)) + _ADAM_EPSILON)
        moved = state["point"] - self.learning_rate * offset
        return state | {"point": moved, "first_moment": first, "second_moment": second}

    def _hinge(self, logits, y):
        # Positive where the image is not yet where it should be.
        ahead = losses.lead(logits, y) if self.targeted else losses.margin(logits, y)
        return tf.maximum(self.confidence - ahead, 0.0)

    def _remember(self, state, image, logits, x, y):
        if isinstance(y, losses.Goal):
            far = losses.margin(logits, y.label) >= self.confidence
        else:
            far = self._hinge(logits, y) <= 0
        reached = self.succeeded(logits, y) & far
        distance = image_norm(image - x)
        nearer = reached & (distance < state["best_distance"])
        return {
            **state,
            "found": state["found"] | reached,
            "best_image": tf.where(per_image(nearer, x), image, state["best_image"]),
            "best_distance": tf.where(nearer, distance, state["best_distance"]),
        }


def _image(point):
    return (tf.tanh(point) + 1) / 2
