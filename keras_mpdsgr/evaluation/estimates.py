"""How long attacks on a model will take, before they run."""

import dataclasses
import math
import time
from collections.abc import Mapping

import numpy as np

from keras_mpdsgr.arguments import check_integer, check_model
from keras_mpdsgr.attacks import FGSM, Attack, Target
from keras_mpdsgr.inputs import check_attacked, check_fits


@dataclasses.dataclass
class AttackEstimate:
    """What one attack takes at most.

    Attributes:
        gradients: Gradients for one image.
        queries: Forward passes alone, for one image.
        seconds: For all images, without what is compiled at the first.
    """

    gradients: int
    queries: int
    seconds: float


def estimate(model, x, y, attacks, total, batch_size=100, outputs="auto"):
    """The most that attacks take, from the time of one gradient of each kind and one query.

    Iterative attacks stop early on images that break, and `evaluate` spares broken images the later
    attacks, so that a weak model takes a fraction of it.

    Args:
        model: A Keras classifier of pixels in [0, 1].
        x: Images, of which the first `batch_size` are timed.
        y: True labels.
        attacks: Dictionary from a label to an `Attack`, as `suite` gives.
        total: Number of images to be attacked.
        batch_size: Images attacked at a time.
        outputs: What the model gives, as of `evaluate`.

    Returns:
        A dictionary from label to `AttackEstimate`.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check_model("model", model)
    x, y = check_attacked(x, y)
    check_fits(model, x, y)
    if not isinstance(attacks, Mapping) or not all(isinstance(a, Attack) for a in attacks.values()):
        raise ValueError(
            f"`attacks` must be a dictionary from a label to an Attack. Received: {attacks!r}."
        )
    batch_size = min(check_integer("batch_size", batch_size, "images", least=1), len(x))
    batches = math.ceil(
        check_integer("total", total, "images to be attacked", least=1) / batch_size
    )
    x, y = x[:batch_size], y[:batch_size]
    known: dict[str, float] = {}
    estimates = {}
    for label, attack in attacks.items():
        found = AttackEstimate(0, 0, 0.0)
        for backward, number in attack.passes():
            key = f"{backward}, jit={attack.jit}"
            if key not in known:
                known[key] = _seconds(model, x, y, backward, attack.jit, outputs)
            found.seconds += number * batches * known[key]
            found.gradients += 0 if backward is None else number
            found.queries += number if backward is None else 0
        estimates[label] = found
    return estimates


def _seconds(model, x, y, backward, jit, outputs):
    """Of one batch's gradient by a backward pass, or of its logits: the second time."""
    if backward is None:
        target = Target(model, outputs=outputs)
        return _timed(lambda: target.predict(x))
    attack = FGSM(eps=0.0, jit=jit, **backward)
    return _timed(lambda: attack(model, x, y, batch_size=len(x), outputs=outputs))


def _timed(call):
    call()
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return float(np.min(seconds))
