"""What a search maximises: robustness under attacks that a trial cannot choose."""

import keras_tuner
import numpy as np

from keras_mpdsgr import attacks, defenses, evaluation, surrogates
from keras_mpdsgr.arguments import check_choice, check_integer, check_number
from keras_mpdsgr.attacks.compiled import JIT_CHOICES
from keras_mpdsgr.inputs import check_attacked, check_radius

SCORES = ("robust", "weighted", "constrained")


class RobustObjective:
    """Measures a trial's network and turns clean and robust accuracy into one score.

    A narrow surrogate hides the gradient from an attack that uses it, so that a search by such an
    attack finds the best mask, not the best network. Here an image counts as robust if it survives
    both PGD with a triangle of gamma 1, whatever the trial's own surrogate is, and SA-PGD with ASSG
    (arXiv 2512.22522), which fits its surrogate to the potentials it meets. Two networks with the
    same weights score the same, whatever surrogate, gamma and eta they were trained with.

    A network that is right on no more clean images than naming the commonest class would be is
    dead. It resists every attack, so its robust accuracy counts as 0.

    Args:
        x: Images, `(n, ...)`, floating point in [0, 1]: kept out of training, but never those
            that the result is to be reported on.
        y: True labels, `(n,)`, integers.
        score: `"robust"`: robust accuracy. `"weighted"`: `clean_weight` times the clean accuracy
            and the rest times the robust one. `"constrained"`: robust accuracy where the clean one
            reaches `clean_floor`; else what is missing there, as a negative number.
        clean_weight: In [0, 1].
        clean_floor: In [0, 1].
        eps: Radius of the L-infinity ball, in units of pixels scaled to [0, 1].
        steps: Gradient steps of each attack.
        batch_size: Images attacked at a time.
        seed: Of the attacks.
        jit: XLA in the attacks: `"auto"` (on a GPU), `"on"` or `"off"`.

    Attributes:
        right: Whether each image is right under every attack, `(n,)`, of what was measured last;
            all False of a network that is dead. None before.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> x, y = np.full((4, 8, 8, 1), 0.5, "float32"), np.arange(4)
    >>> objective = RobustObjective(x, y, score="constrained", clean_floor=0.8)
    >>> objective.score_of(clean=0.9, robust=0.4), objective.score_of(clean=0.5, robust=0.45)
    (0.4, -0.3)
    """

    def __init__(
        self,
        x,
        y,
        score="robust",
        clean_weight=0.5,
        clean_floor=0.8,
        eps=8 / 255,
        steps=20,
        batch_size=100,
        seed=0,
        jit="auto",
    ):
        self.x, self.y = check_attacked(x, y)
        self.score = check_choice("score", score, SCORES)
        self.clean_weight = check_number(
            "clean_weight", clean_weight, "weight of clean accuracy", least=0, most=1
        )
        self.clean_floor = check_number(
            "clean_floor", clean_floor, "least clean accuracy", least=0, most=1
        )
        self.eps = check_radius("eps", eps)
        self.steps = check_integer("steps", steps, "gradient steps of each attack", least=1)
        self.batch_size = check_integer(
            "batch_size", batch_size, "images attacked at a time", least=1
        )
        self.seed = check_integer("seed", seed, least=0)
        self.jit = check_choice("jit", jit, JIT_CHOICES)
        self.right = None

    @property
    def tuner_objective(self):
        """The `keras_tuner.Objective` for an oracle or a tuner."""
        return keras_tuner.Objective("score", "max")

    def attacks(self, eot=1):
        """The attacks, by name, with gradients averaged over `eot` draws."""
        common = {"eps": self.eps, "steps": self.steps, "eot": eot, "jit": self.jit}
        reference = surrogates.get("triangle", gamma=1.0)
        return {
            "pgd": attacks.PGD(step_size=self.eps / 4, keep="first", surrogate=reference, **common),
            "sapgd": attacks.SAPGD(gradient="assg", **common),
        }

    def measure(self, model):
        """Attacks a trained model.

        Args:
            model: A Keras model with spiking layers, or a `defenses.DefendedModel` around one.

        Returns:
            A dictionary, as a `HyperModel.fit` may return: `score`; `clean` and `robust` accuracy;
            what `pgd` and `sapgd` each leave; `failed`, 1 if the network is dead, else 0.
        """
        if isinstance(model, defenses.DefendedModel):
            model = model.model
        eot = evaluation.eot_draws(model, self.x, self.batch_size)
        report = evaluation.evaluate(
            model,
            self.x,
            self.y,
            attacks=self.attacks(eot),
            eps=self.eps,
            batch_size=self.batch_size,
            seed=self.seed,
            drop_broken=False,
        )
        dead = np.sum(report.clean_correct) <= np.bincount(self.y).max()
        robust = 0.0 if dead else float(report.worst_case)
        self.right = report.survivors() & (not dead)
        clean = float(report.clean)
        return {
            "score": self.score_of(clean, robust),
            "clean": clean,
            "robust": robust,
            **{name: float(share) for name, share in report.accuracy.items()},
            "failed": float(dead),
        }

    def failure(self):
        """What `measure` gives for a network that cannot be asked: all of it 0, except `failed`.

        The score is that of the accuracies 0 and 0.
        """
        self.right = np.zeros(len(self.y), bool)
        nothing = dict.fromkeys(("clean", "robust", *self.attacks()), 0.0)
        return {"score": self.score_of(0.0, 0.0), **nothing, "failed": 1.0}

    def score_of(self, clean, robust):
        """The score of a clean and a robust accuracy; higher is better."""
        if self.score == "weighted":
            return self.clean_weight * clean + (1 - self.clean_weight) * robust
        if self.score == "constrained" and clean < self.clean_floor:
            return clean - self.clean_floor
        return robust
