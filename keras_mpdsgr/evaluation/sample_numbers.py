"""Numbers of samples, where an evaluation is one part of a larger one."""

import numpy as np

from keras_mpdsgr.arguments import check_path


def check_indices(indices, n):
    """Returns the samples' numbers as an array, if they are n different whole numbers >= 0.

    Args:
        indices: What was given; None for 0..n-1.
        n: Number of samples.
    """
    if indices is None:
        return np.arange(n)
    found = np.asarray(indices)
    if found.shape != (n,) or found.dtype.kind not in "iu" or (n and found.min() < 0):
        raise ValueError(
            f"`indices` must hold one whole number >= 0 for each of the {n} samples. "
            f"Received: shape={found.shape}, dtype={found.dtype}."
        )
    twice = _first_twice(found)
    if twice is not None:
        raise ValueError(f"`indices` must name each sample once. Received: {twice} twice.")
    return found.astype(np.int64)


def check_parts(parts, indices):
    """Where the samples of each part are, by path, if they are some of these and none is in two.

    Args:
        parts: From the path of a part's journal to its samples' numbers; None for none.
        indices: `(n,)`, all samples' numbers.
    """
    if parts is None:
        return {}
    if not isinstance(parts, dict):
        raise ValueError(
            "`parts` must be None or a dictionary from paths of journals to the samples' numbers. "
            f"Received: {parts!r}."
        )
    found = {}
    for path, own in parts.items():
        check_path("parts", path)
        found[path] = positions(indices, check_indices(own, np.size(own)))
    twice = _first_twice(indices[np.concatenate([np.zeros(0, int), *found.values()])])
    if twice is not None:
        raise ValueError(f"`parts` must hold each sample once. Received: number {twice} twice.")
    return found


def positions(indices, wanted):
    """Where the samples with the numbers `wanted` are among `indices`; ValueError if one is not."""
    order = np.argsort(indices)
    at = order[np.clip(np.searchsorted(indices, wanted, sorter=order), 0, len(indices) - 1)]
    if not np.array_equal(indices[at], wanted):
        outside = int(wanted[indices[at] != wanted][0])
        raise ValueError(
            f"`parts` must be of the samples that are evaluated. Received: number {outside}."
        )
    return at


def _first_twice(numbers):
    found, counts = np.unique(numbers, return_counts=True)
    return None if len(found) == len(numbers) else int(found[counts > 1][0])
