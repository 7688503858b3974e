"""Reads docstrings in Keras' form: examples without indentation, shapes on lines of their own."""

import re

import griffe

_DOCTEST = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
_SHAPE = re.compile(r"^(Input shape|Output shape):", re.MULTILINE)


class KerasDocstrings(griffe.Extension):
    """Makes Markdown of what the parser of Google's form would take for text."""

    def on_object(self, *, obj, **_):
        if obj.docstring is not None:
            text = _DOCTEST.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)
            obj.docstring.value = _SHAPE.sub(r"\n**\1**:", text)
