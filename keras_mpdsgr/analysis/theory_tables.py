"""The tables that compare theory with a model: a title, column heads and rows of words each."""

import dataclasses

import numpy as np
import scipy.integrate
import scipy.stats

from keras_mpdsgr import surrogates
from keras_mpdsgr.analysis.evolution import correlate
from keras_mpdsgr.analysis.potentials import PotentialProbe
from keras_mpdsgr.analysis.rescaling import changed_normalization, rescale_normalization

FACTORS = (1.0, 2.0, 4.0, 8.0)
SHIFTS = (-0.25, -0.5, -1.0)
FLIP_EPS = 2 / 255
# From the first epoch to the second everything changes at once, by more than ever again.
_FIRST = 1
_WITH_CONSTANT = ("own", "theorem", "theorem_constant", "recursion", "recursion_constant")


@dataclasses.dataclass(frozen=True)
class TheoryTable:
    """A table.

    Attributes:
        title: What it shows.
        columns: Heads.
        rows: Lists of words.
        note: A sentence below it, or none.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""

    def to_markdown(self):
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join(part for part in (f"## {self.title}", table, self.note) if part)


def gaussianity_tables(rows):
    """Kolmogorov distances and Omega by layer and step; the first layer's constant current."""
    distances, constant = [], []
    for row in rows:
        kept, free = row.with_reset, row.without_reset
        distances.append(
            [row.layer, str(row.t), _three(row.noise)]
            + [_three(kept[name].distance) for name in ("own", "theorem", "recursion")]
            + [_three(free[name].distance) for name in ("own", "theorem")]
            + [_three(row.omega)]
            + [_three(kept[name].omega) for name in ("own", "theorem", "recursion")]
        )
        if "theorem_constant" in kept:
            constant.append(
                [row.layer, str(row.t)]
                + [f"{kept[name].std:.2f}" for name in _WITH_CONSTANT]
                + [_three(row.omega)]
                + [_three(kept[name].omega) for name in _WITH_CONSTANT]
            )
    tables = [
        TheoryTable(
            "Theorem 1: Kolmogorov distance of the potentials, mean over channels, and Omega",
            ["layer", "t", "noise", "own normal", "theorem", "recursion", "no reset: own normal",
             "no reset: theorem", "Omega: true", "own normal", "theorem", "recursion"],
            distances,
        )
    ]  # fmt: skip
    if constant:
        names = ["own", "theorem", "theorem, constant", "recursion", "recursion, constant"]
        tables.append(
            TheoryTable(
                "A current that is the same at all steps: deviation of the potentials, and Omega",
                ["layer", "t", *(f"std: {name}" for name in names), "Omega: true", *names],
                constant,
            )
        )
    return tables


def linearity_table(rows):
    """Eq. 8: the change of the loss, what the gradient says of it, and the residual."""
    return TheoryTable(
        "Eq. 8: the residual g over the change of the loss",
        ["perturbation", "eps", "mean abs change", "mean abs d.grad", "mean abs(d grad)_1",
         "mean g", "g/change: 10 %", "25 %", "50 %", "75 %", "90 %", "below 1",
         "change within bound", "loss stays"],
        [
            [row.perturbation, f"{row.eps * 255:.3g}/255"]
            + [f"{np.abs(values).mean():.4f}"
               for values in (row.change, row.first_order, row.bound, row.residual)]
            + [f"{value:.2f}" for value in row.quantiles()]
            + [f"{row.share_foretold:.0%}", f"{row.share_within_bound:.0%}",
               f"{np.mean(row.change == 0):.0%}"]
            for row in rows
        ],
    )  # fmt: skip


def link_table(runs):
    """Correlation of the input gradient with Omega and with what else moves, over epochs."""
    rows = []
    for label, run in runs.items():
        gradient = run.input_gradient_l1
        omega = run.over_layers("omega")
        pairs = {
            "Omega": (omega, gradient),
            "Omega, changes": (np.diff(omega[_FIRST:]), np.diff(gradient[_FIRST:])),
            "cross-entropy": (run.cross_entropy, gradient),
            **{
                name: (run.over_layers(key), gradient)
                for name, key in (
                    ("lambda", "lambda"),
                    ("beta", "beta"),
                    ("firing rate", "firing_rate"),
                )
            },
        }
        for name, pair in pairs.items():
            found = correlate(*pair)
            rows.append(
                [
                    label,
                    name,
                    str(found.n),
                    f"{found.pearson:+.2f}",
                    f"{found.pearson_p:.1g}",
                    f"{found.spearman:+.2f}",
                    f"{found.spearman_p:.1g}",
                ]
            )
    return TheoryTable(
        "The L1 norm of the input gradient against, epoch by epoch",
        ["run", "against", "pairs", "Pearson", "p", "Spearman", "p"],
        rows,
        "Epochs of one run are not independent: p is too small, least so for changes from epoch to "
        "epoch, here those after the second epoch.",
    )


def last_epoch_table(runs):
    """The last epoch of each run."""
    keys = ("omega", "omega_batch", "lambda", "beta", "firing_rate")
    return TheoryTable(
        "The last epoch, means over layers",
        ["run", "Omega", "Omega, Gaussian", "lambda", "beta", "firing rate", "input gradient L1"],
        [
            [
                label,
                *(_three(run.over_layers(key)[-1]) for key in keys),
                f"{run.input_gradient_l1[-1]:.2f}",
            ]
            for label, run in runs.items()
        ],
    )


