"""What is searched: eta, gamma and, if asked for, tau and the surrogate's kind."""

from collections.abc import Iterable

from keras_mpdsgr import surrogates as known_surrogates
from keras_mpdsgr.arguments import check_number


class SearchSpace:
    """The ranges of a search.

    Args:
        eta: Lowest and highest weight of Omega, positive, searched on a logarithmic scale. Equal
            ends keep that one value; so they do below.
        gamma: Lowest and highest half-width of the surrogate's window, positive, in units of
            membrane potential; logarithmic too.
        tau: Lowest and highest leak factor, in [0, 1]; None leaves tau alone.
        surrogates: Names of surrogates to choose from; none leaves the surrogate alone.

    Raises:
        ValueError: If a range is not one, or a surrogate is unknown.

    Example:

    >>> import keras_tuner
    >>> hp = keras_tuner.HyperParameters()
    >>> SearchSpace(eta=(0.01, 1), gamma=(0.5, 2)).values(hp)
    {'eta': 0.01, 'gamma': 0.5}
    """

    def __init__(self, eta=(1e-3, 1.0), gamma=(0.25, 4.0), tau=None, surrogates=()):
        self.eta = _check_range("eta", eta, "weight of Omega")
        self.gamma = _check_range("gamma", gamma, "half-width of the surrogate's window")
        self.tau = None if tau is None else _check_range("tau", tau, "leak factor", most=1)
        if isinstance(surrogates, str) or not isinstance(surrogates, Iterable | None):
            raise ValueError(f"`surrogates` must be a list of names. Received: {surrogates!r}.")
        self.surrogates = tuple(surrogates or ())
        for name in self.surrogates:
            known_surrogates.get(name)
        if len(set(self.surrogates)) < len(self.surrogates):
            raise ValueError(f"`surrogates` must differ. Received: {', '.join(self.surrogates)}.")

    def values(self, hp):
        """Asks a `keras_tuner.HyperParameters` for a value of each; returns them by name."""
        values = {
            "eta": _number(hp, "eta", self.eta, "log"),
            "gamma": _number(hp, "gamma", self.gamma, "log"),
        }
        if self.tau is not None:
            values["tau"] = _number(hp, "tau", self.tau, "linear")
        if self.surrogates:
            values["surrogate"] = hp.Choice("surrogate", list(self.surrogates))
        return values

    @property
    def dimensions(self):
        """Number of values that are free to vary."""
        ranges = [self.eta, self.gamma, *([self.tau] if self.tau else [])]
        return sum(low < high for low, high in ranges) + (len(self.surrogates) > 1)


def _number(hp, name, limits, sampling):
    low, high = limits
    return hp.Float(name, low, high, sampling=sampling) if low < high else hp.Fixed(name, low)


def _check_range(name, limits, meaning, most=None):
    """Returns the range as two floats: positive if no upper bound is given, else in [0, most]."""
    bounds = {"above": 0} if most is None else {"least": 0, "most": most}
    if not isinstance(limits, list | tuple) or len(limits) != 2:
        raise ValueError(f"`{name}` must be two numbers ({meaning}). Received: {limits!r}.")
    low, high = (check_number(name, limit, meaning, **bounds) for limit in limits)
    if low > high:
        raise ValueError(f"`{name}` must have its lower number first. Received: {limits!r}.")
    return low, high
