"""Reads docstrings in Keras' form: examples without indentation, shapes on lines of their own."""

import re
import textwrap

import griffe

_DOCTEST = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
_SHAPE = re.compile(r"^(Input shape|Output shape):", re.MULTILINE)
_RESULT = re.compile(r"^(Returns|Yields):\n((?: {4}.*\n?|\n)+)", re.MULTILINE)


class KerasDocstrings(griffe.Extension):
    """Makes Markdown of what the parser of Google's form would take for something else."""

    def on_object(self, *, obj, **_):
        if obj.docstring is None:
            return
        text = _DOCTEST.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)
        text = _SHAPE.sub(r"\n**\1**:", text)
        if getattr(obj, "returns", None) is None:
            # A list of one entry that has neither name nor type.
            text = _RESULT.sub(lambda m: f"**{m[1]}:**\n\n{textwrap.dedent(m[2])}", text)
        obj.docstring.value = text
