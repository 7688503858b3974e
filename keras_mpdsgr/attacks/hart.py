"""HART: projected gradient descent on the mean of several backward passes."""

import tensorflow as tf

from keras_mpdsgr import dynamics, surrogates
from keras_mpdsgr.arguments import check_number
from keras_mpdsgr.attacks.iterative import IterativeAttack
from keras_mpdsgr.attacks.target import Target

_WIDTHS = "widths of the triangles, in units of membrane potential"


class HART(IterativeAttack):
    """HART (Hao et al., ICLR 2024): gradients of several backward passes, averaged.

    Each backward averages over time and keeps out of the membrane (`"hybrid"`), with a triangle
    surrogate of another gamma. Search `gammas` on other samples than those reported.

    Args:
        eps: Radius of the L-infinity ball, in units of pixels scaled to [0, 1].
        steps: Number of gradient steps.
        step_size: Length of one step, same unit as `eps`.
        gammas: Widths of the triangles, positive.
        keep: `"first"` or `"last"`, as of `IterativeAttack`.
        **options: As of `IterativeAttack`, but `gradient` and `surrogate`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        eps=8 / 255,
        steps=50,
        step_size=0.01,
        gammas=(0.25, 1.0, 2.0),
        keep="first",
        **options,
    ):
        for name in ("gradient", "surrogate"):
            if name in options:
                raise ValueError(
                    f"HART sets its own backward passes and takes no `{name}`. "
                    f"Received: {options[name]!r}."
                )
        super().__init__(
            eps=eps, steps=steps, step_size=step_size, keep=keep, gradient="hybrid", **options
        )
        if not isinstance(gammas, list | tuple) or not gammas:
            raise ValueError(
                "`gammas` must hold at least one width, in units of membrane potential. "
                f"Received: {gammas!r}."
            )
        self.gammas = tuple(check_number("gammas", gamma, _WIDTHS, above=0) for gamma in gammas)

    def passes(self):
        ((backward, number),) = super().passes()
        return [(backward | {"surrogate": "triangle"}, number * len(self.gammas))]

    def target(self, model):
        return _Mixed(model, self.gammas, eot=self.eot, jit=self.jit)

    def count_gradients(self, target, y):
        target.gradient_calls += int(y.shape[0]) * target.eot * len(self.gammas)


class _Mixed(Target):
    """A target whose input gradient is the mean over triangles of several widths."""

    def __init__(self, model, gammas, **options):
        super().__init__(model, gradient="hybrid", **options)
        self._gammas = gammas

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
