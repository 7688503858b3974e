"""What attacks that take no gradient share: they refuse a gradient's arguments."""

import dataclasses

from keras_mpdsgr.attacks.base import Attack
from keras_mpdsgr.attacks.fields import fixed


@dataclasses.dataclass(frozen=True, repr=False)
class GradientFreeAttack(Attack):
    """Base of the attacks that ask for scores at most: they take none of a gradient's arguments.

    Args:
        jit: XLA, as of `Attack`.
    """

    _: dataclasses.KW_ONLY
    gradient: str = fixed("bptt")
    surrogate: None = fixed(None)
    detach_reset: str = fixed("auto")
    sharpness: None = fixed(None)
    eot: int = fixed(1)
