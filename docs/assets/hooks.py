"""Hooks of the site's build."""

import re


def on_page_markdown(markdown, page, **_):
    """Leaves of a link that leads out of docs/ its text: the site holds no such file."""
    above = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\[([^\[\]]+)\]\({re.escape(above)}[^)]*\)", r"\1", markdown)
