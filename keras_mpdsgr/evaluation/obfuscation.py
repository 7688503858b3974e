"""Checks that tell robustness from gradients that are merely hidden (Athalye et al., 2018)."""

import itertools

import numpy as np

from keras_mpdsgr import surrogates
from keras_mpdsgr.arguments import check_choice, check_integer, check_model
from keras_mpdsgr.attacks.compiled import JIT_CHOICES
from keras_mpdsgr.evaluation.check_attacks import CheckAttacks
from keras_mpdsgr.evaluation.check_words import compared
from keras_mpdsgr.evaluation.checks import ANSWERS, FAIL, NOT_RUN, PASS, WARN, Check
from keras_mpdsgr.evaluation.landscape import GradientProbe, landscape
from keras_mpdsgr.evaluation.predictor import Predictor
from keras_mpdsgr.evaluation.robustness import check_progress
from keras_mpdsgr.evaluation.statistics import mcnemar
from keras_mpdsgr.inputs import check_attacked, check_fits, check_radius

_SIGNIFICANT = 0.05


class Obfuscation:
    """The checks of one model on one set of samples.

    Args:
        model: A Keras classifier of pixels in [0, 1].
        x: Images, `(n, ...)`.
        y: True labels, `(n,)`.
        eps: Radius of the L-infinity ball.
        seed: Of all that is random.
        batch_size: Images at a time.
        steps: Steps of the iterative attacks.
        queries: Queries of Square.
        substitute: A Keras model that transfer examples are made on; None leaves that check out.
        jit: XLA, as of `Attack`.
        progress: As of `evaluate`.
        outputs: What the model gives, as of `evaluate`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        model,
        x,
        y,
        eps=8 / 255,
        seed=0,
        batch_size=100,
        steps=50,
        queries=1000,
        substitute=None,
        jit="auto",
        progress=None,
        outputs="auto",
    ):
        check_model("model", model)
        if substitute is not None:
            check_model("substitute", substitute)
        check_radius("eps", eps)
        check_integer("seed", seed, least=0)
        check_integer("batch_size", batch_size, "images", least=1)
        check_integer("steps", steps, "of the iterative attacks", least=1)
        check_integer("queries", queries, "of Square", least=1)
        check_choice("jit", jit, JIT_CHOICES)
        check_progress(progress)
        self._model, self._eps, self._seed, self._steps = model, eps, seed, steps
        self._x, self._y = check_attacked(x, y)
        check_fits(model, self._x, self._y)
        self._batch_size = min(batch_size, len(self._x))
        self._substitute, self._jit = substitute, jit
        predictor = Predictor(model, self._batch_size, outputs=outputs)
        predictor.look(self._x)
        self._outputs = predictor.outputs
        self._attacks = CheckAttacks(
            model,
            self._x,
            self._y,
            eps,
            steps,
            queries,
            substitute,
            jit,
            seed=seed,
            batch_size=self._batch_size,
            progress=progress,
            outputs=self._outputs,
        )

    def run(self):
        """Runs every check.

        Returns:
            A dictionary from name to `Check`.
        """
        checks = {
            ANSWERS: self.answers_more_than_one_class(),
            "iterative_beats_single_step": self.iterative_beats_single_step(),
            "large_eps_reaches_zero": self.large_eps_reaches_zero(),
            "more_steps_never_help": self.more_steps_never_help(),
            "white_box_beats_transfer": self.white_box_beats_transfer(),
            "gradient_beats_search": self.gradient_beats_search(),
            "gradients_are_not_zero": self.gradients_are_not_zero(),
            "training_surrogate_is_enough": self.training_surrogate_is_enough(),
            "loss_rises_along_gradient": self.loss_rises_along_gradient(),
            "random_models_need_eot": self.random_models_need_eot(),
        }
        return checks

    def answers_more_than_one_class(self):
        """A model that gives every image the same class cannot be attacked, and is useless."""
        logits = Predictor(self._model, self._batch_size, outputs=self._outputs).logits(self._x)
        shares = np.bincount(logits.argmax(axis=1)) / len(self._x)
        figures = {"classes": int((shares > 0).sum()), "largest_share": float(shares.max())}
        if len(np.unique(self._y)) == 1:
            return Check(NOT_RUN, figures, "The images are all of one class.")
        if figures["classes"] == 1:
            says = f"The model answers class {shares.argmax()} whatever the image."
            return Check(FAIL, figures, says)
        says = f"The model answers {figures['classes']} classes."
        return Check(PASS, figures, says)

    def iterative_beats_single_step(self):
        """Many steps must break more images than one step."""
        return self._no_weaker("pgd", "fgsm")

    def gradient_beats_search(self):
        """A gradient must break more than search without one, at equal eps."""
        able = self._attacks.able(("square", "random"))
        worst = min((self._attacks.accuracy(name), name) for name in able)[1]
        return self._no_weaker("sapgd", worst)

    def white_box_beats_transfer(self):
        """Knowing the model must break more than not knowing it."""
        if self._substitute is None:
            return Check(NOT_RUN, {}, "No substitute model was given.")
        return self._no_weaker("sapgd", "transfer")

    def large_eps_reaches_zero(self):
        """In a ball of half the pixels' range nothing can survive."""
        share = self._attacks.accuracy("unbounded")
        status = PASS if share <= 0.01 else WARN if share <= 0.1 else FAIL
        says = f"At eps 1/2, {self._attacks.called('sapgd')} leaves {share:.1%} of the images"
        says += ", as it should." if status == PASS else "; a working attack leaves none."
        return Check(status, {"accuracy_at_half": share}, says)

    def more_steps_never_help(self):
        """Accuracy must not rise with the number of steps."""
        names = {10: "pgd10", self._steps: "pgd", 2 * self._steps: "pgd_double"}
        shares = {steps: self._attacks.accuracy(names[steps]) for steps in sorted(names)}
        rises = {
            (more, fewer): shares[more] - shares[fewer]
            for fewer, more in itertools.pairwise(shares)
        }
        worst = max(rises.values())
        status = PASS if worst <= 0 else WARN if worst <= 0.03 else FAIL
        # The first and the last where none rises, else the two between which it rises most.
        more, fewer = max(rises, key=rises.__getitem__) if worst > 0 else (max(shares), min(shares))
        told = (f"PGD with {more} steps", shares[more], f"with {fewer}", shares[fewer])
        figures = {f"steps_{steps}": share for steps, share in shares.items()}
        return Check(status, figures, compared(*told, "as it should"))

    def gradients_are_not_zero(self):
        """An all-zero input gradient leaves an attack blind."""
        own = {"own": {}}
        others = {name: {"surrogate": name} for name in surrogates.names()}
        shares = {}
        for name, options in (own | (others if self._attacks.spiking else {})).items():
            shares[name] = float(np.mean(self._zero_gradients(**options)))
        worst = shares["own"]
        status = PASS if worst <= 0.01 else WARN if worst <= 0.1 else FAIL
        says = f"{worst:.1%} of the images have an all-zero input gradient."
        least = min(shares, key=shares.__getitem__)
        if status != PASS and shares[least] < worst:
            says += f" By the surrogate {least} it is {shares[least]:.1%}."
        return Check(status, shares, says)

    def training_surrogate_is_enough(self):
        """An adaptive surrogate must not break much more than the one the model trained with."""
        if not self._attacks.spiking:
            return Check(NOT_RUN, {}, "The model has no spiking layers.")
        own, adaptive = self._attacks.accuracy("sapgd_own"), self._attacks.accuracy("sapgd")
        gap = own - adaptive
        status = PASS if gap <= 0.02 else WARN if gap <= 0.1 else FAIL
        says = compared(
            self._attacks.called("sapgd"),
            adaptive,
            "along the model's own surrogate",
            own,
            "a small difference" if status == PASS else "which is not enough",
            "The model's own is enough.",
        )
        return Check(status, {"own": own, "adaptive": adaptive}, says)

    def loss_rises_along_gradient(self):
        """The true loss must rise more along the gradient than along random directions."""
        lengths = np.linspace(0, self._eps, 5)[1:]
        along, random = self._landscape(lengths)
        # The loss of a spiking network is piecewise constant: finite steps, not derivatives.
        ahead = float(np.mean(along[-1] > np.mean(random[:, -1], axis=0)))
        status = PASS if ahead >= 0.75 else WARN if ahead >= 0.5 else FAIL
        figures = {
            "share_ahead_of_random": ahead,
            "loss_along_gradient": [float(v) for v in along.mean(axis=1)],
            "loss_along_random": [float(v) for v in random.mean(axis=(0, 2))],
            "lengths": [float(v) for v in lengths],
        }
        says = (
            f"For {ahead:.1%} of the images the loss rises more along the gradient than at random"
        )
        says += ", as it should." if status == PASS else "; it should for at least 75%."
        return Check(status, figures, says)

    def random_models_need_eot(self):
        """Where predictions are random, gradients must be averaged over draws."""
        if not Predictor(self._model, self._batch_size, outputs=self._outputs).is_random(self._x):
            return Check(NOT_RUN, {}, "The model gives the same answer twice.")
        once, averaged = self._attacks.accuracy("pgd_last"), self._attacks.accuracy("pgd_eot")
        gap = once - averaged
        status = WARN if gap > 0.02 else PASS
        says = "The model is random. " + compared(
            "PGD along the mean gradient of 10 draws",
            averaged,
            "along those of single draws",
            once,
            "a small difference" if status == PASS else "which are not enough",
            "Single draws are enough.",
        )
        return Check(status, {"eot_1": once, "eot_10": averaged}, says)

    def _no_weaker(self, name, other):
        ours, theirs = self._attacks.correct(name), self._attacks.correct(other)
        gap = float(ours.mean() - theirs.mean())
        clear = mcnemar(ours, theirs) < _SIGNIFICANT
        status = PASS if gap <= 0 else FAIL if clear else WARN
        figures = {name: float(ours.mean()), other: float(theirs.mean())}
        doubt = "It should leave no more." if clear else "So few images may be chance."
        called = (
            self._attacks.called(name),
            figures[name],
            self._attacks.called(other),
            figures[other],
        )
        return Check(status, figures, compared(*called, "as it should", doubt))

    def _gradients(self, **options):
        probe = GradientProbe(jit=self._jit, **options)
        return probe.gradients(self._model, self._outputs, self._x, self._y, self._batch_size)

    def _zero_gradients(self, **options):
        return ~self._gradients(**options).reshape(len(self._x), -1).any(axis=1)

    def _landscape(self, lengths):
        predictor = Predictor(self._model, self._batch_size, outputs=self._outputs)
        signs = np.sign(self._gradients())
        return landscape(predictor, self._x, self._y, signs, lengths, self._seed)
