"""An order of images in which each stretch holds every class in its share."""

import hashlib
from collections.abc import Sequence


def mixed(classes: Sequence[Sequence[str]]) -> list[tuple[str, int]]:
    """Mixes the images of all classes, the same way wherever and whenever it is called.

    Within a class the order is that of a hash of the names; then the k-th of n images comes to a
    place in the k-th of n equal stretches of the whole. So, if every class has as many images, the
    first `m * len(classes)` hold `m` of each.

    Args:
        classes: Names of each class's images.

    Returns:
        Pairs of name and label.

    Example:

    >>> labels = [label for _, label in mixed([["a", "b"], ["c", "d"]])]
    >>> sorted(labels[:2]), sorted(labels[2:])
    ([0, 1], [0, 1])
    """
    placed = []
    for label, names in enumerate(classes):
        for k, name in enumerate(shuffled(names)):
            placed.append(((k + _share(f"place of {name}")) / len(names), name, label))
    return [(name, label) for _, name, label in sorted(placed)]


def shuffled(names: Sequence[str]) -> list[str]:
    """The names in an order that depends on nothing else, as that of a random generator would."""
    return sorted(names, key=_share)


def _share(text: str) -> float:
    """A number in [0, 1) that the text alone decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
