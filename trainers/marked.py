"""What programs write into a Markdown page: between `<!-- table: NAME -->` and `<!-- end -->`."""

import re

from keras_mpdsgr.files import replacing

_PART = re.compile(r"<!-- table: (?P<name>[\w-]+) -->(?P<held>.*?)<!-- end -->", re.DOTALL)


def parts(text):
    """What stands between the marks of a page, by name, in the page's order."""
    return {found["name"]: found["held"].strip() for found in _PART.finditer(text)}


def filled(text, made):
    """A page with other content between its marks.

    Args:
        text: The page.
        made: Content by name; what is not named stays.

    Raises:
        ValueError: If the page has no marks of a name.
    """
    missing = made.keys() - parts(text).keys()
    if missing:
        raise ValueError(f"The page has no marks <!-- table: {min(missing)} --> ... <!-- end -->.")

    def part(found):
        name = found["name"]
        if name not in made:
            return found[0]
        return f"<!-- table: {name} -->\n\n{made[name].strip()}\n\n<!-- end -->"

    return _PART.sub(part, text)


def outside(text):
    """A page without its marks and what they hold: what is written by hand."""
    return _PART.sub("", text)


def write(path, made, beside=()):
    """Fills the marks of a page, and writes other files with it.

    Args:
        path: The page.
        made: As of `filled`.
        beside: Pairs of a path and its text, written before the page.
    """
    text = filled(path.read_text(), made)
    for place, content in (*beside, (path, text)):
        with replacing(place) as part:
            part.write_text(content)
