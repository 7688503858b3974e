"""Metrics of a training by epoch, and whether Omega and the input gradient are correlated."""

import dataclasses

import numpy as np
import scipy.stats

LAYER_METRICS = (
    "omega",
    "omega_batch",
    "omega_analytic",
    "mean",
    "std",
    "firing_rate",
    "lambda",
    "beta",
)
_GRADIENT = "input_gradient_l1"


@dataclasses.dataclass(frozen=True)
class Evolution:
    """Metrics of one training, from the rows that the trainers write after each epoch.

    Attributes:
        epochs: `(epochs,)`, numbered from 1.
        input_gradient_l1: `(epochs,)`, L1 norm of the loss' gradient by one image.
        cross_entropy: `(epochs,)`, in training; NaN where the rows have none.
        layers: Names of the layers of neurons, in call order.
        metrics: From a name of `LAYER_METRICS` to `(epochs, layers)`; NaN where a layer has none,
            as lambda and beta without tdBN.
    """

    epochs: np.ndarray
    input_gradient_l1: np.ndarray
    cross_entropy: np.ndarray
    layers: tuple[str, ...]
    metrics: dict[str, np.ndarray]

    @classmethod
    def from_metrics(cls, metrics):
        """Reads the metrics of a run.

        Args:
            metrics: From a name to a list of numbers, one an epoch, as `experiments.Run.metrics`
                gives: `epoch`, `input_gradient_l1` and, for each layer, `LAYER/omega` and so on.
                Others are passed over.

        Returns:
            An `Evolution`.

        Raises:
            ValueError: If there are no epochs, or one of these is missing.

        Example:

        >>> metrics = {"epoch": [1], "input_gradient_l1": [20.5], "conv1_lif/omega": [0.4]}
        >>> Evolution.from_metrics(metrics).over_layers("omega").tolist()
        [0.4]
        """
        layers = tuple(n.removesuffix("/omega") for n in metrics if n.endswith("/omega"))
        if not layers or not metrics.get("epoch") or _GRADIENT not in metrics:
            raise ValueError(
                "`metrics` must hold, for each epoch, `epoch`, `input_gradient_l1` and "
                f"`LAYER/omega`. Received: {sorted(metrics) if metrics else 'nothing'}."
            )
        epochs = np.array(metrics["epoch"], int)
        unknown = np.full(len(epochs), np.nan)

        def series(name):
            return np.asarray(metrics.get(name, unknown), float)

        return cls(
            epochs=epochs,
            input_gradient_l1=series(_GRADIENT),
            cross_entropy=series("cross_entropy"),
            layers=layers,
            metrics={
                name: np.stack([series(f"{layer}/{name}") for layer in layers], axis=1)
                for name in LAYER_METRICS
            },
        )

    def over_layers(self, metric):
        """Mean over the layers that have the metric, `(epochs,)`; NaN where none has."""
        values = self.metrics[metric]
        known = ~np.isnan(values)
        with np.errstate(invalid="ignore"):
            return np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)


@dataclasses.dataclass(frozen=True)
class Correlation:
    """How far two series are correlated.

    Attributes:
        n: Pairs.
        pearson, pearson_p: Pearson's r and its two-sided p.
        spearman, spearman_p: Spearman's rho and its two-sided p.
    """

    n: int
    pearson: float
    pearson_p: float
    spearman: float
    spearman_p: float


def correlate(first, second):
    """Pearson's and Spearman's correlation of two series.

    Their p takes the pairs for independent. Epochs of one training are not: what only rises beside
    what only falls gives a tiny p. Between changes from epoch to epoch (`np.diff`) it means more.

    Args:
        first, second: `(n,)`. Pairs with a NaN are left out.

    Returns:
        A `Correlation`; NaN where fewer than 3 pairs are left, or one series is constant.

    Raises:
        ValueError: If they are not of one length.

    Example:

    >>> found = correlate([1, 2, 3, 4], [1, 4, 9, 16])
    >>> round(found.pearson, 3), round(found.spearman, 3)
    (0.984, 1.0)
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            "`first` and `second` must be of one length, one entry a pair. Received: shapes "
            f"{first.shape} and {second.shape}."
        )
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    n = len(first)
    if n < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Correlation(n, *[float("nan")] * 4)
    pearson, spearman = scipy.stats.pearsonr(first, second), scipy.stats.spearmanr(first, second)
    values = (pearson.statistic, pearson.pvalue, spearman.statistic, spearman.pvalue)
    return Correlation(n, *(float(value) for value in values))


def _number(text):
    return float("nan") if text in (None, "") else float(text)
