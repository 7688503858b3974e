"""Pictures of an evaluation: accuracy against the strength of an attack, and what images became."""

import textwrap

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from keras_mpdsgr.evaluation.statistics import wilson
from keras_mpdsgr.figures import TITLE_LINE, save_figure, set_title

_INCH = 3.2
_LETTERS_AN_IMAGE = 24  # that fit above one


def plot_sweep(path, name, values, counts, total, unit="", title=""):
    """Accuracy against an attack's strength, with its 95 % interval.

    Args:
        path: PNG file to write.
        name: What is varied, for the axis.
        values: Its values.
        counts: Images classified right at each.
        total: Images attacked.
        unit: Unit of the values, for the axis.
        title: What was attacked by what, for the title; it then says the number of images too.
    """
    shares = [wilson(int(count), int(total)) for count in counts]
    figure = _figure(
        2 * _INCH, 1.4 * _INCH, ", ".join(filter(None, (title, f"{total}\u00a0images")))
    )
    axes = figure.subplots()
    axes.plot(values, [share.value for share in shares], marker="o")
    low, high = [share.low for share in shares], [share.high for share in shares]
    axes.fill_between(values, low, high, alpha=0.2, label="95 % interval")
    axes.set(xlabel=f"{name} {unit}".strip(), ylabel="accuracy", ylim=(0, 1))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower right")
    save_figure(figure, path)


def plot_images(path, x, adversarial, labels, predictions, columns=6, title=""):
    """Clean images, what an attack made of them, and the difference magnified to full contrast.

    Args:
        path: PNG file to write.
        x, adversarial: Images, `(n, height, width, channels)`, in [0, 1].
        labels: True classes, or their names, `(n,)`.
        predictions: Classes that the attacked images are taken for, or their names, `(n,)`.
        columns: Images shown.
        title: Title.
    """
    shown = min(columns, len(x))
    # A title of a few words needs the width of three images.
    figure = _figure((max(shown, 3) if title else shown) * _INCH / 2, 1.7 * _INCH, title)
    grid = figure.subplots(3, shown, squeeze=False)
    for i in range(shown):
        difference = adversarial[i] - x[i]
        largest = float(np.abs(difference).max())
        magnified = 0.5 + difference / (2 * largest) if largest else np.full_like(x[i], 0.5)
        titles = (f"{labels[i]}", f"taken for {predictions[i]}", _magnification(largest))
        rows = (x[i], adversarial[i], magnified)
        for axes, image, above in zip(grid[:, i], rows, titles, strict=True):
            axes.imshow(np.squeeze(image), vmin=0, vmax=1, cmap=matplotlib.colormaps["gray"])
            axes.set_title(textwrap.fill(above, _LETTERS_AN_IMAGE), fontsize=8)
            axes.set_axis_off()
    save_figure(figure, path)


def _figure(width, height, title):
    """A figure under a title, that is as much higher as the title has lines."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_figheight(height + TITLE_LINE * set_title(figure, title))
    return figure


def _magnification(largest):
    return f"difference x {0.5 / largest:.0f}" if largest else "no difference"
