"""Line charts: where axes, curves and letters lie, for the template that draws them."""

import dataclasses
import itertools
import math

from matplotlib.ticker import MaxNLocator

_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 20, 10, 36
_LETTER_HEIGHT = 12


@dataclasses.dataclass(frozen=True)
class Curve:
    """A curve of a chart.

    Attributes:
        x, y: Its points, as sequences; NaN in `y` breaks it.
        color: Number of its run's colour.
        letter: Shown at its end; empty for none.
        dashed: Whether it is dashed.
        low, high: Ends of an interval at each point, or None; points with one are drawn as dots.
        steps: Whether it is drawn in steps, each value from its x to the next.
    """

    x: list
    y: list
    color: int = 0
    letter: str = ""
    dashed: bool = False
    low: list | None = None
    high: list | None = None
    steps: bool = False


def chart(title, curves, x_label, whole_x=False, y_limits=None, window=None):
    """A chart with axes, as the macro `chart` of charts.html draws it.

    Args:
        title: What it shows, for those who do not see it.
        curves: The `Curve`s.
        x_label: Of the axis.
        whole_x: Whether x are whole numbers.
        y_limits: Least and greatest y; of the curves.
        window: Ends of an interval of x that is shaded, with a rule at 0; None for none.
    """
    ends = (values for c in curves for values in (c.y, c.low, c.high) if values is not None)
    y_limits = y_limits or limits(itertools.chain.from_iterable(ends))
    box = (_LEFT, _TOP, _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM)
    drawn = _without_axes(title, curves, y_limits, _WIDTH, _HEIGHT, box)
    plane = drawn["plane"]
    if window is not None:
        left, zero, right = (plane.x(value) for value in (window[0], 0, window[1]))
        window = {"left": left, "width": _round(right - left), "zero": zero}
    return drawn | {
        "x_label": x_label,
        "x_ticks": [(plane.x(v), _tick(v)) for v in _ticks(plane.x_limits, 6, whole_x)],
        "y_ticks": [(plane.y(v), _tick(v)) for v in _ticks(plane.y_limits, 5)],
        "window": window,
        "letters": _letters(plane, curves),
    }


def sparkline(title, curves, y_limits, width=160, height=44):
    """A small chart without axes, as the macro `sparkline` of charts.html draws it.

    Args:
        title: What it shows, for those who do not see it.
        curves: The `Curve`s.
        y_limits: Least and greatest y.
        width, height: In the units of the page.
    """
    return _without_axes(title, curves, y_limits, width, height, (3, 3, width - 6, height - 6))


def limits(values, margin=0.05):
    """Least and greatest of some values, with a margin; (0, 1) where there are none."""
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    space = margin * (high - low) if low < high else abs(low) * 0.1 or 0.5
    return low - space, high + space


class _Plane:
    """Where the values of a chart lie on it.

    Args:
        x_limits, y_limits: Least and greatest values.
        box: Left, top, width and height, in the units of the page.
    """

    def __init__(self, x_limits, y_limits, box):
        self.x_limits, self.y_limits = x_limits, y_limits
        self.left, self.top, self.width, self.height = box
        self.right, self.bottom = self.left + self.width, self.top + self.height

    def x(self, value):
        return _round(self.left + self.width * _place(value, self.x_limits))

    def y(self, value):
        return _round(self.bottom - self.height * _place(value, self.y_limits))

    def points(self, pairs):
        """Points as the attribute of that name has them."""
        return " ".join(f"{self.x(x)},{self.y(y)}" for x, y in pairs)


def _place(value, limits):
    """Where a value lies between two limits, from 0 to 1."""
    return min(max((value - limits[0]) / (limits[1] - limits[0]), 0), 1)


def _without_axes(title, curves, y_limits, width, height, box):
    x_limits = limits((value for curve in curves for value in curve.x), margin=0)
    plane = _Plane(x_limits, y_limits, box)
    return {
        "title": title,
        "width": width,
        "height": height,
        "plane": plane,
        "curves": [_drawn(plane, curve) for curve in curves],
    }


def _drawn(plane, curve):
    spread = None
    if curve.low is not None and curve.high is not None:
        around = [*zip(curve.x, curve.high, strict=True)]
        around += reversed([*zip(curve.x, curve.low, strict=True)])
        spread = plane.points((x, y) for x, y in around if not math.isnan(y))
    pieces = []
    for piece in _pieces(curve):
        dotted = len(piece) == 1 or curve.low is not None
        dots = [(plane.x(x), plane.y(y)) for x, y in piece] if dotted else []
        pieces.append({"points": plane.points(piece), "dots": dots})
    return {"color": curve.color, "dashed": curve.dashed, "spread": spread, "pieces": pieces}


def _pieces(curve):
    """The points of a curve, broken where it has none."""
    pieces, piece = [], []
    for x, y in zip(curve.x, curve.y, strict=True):
        if math.isnan(y):
            pieces.append(piece)
            piece = []
            continue
        if curve.steps and piece:
            piece.append((x, piece[-1][1]))
        piece.append((x, y))
    return [piece for piece in (*pieces, piece) if piece]


def _ticks(limits, count, whole=False):
    low, high = limits
    locator = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10], integer=whole)
    slack = 1e-9 * (high - low)
    return [float(v) for v in locator.tick_values(low, high) if low - slack <= v <= high + slack]


def _tick(value):
    return f"{round(value, 12) + 0.0:.6g}".replace("-", "\u2212")


def _letters(plane, curves):
    """Each curve's letter at its end, moved apart where ends lie close."""
    letters = []
    for curve in curves:
        known = [y for y in curve.y if not math.isnan(y)]
        if curve.letter and known:
            y = plane.y(known[-1]) + 4
            letters.append({"letter": curve.letter, "color": curve.color, "y": y})
    letters.sort(key=lambda letter: letter["y"])
    for before, letter in itertools.pairwise(letters):
        letter["y"] = max(letter["y"], before["y"] + _LETTER_HEIGHT)
    overflow = max(letters[-1]["y"] - plane.bottom, 0) if letters else 0
    return [letter | {"y": _round(letter["y"] - overflow)} for letter in letters]


def _round(value):
    return round(float(value), 2)
