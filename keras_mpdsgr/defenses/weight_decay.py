"""Weight decay as PyTorch's optimizers mean it: an L2 term over every variable."""

import keras

from keras_mpdsgr import keras_internals
from keras_mpdsgr.arguments import check_model, check_number


class WeightDecay(keras.regularizers.L2):
    """The L2 term that `weight_decay` sets; a class of its own, to be told from a user's."""


def weight_decay(model, amount):
    """Adds `amount / 2 * sum of squares` of every trainable variable to a model's loss.

    By it `amount * w` is added to each gradient, as PyTorch's optimizers do; the argument of Keras'
    optimizers is the decoupled kind, weaker by the learning rate. tdBN's lambda and beta count too.
    Variables with a regularizer of their own keep it, and those that a layer lists in an attribute
    `undecayed` get none. To be called before `compile`.

    Args:
        model: A built Keras model.
        amount: Weight decay, not negative; 0 takes away what an earlier call has set.

    Raises:
        ValueError: If `model` is not a Keras model, or `amount` is not a number >= 0.

    Example:

    >>> import keras
    >>> ones = keras.layers.Dense(1, kernel_initializer="ones")
    >>> model = keras.Sequential([keras.Input((2,)), ones])
    >>> weight_decay(model, 0.5)
    >>> f"{sum(float(loss) for loss in model.losses):.2f}"
    '0.50'
    """
    check_model("model", model)
    check_number("amount", amount, "weight decay", least=0)
    spared = {id(variable) for variable in undecayed(model)}
    for variable in model.trainable_variables:
        ours = variable.regularizer is None or isinstance(variable.regularizer, WeightDecay)
        if ours:
            decayed = amount > 0 and id(variable) not in spared
            # Half, as the gradient of w^2 is 2 w.
            variable.regularizer = WeightDecay(amount / 2) if decayed else None


def undecayed(model):
    """The variables of a model that its layers keep from weight decay, a list."""
    layers = keras_internals.all_layers(model)
    return [variable for layer in layers for variable in getattr(layer, "undecayed", ())]
