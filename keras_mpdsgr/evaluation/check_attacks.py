"""The attacks whose outcomes the gradient-obfuscation checks compare, each run once."""

from keras_mpdsgr import attacks, keras_internals
from keras_mpdsgr.evaluation.robustness import evaluate


class CheckAttacks:
    """The attacks of the checks on one model and one set of samples.

    An attack goes by its name: `"fgsm"`, `"pgd"`, `"pgd10"`, `"pgd_double"`, `"pgd_last"`,
    `"pgd_eot"`, `"sapgd"`, `"sapgd_own"`, `"unbounded"`, `"square"`, `"random"` or `"transfer"`.

    Args:
        model, x, y, eps, steps, queries, substitute, jit: As of `Obfuscation`.
        **evaluation: `seed`, `batch_size`, `progress` and `outputs`, as of `evaluate`.
    """

    def __init__(self, model, x, y, eps, steps, queries, substitute, jit, **evaluation):
        self._model, self._x, self._y, self._eps = model, x, y, eps
        self._steps, self._queries, self._substitute = steps, queries, substitute
        self._jit, self._evaluation = jit, evaluation
        self._right = {}

    @property
    def spiking(self):
        """Whether the model has spiking neurons."""
        return any(hasattr(layer, "surrogate") for layer in keras_internals.all_layers(self._model))

    def able(self, names):
        """Those of some attacks that can attack the model."""
        return [name for name in names if self._made(name).refusal(self._model, self._x) is None]

    def correct(self, name):
        """Which samples an attack leaves classified right, `(n,)`, boolean."""
        if name not in self._right:
            report = evaluate(
                self._model,
                self._x,
                self._y,
                attacks={name: self._made(name)},
                eps=self._eps,
                drop_broken=False,
                **self._evaluation,
            )
            self._right[name] = report.correct(name)
        return self._right[name]

    def accuracy(self, name):
        """Share of the samples that an attack leaves classified right."""
        return float(self.correct(name).mean())

    def called(self, name):
        """An attack in words."""
        backward = " along ASSG" if self.spiking else ""
        return {
            "fgsm": "FGSM",
            "pgd": f"PGD with {self._steps} steps",
            "sapgd": f"SA-PGD{backward}",
            "square": f"Square with {self._queries:,} queries",
            "random": "random signs",
            "transfer": "transfer from the substitute",
        }[name]

    def _made(self, name):
        common = {"eps": self._eps, "jit": self._jit}
        many = {"keep": "first", "step_size": 2.5 * self._eps / self._steps, **common}
        backward = "assg" if self.spiking else "bptt"
        strong = {"steps": self._steps, "gradient": backward, "jit": self._jit}
        makers = {
            "fgsm": lambda: attacks.FGSM(**common),
            "pgd": lambda: attacks.PGD(steps=self._steps, **many),
            "pgd10": lambda: attacks.PGD(steps=10, **many | {"step_size": self._eps / 4}),
            "pgd_double": lambda: attacks.PGD(steps=2 * self._steps, **many),
            "pgd_last": lambda: attacks.PGD(steps=self._steps, **many | {"keep": "last"}),
            "pgd_eot": lambda: attacks.PGD(steps=self._steps, eot=10, **many | {"keep": "last"}),
            "sapgd": lambda: attacks.SAPGD(eps=self._eps, **strong),
            "sapgd_own": lambda: attacks.SAPGD(
                eps=self._eps, steps=self._steps, gradient="bptt", jit=self._jit
            ),
            "unbounded": lambda: attacks.SAPGD(eps=0.5, **strong),
            "square": lambda: attacks.Square(steps=self._queries, **common),
            "random": lambda: attacks.RandomSigns(steps=self._steps, **common),
            "transfer": lambda: attacks.Transfer(
                self._substitute, attacks.PGD(steps=self._steps, **many | {"keep": "last"})
            ),
        }
        return makers[name]()
