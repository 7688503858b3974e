"""What all defences share: one interface, and a registry by name."""

import inspect

from keras_mpdsgr import plugins
from keras_mpdsgr.arguments import check_choice, check_free

_registry: dict[str, type["Defense"]] = {}


class Defense:
    """Base of all defences: a way of building, preparing and training a model.

    A small object that holds hyper-parameters. A subclass stores its arguments under their own
    names and overrides what differs; this class changes nothing.

    Attributes:
        name: What `get` knows it by.
        own_weight_rule: Whether it has a rule of its own for weights, so that a trainer adds no
            weight decay.
        needs_spikes: Whether it acts on spiking neurons, so that a network needs some.

    Example:

    >>> Defense().objective() is None
    True
    """

    name = "none"
    own_weight_rule = False
    needs_spikes = False

    def model_options(self, timesteps):
        """Keyword arguments for a builder of `models`, for networks of `timesteps` steps."""
        del timesteps
        return {}

    def prepare(self, model):
        """Changes a model that was just built, before it is compiled."""

    def objective(self, adversary=None):
        """What a training step minimises.

        Args:
            adversary: An `AdversarialTraining` to train against; None for clean images.

        Returns:
            An `Objective`; None for the plain loss that the model is compiled with.
        """
        return None if adversary is None else adversary.objective()

    def callbacks(self, total_steps, warmup_steps=0):
        """Keras callbacks of a training of `total_steps` optimizer steps."""
        del total_steps, warmup_steps
        return []

    def get_config(self):
        """The arguments of this defence, by name."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names}

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


def register(defense):
    """Class decorator: makes a `Defense` available by its `name`.

    Raises:
        ValueError: If it is none, or another class has the name.
    """
    if not (inspect.isclass(defense) and issubclass(defense, Defense)):
        raise ValueError(
            f"A defence must be a class that extends `Defense`. Received: {defense!r}."
        )
    check_free(defense.name, defense, _registry)
    _registry[defense.name] = defense
    return defense


register(Defense)


def names():
    """Names that `get` knows, those of installed plug-ins among them."""
    plugins.load(plugins.DEFENSES, _register_plugin)
    return list(_registry)


def _register_plugin(name, defense):
    if getattr(defense, "name", name) != name:
        raise ValueError(f"`name` must be the entry point's, {name!r}. Received: {defense.name!r}.")
    register(defense)


def kind(name):
    """The class of defences of a name.

    Raises:
        ValueError: If there is none of that name.
    """
    is_known = isinstance(name, str) and name in _registry
    return _registry[name if is_known else check_choice("defense", name, names())]


def get(name, **arguments):
    """The one defence of a name, without commas.

    Raises:
        ValueError: If there is none of that name, or it does not take an argument.
    """
    made = kind(name)
    taken = inspect.signature(made).parameters
    for argument in arguments:
        if argument not in taken:
            known = ", ".join(taken) or "no arguments"
            raise ValueError(f"Defence {name!r} takes {known}. Received: {argument}.")
    return made(**arguments)
