"""Line charts as inline SVG, whose colours and letters are those of the page around them."""

import dataclasses
import itertools
import math

from matplotlib.ticker import MaxNLocator

from keras_mpdsgr.pages.markup import element, join

_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 20, 10, 36
_LETTER_HEIGHT = 12


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        x, y: Its points, as sequences; NaN in `y` breaks it.
        series: Number of its run, from 0, which gives its colour.
        letter: Shown at its end; empty for none.
        dashed: Whether it is dashed.
        low, high: Ends of an interval at each point, or None; points with one are drawn as dots.
        steps: Whether it is drawn in steps, each value from its x to the next.
    """

    x: list
    y: list
    series: int = 0
    letter: str = ""
    dashed: bool = False
    low: list | None = None
    high: list | None = None
    steps: bool = False


def chart(title, lines, x_label, whole_x=False, y_limits=None, window=None):
    """A chart of lines.

    Args:
        title: What it shows, for those who do not see it.
        lines: The `Line`s.
        x_label: Of the axis.
        whole_x: Whether x are whole numbers.
        y_limits: Least and greatest y; of the lines.
        window: Ends of an interval of x that is shaded, with a rule at 0; None for none.
    """
    x_low, x_high = _limits([value for line in lines for value in line.x], 0)
    y_values = [
        v for line in lines for part in (line.y, line.low, line.high) for v in part or [] if v == v
    ]
    y_low, y_high = y_limits or _limits(y_values, 0.05)
    plane = _Plane(x_low, x_high, y_low, y_high)
    parts = []
    if window is not None:
        parts += [plane.band(*window), plane.vertical(0, "rule")]
    parts += [_x_axis(plane, x_label, whole_x), _y_axis(plane)]
    parts += [_drawn(plane, line) for line in lines]
    parts.append(_letters(plane, lines))
    return element(
        "svg",
        element("title", title),
        *parts,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        class_="chart",
    )


def sparkline(title, lines, y_limits, width=160, height=44):
    """A small chart without axes, for a cell of a table.

    Args:
        title: What it shows, for those who do not see it.
        lines: The `Line`s.
        y_limits: Least and greatest y.
        width, height: In the units of the page.
    """
    x_low, x_high = _limits([value for line in lines for value in line.x], 0)
    y_low, y_high = y_limits
    plane = _Plane(x_low, x_high, y_low, y_high, box=(3, 3, width - 6, height - 6))
    return element(
        "svg",
        element("title", title),
        *(_drawn(plane, line) for line in lines),
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        class_="spark",
    )


def interval_bar(value, low, high, series=0):
    """A share with its interval, as a bar from 0 to 1; its figures stand beside it as text."""
    box = {"viewBox": "0 0 100 10", "preserveAspectRatio": "none"}
    return element(
        "svg",
        element("rect", x=0, y=4, width=100, height=2, class_="rail"),
        element("rect", x=0, y=4, width=_round(100 * value), height=2, class_=_color(series)),
        element(
            "rect",
            x=_round(100 * low),
            y=2,
            width=_round(max(100 * (high - low), 0.5)),
            height=6,
            class_=f"spread {_color(series)}",
        ),
        element("rect", x=_round(100 * value - 0.6), y=0, width=1.2, height=10, class_="mark"),
        **box,
        aria_hidden="true",
        class_="interval",
    )


def limits(values, margin=0.05):
    """Least and greatest of some values, with a margin; (0, 1) where there are none."""
    return _limits([value for value in values if value == value], margin)


def _limits(values, margin):
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if low == high:
        space = abs(low) * 0.1 or 0.5
        return low - space, high + space
    space = margin * (high - low)
    return low - space, high + space


class _Plane:
    """Figures to places on the picture."""

    def __init__(self, x_low, x_high, y_low, y_high, box=None):
        self.x_low, self.x_high, self.y_low, self.y_high = x_low, x_high, y_low, y_high
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        self.left, self.top, self.width, self.height = box or (_LEFT, _TOP, width, height)
        self.right, self.bottom = self.left + self.width, self.top + self.height

    def x(self, value):
        share = (value - self.x_low) / (self.x_high - self.x_low)
        return _round(self.left + self.width * min(max(share, 0), 1))

    def y(self, value):
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return _round(self.bottom - self.height * min(max(share, 0), 1))

    def band(self, low, high):
        left, right = self.x(low), self.x(high)
        return element(
            "rect",
            x=left,
            y=self.top,
            width=_round(right - left),
            height=self.height,
            class_="band",
        )

    def vertical(self, value, kind):
        x = self.x(value)
        return element("line", x1=x, x2=x, y1=self.top, y2=self.bottom, class_=kind)


def _x_axis(plane, label, whole):
    parts = []
    for value in _ticks(plane.x_low, plane.x_high, 6, whole):
        parts.append(plane.vertical(value, "grid"))
        parts.append(
            element("text", _tick(value), x=plane.x(value), y=plane.bottom + 14, class_="middle")
        )
    middle = plane.left + plane.width / 2
    parts.append(element("text", label, x=middle, y=plane.bottom + 30, class_="middle label"))
    return element("g", *parts)


def _y_axis(plane):
    parts = []
    for value in _ticks(plane.y_low, plane.y_high, 5, False):
        y = plane.y(value)
        parts.append(element("line", x1=plane.left, x2=plane.right, y1=y, y2=y, class_="grid"))
        parts.append(element("text", _tick(value), x=plane.left - 6, y=y + 4, class_="end"))
    return element("g", *parts)


def _ticks(low, high, count, whole):
    locator = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10], integer=whole)
    slack = 1e-9 * (high - low)
    return [float(v) for v in locator.tick_values(low, high) if low - slack <= v <= high + slack]


def _tick(value):
    return f"{round(value, 12) + 0.0:.6g}".replace("-", "\u2212")


def _drawn(plane, line):
    color = _color(line.series)
    parts = []
    if line.low is not None and line.high is not None:
        there = list(zip(line.x, line.high, strict=True))
        back = list(zip(line.x, line.low, strict=True))[::-1]
        around = " ".join(f"{plane.x(x)},{plane.y(y)}" for x, y in there + back if y == y)
        parts.append(element("polygon", points=around, class_=f"spread {color}"))
    for piece in _pieces(line):
        if len(piece) == 1 or line.low is not None:
            parts += [
                element("circle", cx=plane.x(x), cy=plane.y(y), r=2.5, class_=color)
                for x, y in piece
            ]
        points = " ".join(f"{plane.x(x)},{plane.y(y)}" for x, y in piece)
        dashes = " dashed" if line.dashed else ""
        parts.append(element("polyline", points=points, class_=f"line {color}{dashes}"))
    return element("g", *parts)


def _pieces(line):
    """The points of a line, broken where it has none."""
    pieces, piece = [], []
    for i, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
        if math.isnan(y):
            if piece:
                pieces.append(piece)
            piece = []
            continue
        if line.steps and i and piece:
            piece.append((x, piece[-1][1]))
        piece.append((x, y))
    return [*pieces, piece] if piece else pieces


def _letters(plane, lines):
    """Each line's letter at its end, moved apart where ends lie close."""
    ends = []
    for line in lines:
        known = [(x, y) for x, y in zip(line.x, line.y, strict=True) if y == y]
        if line.letter and known:
            ends.append([plane.y(known[-1][1]) + 4, line])
    ends.sort(key=lambda end: end[0])
    for before, end in itertools.pairwise(ends):
        end[0] = max(end[0], before[0] + _LETTER_HEIGHT)
    overflow = max(ends[-1][0] - plane.bottom, 0) if ends else 0
    return join(
        *(
            element(
                "text",
                line.letter,
                x=plane.right + 5,
                y=_round(y - overflow),
                class_=f"letter {_color(line.series)}",
            )
            for y, line in ends
        )
    )


def _color(series):
    return f"series-{series % COLORS}"


# Of the style sheet.
COLORS = 8


def _round(value):
    return round(float(value), 2)
