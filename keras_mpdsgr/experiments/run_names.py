"""Names that tell some runs apart, shorter than their paths."""

import itertools
import pathlib
import re

# What ends the name of a folder that a training has named: the key of its settings.
_KEY = re.compile(r"-[0-9a-f]{8}$")
# Between words, not inside of a number such as 1e-05.
_DASH = re.compile(r"(?<![0-9]e)-")


def short_names(paths):
    """The folders' names without what they share: key, parents and first words.

    Args:
        paths: Paths of the folders.

    Returns:
        A name each, no two alike where no two paths are.

    Example:

    >>> short_names(["runs/digits-vgg11-eta0.05-0123abcd", "runs/digits-vgg11-eta0.2-4567cdef"])
    ['eta0.05', 'eta0.2']
    >>> short_names(["runs/digits-vgg11-eta1e-05", "runs/digits-vgg11-eta1e-06"])
    ['eta1e-05', 'eta1e-06']
    >>> short_names(["runs/digits-vgg11-eta0.05-0123abcd"])
    ['digits-vgg11-eta0.05']
    """
    parts = [pathlib.Path(path).resolve().parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(names):
            break
    without = [_KEY.sub("", name) for name in names]
    if len(set(without)) == len(names):
        names = without
    words = [_DASH.split(name) for name in names]
    # The last word stays, even if it is another name's first; the only name is whole.
    columns = [] if len(words) == 1 else zip(*(one[:-1] for one in words), strict=False)
    shared = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
    return ["-".join(one[shared:]) for one in words]
