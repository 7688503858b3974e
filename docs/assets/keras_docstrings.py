"""Reads docstrings in Keras' form, and the fields of attacks as the arguments that they are."""

import re
import textwrap

import griffe

_DOCTEST = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
_SHAPE = re.compile(r"^(Input shape|Output shape):", re.MULTILINE)
_RESULT = re.compile(r"^(Returns|Yields):\n((?: {4}.*\n?|\n)+)", re.MULTILINE)
# Those of `keras_mpdsgr.attacks.fields` whose first argument is a default value.
_MARKS = {"fixed", "outside", "static", "tensor"}


class KerasDocstrings(griffe.Extension):
    """Makes Markdown of what the parser of Google's form would take for something else.

    Examples stand without indentation, shapes on lines of their own.
    """

    def on_object(self, *, obj, **_):
        if obj.docstring is None:
            return
        text = _DOCTEST.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)
        text = _SHAPE.sub(r"\n**\1**:", text)
        if getattr(obj, "returns", None) is None:
            # A list of one entry that has neither name nor type.
            text = _RESULT.sub(lambda m: f"**{m[1]}:**\n\n{textwrap.dedent(m[2])}", text)
        obj.docstring.value = text


class MarkedFields(griffe.Extension):
    """Shows the default value of an attack's field, and not how it is checked."""

    def on_attribute_instance(self, *, attr, **_):
        value = attr.value
        if not isinstance(value, griffe.ExprCall) or not isinstance(
            value.function, griffe.ExprName
        ):
            return
        if value.function.name in _MARKS:
            first = value.arguments[0]
            attr.value = None if isinstance(first, griffe.ExprKeyword) else first
        elif value.function.name == "derived":
            attr.labels.discard("instance-attribute")  # no argument, as a class' own variable
