"""Projected gradient descent, with and without a random start."""

from keras_mpdsgr.attacks.iterative import IterativeAttack


class PGD(IterativeAttack):
    """Projected gradient descent (Madry et al., 2017): signed steps from a random start.

    The defaults are the paper's: eps 8/255, 7 steps of 0.01. Arguments as of `IterativeAttack`.
    """


class BIM(IterativeAttack):
    """Basic iterative method (Kurakin et al., 2018): signed steps from the clean image.

    The defaults are the paper's: eps 8/255, 7 steps of 0.01. Arguments as of `IterativeAttack`.
    """

    random_start = False
