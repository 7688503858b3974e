"""What tests of several programs share."""

import numpy as np
import pytest

from keras_mpdsgr.evaluation import AttackRecord, Report


@pytest.fixture(scope="session")
def report_of():
    """Reports made by hand: a function of shares by name, and of the number of images.

    Each attack, `"worst_case"` too, leaves the first images right, as many as its share says.
    """

    def report_of(shares, n):
        def predictions(share):
            return np.where(np.arange(n) < round(share * n), 0, 1)

        attack, nothing = {"class": "PGD", "arguments": {}}, np.zeros((3, n))
        attacked = {k: AttackRecord("linf", attack, predictions(v), *nothing)
                    for k, v in shares.items() if k != "clean"}  # fmt: skip
        clean = predictions(shares.get("clean", 0.9))
        return Report(np.zeros(n, int), clean, attacked, eps=8 / 255)

    return report_of
