"""What every contender can do."""

import abc

PGD_STEPS = 7
EPS, STEP_SIZE = 8 / 255, 0.01
LEARNING_RATE, MOMENTUM = 0.01, 0.9


class Contender(abc.ABC):
    """One library's VGG11, trained on one batch again and again.

    Args:
        case: The `Case`.
    """

    def __init__(self, case):
        self.case = case

    @abc.abstractmethod
    def load(self, weights):
        """Takes weights: a dictionary of arrays, as `Ours.weights` gives."""

    @abc.abstractmethod
    def train_step(self):
        """One step of SGD on the batch, waited for; returns the loss."""

    @abc.abstractmethod
    def input_gradient(self):
        """The gradient of the summed loss by the images, waited for, as `(batch, h, w, c)`."""

    @abc.abstractmethod
    def attack(self):
        """PGD with `PGD_STEPS` steps on the batch, waited for; returns the images."""


class Peer(Contender):
    """A contender that is compared with this library, stage by stage, before it is timed.

    A stage is a convolution or dense layer with its normalization (and the pool in front of it) and
    the neurons behind; the last has no neurons.

    Attributes:
        is_bfloat16: Whether it computes in bfloat16, and is compared less strictly.
    """

    is_bfloat16 = False

    @abc.abstractmethod
    def currents(self, number, inputs):
        """Input currents of a stage, in inference mode.

        Args:
            number: Which stage, from 0.
            inputs: The images, `(batch, h, w, c)`, for stage 0, else the stage before's spikes,
                `(batch, time, ...)`, channels last.

        Returns:
            Array `(batch, time, ...)`, channels last.
        """

    @abc.abstractmethod
    def spikes(self, number, currents):
        """The neurons' answer to currents, arrays `(batch, time, ...)`; None for no neurons."""
