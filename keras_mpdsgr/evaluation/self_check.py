"""Checks of an evaluation itself: that it measures this model and leaves it unchanged."""

import hashlib

import keras
import numpy as np
import tensorflow as tf

from keras_mpdsgr import attacks, keras_internals

_LOOKED_AT = 32
# Rounding that differs from one compiler to another may turn a spike, and so the class of an image.
_TURNED = 1 / 16
_ROUNDING = 1e-3


def check_agreement(model, predictor, x):
    """Raises unless a deterministic model's own predictions agree with the predictor's.

    Args:
        model: The Keras model.
        predictor: Its `Predictor`.
        x: Clean images, of which the first are looked at.
    """
    few = x[:_LOOKED_AT]
    own = _own_way(model)
    ask = own or (lambda images: model(tf.constant(images), training=False))
    # In other batches than the predictor's: no image's answer may depend on the others.
    parts = [few[: len(few) // 2], few[len(few) // 2 :]]
    outputs = np.concatenate([np.asarray(ask(part), np.float64) for part in parts if len(part)])
    theirs, ours = outputs.argmax(axis=1), predictor.logits(few).argmax(axis=1)
    rows = np.arange(len(few))
    gap = outputs[rows, theirs] - outputs[rows, ours]
    clear = gap > _ROUNDING * np.abs(outputs).max(axis=1)
    if clear.mean() > _TURNED:
        raise ValueError(
            "`model` must answer alike however it is asked. Received: one whose "
            f"{'predict' if own else 'call'} gives other classes than its outputs in batches of "
            f"one size, on {clear.sum()} of {len(few)} clean images."
        )


def _own_way(model):
    """The model's `predict`, where its class has changed what Keras does there; else None."""
    names = ("predict", "predict_step", "make_predict_function")
    changed = any(getattr(type(model), name) is not getattr(keras.Model, name) for name in names)
    return (lambda few: model.predict(few, verbose=0)) if changed else None


def no_attack_is_clean(model, predictor, x, y, indices, seed, batch_size, clean):
    """Whether the first images, attacked in a ball of radius 0, keep their clean predictions.

    Args:
        model, predictor, x, y, indices, seed, batch_size: As of `AttackRun`.
        clean: Classes predicted for the clean images, `(n,)`.
    """
    few = slice(0, batch_size)
    attack = attacks.UniformNoise(bound=0.0)
    target = attack.target(model, predictor.outputs)
    found = np.concatenate(
        [one for _, one in attack.chunks(target, x[few], y[few], seed, batch_size, indices[few])]
    )
    prediction = predictor(found, y[few], indices[few])[0]
    return bool(np.array_equal(prediction, clean[few]))


def state_of(model):
    """A digest of all that inference must leave as it was: variables, and what is trainable."""
    digest = hashlib.sha256()
    for layer in keras_internals.all_layers(model):
        digest.update(str(layer.trainable).encode())
    for variable in model.variables:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()
