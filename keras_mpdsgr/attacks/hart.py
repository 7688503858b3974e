"""HART: projected gradient descent on the mean of several backward passes."""

import dataclasses

import tensorflow as tf

from keras_mpdsgr import dynamics, surrogates
from keras_mpdsgr.arguments import check_choice, check_integer, check_number
from keras_mpdsgr.attacks.fields import fixed, outside, static
from keras_mpdsgr.attacks.iterative import KEEPS, IterativeAttack
from keras_mpdsgr.attacks.target import Target

_WIDTHS = "widths of the triangles, in units of membrane potential"


def _check_widths(name, gammas):
    if not isinstance(gammas, list | tuple) or not gammas:
        raise ValueError(
            f"`{name}` must hold at least one width, in units of membrane potential. "
            f"Received: {gammas!r}."
        )
    return tuple(check_number(name, gamma, _WIDTHS, above=0) for gamma in gammas)


@dataclasses.dataclass(frozen=True, repr=False)
class HART(IterativeAttack):
    """HART (Hao et al., ICLR 2024): gradients of several backward passes, averaged.

    Each backward averages over time and keeps out of the membrane (`"hybrid"`), with a triangle
    surrogate of another gamma. Search `gammas` on other samples than those reported.

    Args:
        eps: Radius of the L-infinity ball, in units of pixels scaled to [0, 1].
        steps: Number of gradient steps.
        step_size: Length of one step, same unit as `eps`.
        gammas: Widths of the triangles, positive.
        keep, norm, loss, restarts, targeted, eot, jit: As of `IterativeAttack`. It sets its own
            backward passes, and so takes no `gradient` and no `surrogate`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    steps: int = outside(50, check_integer, "gradient steps", least=1)
    gammas: tuple = static((0.25, 1.0, 2.0), _check_widths)
    _: dataclasses.KW_ONLY
    keep: str = static("first", check_choice, KEEPS)
    gradient: str = fixed("hybrid")
    surrogate: None = fixed(None)
    detach_reset: str = fixed("auto")
    sharpness: None = fixed(None)

    def passes(self):
        ((backward, number),) = super().passes()
        return [(backward | {"surrogate": "triangle"}, number * len(self.gammas))]

    def target(self, model, outputs="auto"):
        return _Mixed(model, self.gammas, eot=self.eot, outputs=outputs, jit=self.jit)


class _Mixed(Target):
    """A target whose input gradient is the mean over triangles of several widths."""

    def __init__(self, model, gammas, **options):
        super().__init__(model, gradient="hybrid", **options)
        self._gammas = gammas

    def count(self, samples):
        super().count(samples * len(self._gammas))

    def input_gradient(self, x, y, loss, state=()):
        gradients = []
        outer = dynamics.current_mode()
        for gamma in self._gammas:
            surrogate = surrogates.get("triangle", gamma=gamma)
            with dynamics.gradient_mode("hybrid", surrogate) as mode:
                gradient, *rest = super().input_gradient(x, y, loss, state)
            outer.calls += mode.calls
            gradients.append(gradient)
        return tf.add_n(gradients) / len(gradients), *rest
