"""An exponential moving average of all weights of a model in training."""

import contextlib

import keras
import tensorflow as tf

from keras_mpdsgr.arguments import check_number


class WeightAverage(keras.layers.Layer):
    """Exponential moving average of a model's weights, trained and not (Izmailov et al., 2018).

    After each optimizer step `average <- d * average + (1 - d) * weight`, in single precision or
    better, for every weight of floating point, the moving statistics of a normalization too
    (`use_ema` of Keras' optimizers averages the trained ones alone, and statistics of other weights
    would then go with them). The statistics are averaged and not estimated again: they are means
    over the last steps already, of the images that training sees, and adversarial ones would have
    to be made again for an estimate.

    The decay d rises to its full value, `min(decay, (1 + t) / (10 + t))` at update t, so that an
    early average is one of the last steps and not of the initial weights; the first update takes
    the weights as they are.

    `DefendedModel(model, average=WeightAverage(0.999))` updates it and keeps it in its checkpoints.
    To read it: `with defended.average.applied(): ...`.

    Args:
        decay: Weight of the past in each update, in (0, 1): 0.995 to 0.999 in robust training.
        **kwargs: Those of `keras.layers.Layer`.

    Raises:
        ValueError: If `decay` is out of its range, or the average is given to a second model.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    >>> average = WeightAverage(0.999)
    >>> average.follow(model)
    >>> for value in (1.0, 3.0):
    ...     model.set_weights([keras.ops.full((1, 1), value)])
    ...     average.update()
    >>> with average.applied():
    ...     print(f"{model.get_weights()[0][0, 0]:.3f}")
    2.636
    >>> float(model.get_weights()[0][0, 0])
    3.0
    """

    _followed: tuple = ()

    def __init__(self, decay=0.999, **kwargs):
        kwargs.setdefault("name", "weight_average")
        super().__init__(trainable=False, **kwargs)
        self.decay = check_number("decay", decay, "weight of the past", above=0)
        if self.decay >= 1:
            raise ValueError(f"`decay` must be a number in (0, 1). Received: {decay!r}.")
        self.__dict__["_followed"] = ()
        self._averages: list = []
        self._is_applied = False

    def follow(self, model):
        """Starts the average at the weights of a built model."""
        if self._followed:
            raise ValueError("A `WeightAverage` belongs to one model: make another one.")
        state = {"trainable": False, "autocast": False}
        self.updates = self.add_weight(
            name="updates", shape=(), dtype="int64", initializer="zeros", **state
        )
        followed = tuple(weight for weight in model.weights if _is_floating(weight))
        self.__dict__["_followed"] = followed  # past Keras' tracking: they are the model's
        self._averages = [
            self.add_weight(
                name=f"average_{number}",
                shape=weight.shape,
                dtype="float64" if weight.dtype == "float64" else "float32",
                initializer="zeros",
                **state,
            )
            for number, weight in enumerate(followed)
        ]
        self.built = True

    def update(self):
        """Updates the average by the present weights, inside a training step or outside."""
        t = tf.cast(self.updates.value, tf.float32)
        decay = tf.minimum(tf.constant(self.decay, tf.float32), (1 + t) / (10 + t))
        share = tf.where(t > 0, 1 - decay, 1.0)
        for weight, average in zip(self._followed, self._averages, strict=True):
            distance = tf.cast(weight.value, average.dtype) - average.value
            average.assign_add(tf.cast(share, average.dtype) * distance)
        self.updates.assign_add(1)

    def refuse_applied(self, what):
        """Raises a ValueError inside `applied`, where the model's own weights are kept aside."""
        if self._is_applied:
            raise ValueError(
                f"{what} must be called outside of `average.applied()`: inside, the model has the "
                "averaged weights, and what is trained or saved there is not its own."
            )

    @contextlib.contextmanager
    def applied(self):
        """A scope in which the model has the averaged weights; afterwards, its own to the last bit.

        For use outside compiled functions. Inside itself, and before the first update, it changes
        nothing.
        """
        if self._is_applied or not self._followed or int(self.updates.numpy()) == 0:
            yield
            return
        own = [keras.ops.convert_to_numpy(weight) for weight in self._followed]
        self._is_applied = True
        try:
            for weight, average in zip(self._followed, self._averages, strict=True):
                weight.assign(keras.ops.cast(keras.ops.convert_to_numpy(average), weight.dtype))
            yield
        finally:
            for weight, value in zip(self._followed, own, strict=True):
                weight.assign(value)
            self._is_applied = False


def averaged(model):
    """A scope in which a model has the average of its weights, if it keeps one.

    Args:
        model: A Keras model; a `DefendedModel` with an `average` keeps one.
    """
    average = getattr(model, "average", None)
    return contextlib.nullcontext() if average is None else average.applied()


def _is_floating(weight):
    return tf.as_dtype(weight.dtype).is_floating
