"""Parts of the page that several sections are made of."""

import re

from keras_mpdsgr.pages.charts import COLORS
from keras_mpdsgr.pages.markup import element

_NAMES = {"worst_case": "worst case", "worst_case_l2": "worst case, L2"}
_ABBREVIATIONS = re.compile(r"(fgsm|apgd|pgd|bim|cw|hart|pdsg|bptr|dlr|ce|l2)(\d*)")


def section(key, title, *children):
    """A section under a heading of second rank."""
    return element("section", element("h2", title, id=key), *children, aria_labelledby=key)


def table(caption, head, *body, kind=None):
    """A table in a box of its own, which scrolls where it is wider than the page.

    Args:
        caption: What it shows.
        head: Cells of its first row.
        *body: Its `tbody`s.
        kind: Class of the table.
    """
    return scroll_box(
        caption,
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", *(column_head(cell) for cell in head))),
            *body,
            class_=kind,
        ),
    )


def scroll_box(name, content):
    """A box that scrolls by itself, by keyboard too, where its content is wider than the page."""
    return element("div", content, class_="scroll", tabindex=0, role="region", aria_label=name)


def column_head(content):
    """A cell that heads a column."""
    return element("th", content, scope="col")


def row(head, *cells, kind=None):
    """A row that begins with its head."""
    return element(
        "tr",
        element("th", head, scope="row"),
        *(element("td", cell) for cell in cells),
        class_=kind,
    )


def badge(run):
    """A run's letter in its colour."""
    return element("span", run.letter, class_=f"badge fill-{series(run)}")


def label(run):
    """A run's letter and name."""
    return element("span", badge(run), element("span", run.name), class_="run")


def legend(runs):
    """Which letter and colour is which run."""
    return element("p", *(label(run) for run in runs), class_="legend")


def series(run):
    """Number of a run's colour."""
    return run.number % COLORS


def note(*children, kind="note"):
    """A paragraph aside."""
    return element("p", *children, class_=kind)


def mark(text, kind):
    """A word of judgement: `kind` is good, warn, bad or quiet."""
    return element("span", text, class_=f"mark-{kind}")


def figure(content, caption):
    """A picture with its caption, which stands above it."""
    return element("figure", element("figcaption", caption), content)


def figure_name(name):
    """A figure's name in words."""
    return _NAMES.get(name) or " ".join(map(_word, name.split("_")))


def _word(word):
    """`pgd50` is PGD-50; other words stay."""
    ours, short = word.removeprefix("sa") if word.startswith("sapgd") else word, "SA-"
    found = _ABBREVIATIONS.fullmatch(ours)
    if not found:
        return word
    letters, number = found.groups()
    return (short if ours != word else "") + letters.upper() + (f"-{number}" if number else "")


def percent(share):
    """A share in per cent."""
    return f"{share:.1%}"


def radius(eps):
    """A radius in units of pixels, as a fraction of 255."""
    return f"{eps * 255:.3g}/255"


def several(count, one, many=None):
    """A count and its noun."""
    return f"{count} {one if count == 1 else many or one + 's'}"
