"""Several defences at once: what each changes is changed, one after the other."""

import inspect

from keras_mpdsgr.defenses import base
from keras_mpdsgr.defenses.base import Defense
from keras_mpdsgr.defenses.mpd_sgr import EtaWarmup


class Combined(Defense):
    """Several defences combined, such as SR and MPD-SGR.

    The network gets the options of all, each prepares it, and all callbacks run. The loss is that
    of the one defence that has a loss of its own, or the plain one, with what layers add to it.

    Args:
        defenses: `Defense` objects, at least two, of different kinds.

    Raises:
        ValueError: If they cannot be combined: two have a loss or a rule of weights of their own,
            set the same option of the network, or raise the weight of what layers add to the loss
            each in its own way.

    Example:

    >>> both = get("sr,mpd_sgr", eta=0.5)
    >>> both
    Combined([SparseGradient(weight=0.002, h=0.01), MPDSGR(eta=0.5, omega_form='batch', ...)])
    >>> both.model_options(timesteps=8)
    {'eta': 0.5, 'omega_form': 'batch'}
    """

    def __init__(self, defenses):
        listed = isinstance(defenses, list | tuple) and len(defenses) > 1
        if not listed or not all(isinstance(defense, Defense) for defense in defenses):
            raise ValueError(
                "`defenses` must be a list of at least two `Defense` objects. "
                f"Received: {defenses!r}."
            )
        self.defenses = list(defenses)
        names = [defense.name for defense in self.defenses]
        for name in names:
            if name == Defense.name or names.count(name) > 1:
                raise ValueError(
                    "`defenses` must be of different kinds, none of them 'none'. "
                    f"Received: {', '.join(names)}."
                )
        self.name = ",".join(names)
        self.own_weight_rule = any(defense.own_weight_rule for defense in self.defenses)
        self.needs_spikes = any(defense.needs_spikes for defense in self.defenses)
        self._refuse_two("a loss of their own", lambda d: d.objective() is not None)
        self._refuse_two("a rule of weights of their own", lambda d: d.own_weight_rule)
        self.model_options(timesteps=1)
        self.callbacks(total_steps=1)

    def model_options(self, timesteps):
        options, owners = {}, {}
        for defense in self.defenses:
            for option, value in defense.model_options(timesteps).items():
                if option in options and (callable(value) or options[option] != value):
                    raise ValueError(
                        f"Defences {owners[option]!r} and {defense.name!r} both set `{option}` of "
                        "the network and cannot be combined. Leave one of them out."
                    )
                options[option], owners[option] = value, defense.name
        return options

    def prepare(self, model):
        for defense in self.defenses:
            defense.prepare(model)

    def objective(self, adversary=None):
        for defense in self.defenses:
            if defense.objective() is not None:
                return defense.objective(adversary)
        return super().objective(adversary)

    def callbacks(self, total_steps, warmup_steps=0):
        found, rises = [], {}
        for defense in self.defenses:
            for callback in defense.callbacks(total_steps, warmup_steps):
                if not isinstance(callback, EtaWarmup):
                    found.append(callback)
                elif not rises:  # one is enough: it is for all layers, whosever penalty they have
                    rises[type(callback)] = defense.name
                    found.append(callback)
                elif type(callback) not in rises:
                    raise ValueError(
                        f"Defences {next(iter(rises.values()))!r} and {defense.name!r} raise the "
                        "weight of what layers add to the loss, each in its own way, and cannot "
                        "be combined. Leave one of them out."
                    )
        return found

    def get_config(self):
        """The arguments of each, by its name."""
        return {defense.name: defense.get_config() for defense in self.defenses}

    def __repr__(self):
        return f"{type(self).__name__}({self.defenses!r})"

    def _refuse_two(self, what, has):
        having = [repr(defense.name) for defense in self.defenses if has(defense)]
        if len(having) > 1:
            raise ValueError(
                f"Defences {' and '.join(having)} have {what} each and cannot be combined. Leave "
                "one of them out."
            )


def get(name, **arguments):
    """A defence by its name, or several by theirs.

    Args:
        name: One of `names()`, or several, separated by commas: a `Combined`.
        **arguments: Of the defence's class; those it does not take are refused. Of several, an
            argument that more than one takes says whose it is, as `**{"sr.weight": 0.1}`.

    Raises:
        ValueError: If there is none of a name, it does not take an argument, or they do not go
            together.

    Example:

    >>> get("none")
    Defense()
    >>> get("sr,rate", **{"sr.weight": 0.1, "h": 0.02}).defenses[0]
    SparseGradient(weight=0.1, h=0.02)
    """
    return made(by_defense(name, arguments))


def made(arguments):
    """The defence of arguments by name, as of `by_defense`."""
    members = [base.get(name, **own) for name, own in arguments.items()]
    return members[0] if len(members) == 1 else Combined(members)


def by_defense(name, arguments):
    """Arguments sorted by whose they are: a dictionary from each defence's name to its own.

    Args:
        name: One defence's, or several, separated by commas.
        arguments: By name, or by the defence's and the argument's, with a dot between.

    Raises:
        ValueError: If a name is unknown or given twice, or an argument belongs to none of them.
    """
    names = [part.strip() for part in name.split(",")] if isinstance(name, str) else [name]
    taken = {part: inspect.signature(base.kind(part)).parameters for part in names}
    if len(taken) < len(names):
        raise ValueError(f"`defense` must name each defence once. Received: {name!r}.")
    found = {part: {} for part in names}
    for key, value in arguments.items():
        owner, dot, argument = key.rpartition(".")
        owners = [owner] if dot else [part for part in names if key in taken[part]]
        if dot and owner not in taken:
            raise ValueError(
                f"`{argument}` is given for {owner!r}, which is none of the defences chosen: "
                f"{', '.join(names)}."
            )
        if not owners:
            if len(names) == 1:
                owners = names  # whose own refusal says what it takes
            else:
                known = ", ".join(f"{part}.{x}" for part in names for x in taken[part])
                raise ValueError(f"Defences {name!r} take {known}. Received: {key}.")
        if len(owners) > 1:
            said = " or ".join(f"{part}.{key}" for part in owners)
            raise ValueError(f"`{key}` is of several of the defences. Say {said}. Received: {key}.")
        if argument in found[owners[0]]:
            raise ValueError(f"`{argument}` of {owners[0]!r} is given twice.")
        found[owners[0]][argument] = value
    return found
