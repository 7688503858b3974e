"""Trials that no other trial beats in both accuracies, and a picture of all."""

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from keras_mpdsgr.figures import save_figure

# Sides of a point that its label may stand at, the best first: across and up.
_PLACES = ((1, 1), (-1, 1), (1, -1), (-1, -1))


def pareto_front(points):
    """Which points no other dominates: none is at least as good in all and better in one.

    Args:
        points: `(n, k)`, higher is better in each of the k numbers, such as clean and robust
            accuracy. Equal points do not dominate each other.

    Returns:
        Booleans, `(n,)`.

    Raises:
        ValueError: If the points are not `(n, k)` finite numbers.

    Example:

    >>> pareto_front([(0.9, 0.1), (0.8, 0.4), (0.7, 0.3)]).tolist()
    [True, True, False]
    """
    points = np.asarray(points, float)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise ValueError(
            f"`points` must be finite numbers of shape (n, k). Received: shape={points.shape}."
        )
    other, own = points[np.newaxis], points[:, np.newaxis]
    dominated = (other >= own).all(axis=2) & (other > own).any(axis=2)
    return ~dominated.any(axis=1)


def plot_trade_off(path, clean, robust, eta, labels, best=None, title=""):
    """Robust against clean accuracy of every trial, with the Pareto front as a line.

    Args:
        path: PNG file to write.
        clean, robust: Accuracies, `(n,)`, in [0, 1].
        eta: Weight of Omega of each trial, positive: its colour.
        labels: What to write beside each point.
        best: Number of the point to mark; None for none.
        title: Title.
    """
    clean, robust, eta = (np.asarray(values, float) for values in (clean, robust, eta))
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    front = np.flatnonzero(pareto_front(np.stack([clean, robust], axis=1)))
    front = front[np.lexsort((-robust[front], clean[front]))]
    # A step: what lies between two trials has not been reached.
    axes.step(clean[front], robust[front], where="pre", color="0.6", label="Pareto front")
    spread = (eta.min(), eta.max()) if eta.min() < eta.max() else (eta.min() / 2, eta.max() * 2)
    dots = axes.scatter(
        clean, robust, c=eta, norm=LogNorm(*spread), cmap=matplotlib.colormaps["viridis"], zorder=2
    )
    figure.colorbar(dots, label="eta")
    if best is not None:
        axes.scatter(
            clean[best],
            robust[best],
            s=140,
            facecolors="none",
            edgecolors="tab:red",
            zorder=3,
            label="best by the objective",
        )
    axes.set(xlabel="clean accuracy", ylabel="robust accuracy", title=title)
    axes.margins(0.1)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2)
    figure.draw_without_rendering()  # where the points lie, in pixels
    _label(axes, np.stack([clean, robust], axis=1), labels)
    save_figure(figure, path)


def _label(axes, points, labels):
    """Writes each point's label beside it, where neither a label nor a point is yet."""
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in axes.transData.transform(points)]
    for point, label in zip(points, labels, strict=True):
        for place, (across, up) in enumerate(_PLACES):
            text = axes.annotate(
                str(label),
                point,
                xytext=(6 * across, 5 * up),
                textcoords="offset points",
                ha="left" if across > 0 else "right",
                va="bottom" if up > 0 else "top",
                fontsize=8,
            )
            box = text.get_window_extent()
            if place + 1 == len(_PLACES) or not box.count_overlaps(taken):
                taken.append(box)
                break
            text.remove()
