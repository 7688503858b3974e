"""HTML that is escaped unless it was made here."""

import html
import string


class Markup(str):
    """Text that is HTML already. Everything else is escaped when it becomes part of an element."""


def element(name, *children, **attributes):
    """An element of HTML or SVG.

    Args:
        name: Its name, ours.
        *children: `Markup`, which stays, or anything else, whose text is escaped; None is left out.
        **attributes: By name: `class_` is class, `stroke_width` is stroke-width, `viewBox` stays.
            None is left out.

    >>> element("td", "a < b", Markup("<br>"), class_='"x"')
    '<td class="&quot;x&quot;">a &lt; b<br></td>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = join(*children)
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{inside}</{name}>")


def join(*children):
    """The children as one `Markup`, escaped where they are not."""
    return Markup("".join(_escaped(child) for child in children if child is not None))


def fill(template, **values):
    """A template's text with each `$name` replaced; values are escaped unless they are `Markup`."""
    return Markup(string.Template(template).substitute({k: _escaped(v) for k, v in values.items()}))


_VOID = frozenset(("br", "img", "meta"))


def _escaped(child):
    return child if isinstance(child, Markup) else html.escape(str(child))
