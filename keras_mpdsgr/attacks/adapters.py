"""Keras classifiers in the form other attack libraries expect: logits, and pixels in [0, 1].

Those libraries attack what they are given. Here that is the model in inference mode, its logits
where it ends in a softmax, and its gradient by its own surrogate.
"""

import keras

from keras_mpdsgr.attacks.compiled import CompiledFunctions
from keras_mpdsgr.attacks.target import Target
from keras_mpdsgr.requirements import require


def to_foolbox(model, outputs="auto"):
    """A model for Foolbox' attacks.

    Foolbox 3.3 wants labels as int64 tensors.

    Args:
        model: A Keras classifier of pixels in [0, 1], spiking or not.
        outputs: What the model gives, as of `Target`; its logits are handed on.

    Returns:
        A `foolbox.TensorFlowModel` of bounds (0, 1).

    Raises:
        ImportError: If Foolbox is not installed.
        ValueError: If the model is not a classifier that can be attacked.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    >>> model.add(keras.layers.Dense(10, activation="softmax"))
    >>> to_foolbox(model).bounds
    Bounds(lower=0, upper=1)
    """
    foolbox = require("foolbox", "test", "to_foolbox")
    return foolbox.TensorFlowModel(_logits_of(Target(model, outputs=outputs)), bounds=(0, 1))


def to_art(model, outputs="auto"):
    """A model for the attacks of the Adversarial Robustness Toolbox (ART), 1.20.

    ART's own classifier for Keras models needs Keras 2.

    Args:
        model: A Keras classifier of pixels in [0, 1], spiking or not, of known shapes.
        outputs: What the model gives, as of `Target`; its logits are handed on.

    Returns:
        An `art.estimators.classification.TensorFlowV2Classifier` of pixels in [0, 1], whose loss is
        the cross-entropy of logits, summed over a batch.

    Raises:
        ImportError: If ART is not installed.
        ValueError: If the model is not a classifier that can be attacked, or has unknown shapes.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    >>> model.add(keras.layers.Dense(10, activation="softmax"))
    >>> classifier = to_art(model)
    >>> classifier.nb_classes, classifier.input_shape, classifier.clip_values.tolist()
    (10, (8, 8, 1), [0.0, 1.0])
    """
    classification = require("art.estimators.classification", "test", "to_art")
    target = Target(model, outputs=outputs)
    shape = getattr(model, "input_shape", None)
    if target.classes is None or not isinstance(shape, tuple):
        raise ValueError(
            "`model` must have one input and one output of known shapes, as ART asks for them. "
            f"Received: {model.name!r}, input_shape={shape!r}, classes={target.classes!r}."
        )
    return classification.TensorFlowV2Classifier(
        model=_logits_of(target),
        nb_classes=target.classes,
        input_shape=shape[1:],
        loss_object=keras.losses.CategoricalCrossentropy(from_logits=True, reduction="sum"),
        clip_values=(0, 1),
    )


def _logits_of(target):
    """A compiled function of images, which is recompiled where the model has changed."""
    key = ("adapter", target.outputs)
    functions = CompiledFunctions.of(target.model)

    def logits(x, training=False):
        del training  # inference mode, whatever the attack says
        return functions.call(key, target.logits, x)

    return logits