def closed_form_table():
    """Omega and gain of the first step at v_th = gamma = 1, where the current is normal."""
    triangle = surrogates.get("triangle")
    cases = [(lambda_, 0.0) for lambda_ in (1, 2, 8)] + [(1, shift) for shift in SHIFTS[:2]]
    cases += [(c, 1.0 - c) for c in (2, 8)]
    rows = []
    for lambda_, beta in cases:
        v = scipy.stats.norm(beta - 1.0, lambda_)
        # Cut at 0, where the triangle has its corner.
        gain = lambda_ * sum(
            scipy.integrate.quad(lambda x, v=v: float(triangle.derivative(x)) * v.pdf(x), *ends)[0]
            for ends in ((-1.0, 0.0), (0.0, 1.0))
        )
        inside = v.cdf(1.0) - v.cdf(-1.0)
        row = (inside, gain, lambda_ * v.pdf(0.0), v.sf(0.0))
        rows.append([f"{lambda_}", f"{beta:g}", *(_three(x) for x in row)])
    return TheoryTable(
        "In closed form, first step, v_th = gamma = 1, a normal current",
        ["lambda", "beta", "Omega", "lambda E[h]", "lambda p(v_th)", "firing rate"],
        rows,
        "lambda p(v_th), the scale times the density of potentials at the threshold, counts the "
        "spikes that a small perturbation flips.",
    )


def one_layer_table(model, x, seed):
    """The first normalised layer alone, changed in three ways."""
    perturbed = random_signs(x, FLIP_EPS, seed)
    name = rescale_normalization(model, x[:1])[0].layer
    changes = [("none", {})]
    changes += [
        (f"both times {c:g}", {"lambda_factor": c, "distance_factor": c}) for c in FACTORS[1:]
    ]
    changes += [(f"lambda times {c:g}", {"lambda_factor": c}) for c in FACTORS[1:]]
    changes += [(f"beta {shift:+g}", {"shift": shift}) for shift in SHIFTS]
    rows = []
    for label, change in changes:
        layer = rescale_normalization(model, x, layers=[name], perturbed=perturbed, **change)[0]
        measured = (
            layer.omega, layer.omega_batch, layer.omega_analytic, layer.omega_scale_free,
            layer.gain, layer.gain_rms, layer.firing_rate,
        )  # fmt: skip
        rows.append(
            [label, f"{layer.lambda_:.2f}", f"{layer.beta:.2f}"]
            + [f"{values[0]:.3f}, {values.mean():.3f}" for values in measured]
            + [f"{layer.flips[0]:.2%}, {layer.flips.mean():.2%}"]
            + [f"{layer.differing[0]}, {layer.differing[1:].sum()}"]
        )
    return TheoryTable(
        f"tdBN of {name} changed: each value at t = 1, and its mean over all steps",
        ["change", "lambda", "beta", "Omega", "batch", "analytic", "scale-free", "gain",
         "root mean square gain", "firing rate", "flips", "spikes that differ: t = 1, later"],
        rows,
        f"Flips: share of spikes that random signs of {FLIP_EPS * 255:.0f}/255 flip. "
        f"{layer.neurons} neurons a step, over {len(x)} images.",
    )  # fmt: skip


def all_layers_table(model, x, y):
    """(lambda, beta - v_th) times a factor in every tdBN: means over the normalised layers."""
    probe = PotentialProbe(model, x, y)
    rows = []
    for c in FACTORS:
        change = {"lambda_factor": c, "distance_factor": c}
        layers = rescale_normalization(model, x, **change)
        with changed_normalization(model, x, **change):
            gradient = probe.input_gradient_norm()
            answers = np.argmax(model.predict(x, verbose=0), axis=1)
        first = [
            (layer.omega[0], layer.omega_scale_free[0], layer.gain[0], layer.gain_rms[0])
            for layer in layers
        ]
        rows.append(
            [
                f"{c:g}",
                *(_three(value) for value in np.mean(first, axis=0)),
                _three(np.mean([layer.omega for layer in layers])),
                _three(np.mean([layer.gain for layer in layers])),
                f"{sum(layer.differing[0] for layer in layers)}",
                f"{sum(layer.differing[1:].sum() for layer in layers)}",
                f"{gradient:.2f}",
                f"{np.mean(answers == y):.2%}",
            ]
        )
    first_neurons = sum(layer.neurons for layer in layers)
    return TheoryTable(
        "(lambda, beta - v_th) times c in every tdBN",
        ["c", "Omega, t = 1", "scale-free, t = 1", "gain, t = 1", "root mean square gain, t = 1",
         "Omega", "gain", "spikes that differ, t = 1", "later", "input gradient L1", "accuracy"],
        rows,
        f"{first_neurons} neurons behind a tdBN at one step, over {len(x)} images.",
    )  # fmt: skip


def random_signs(x, eps, seed):
    """Images moved by eps times random signs, cut to valid pixels."""
    signs = np.sign(np.random.default_rng(seed).uniform(-1, 1, x.shape))
    return np.clip(x + eps * signs, 0.0, 1.0).astype(x.dtype)


def _three(value):
    return f"{value:.3f}"
