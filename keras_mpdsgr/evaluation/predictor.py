"""A model asked about images, in batches of one shape: what attacks have done is told by it."""

import warnings

import numpy as np
import tensorflow as tf

from keras_mpdsgr.attacks import Target


class Predictor:
    """Predictions and losses of a model, in batches of one shape.

    Args:
        model: The Keras model.
        batch_size: Images at a time.
        seed: Of the model's own draws, if it is random.

    Raises:
        ValueError: If a label is no class of the model, or its outputs are not finite.
    """

    def __init__(self, model, batch_size, seed=0):
        self._seed = seed
        self._target = Target(model)
        self._batch_size = batch_size
        self.probabilities = self._target.probabilities

    def logits(self, x, indices=None):
        """Logits, `(n, classes)`.

        Args:
            x: Images, `(n, ...)`.
            indices: `(n,)`, the samples' numbers: a random model's draws for a batch go by that of
                its first. None for 0..n-1.
        """
        parts = []
        for start in range(0, len(x), self._batch_size):
            part = np.arange(start, min(start + self._batch_size, len(x)))
            filled = np.resize(part, self._batch_size)
            first = start if indices is None else indices[start]
            with self._target.seeded(self._seed, first):
                parts.append(self._target.predict(x[filled])[: len(part)])
        logits = np.concatenate(parts)
        if not self.probabilities and _look_like_probabilities(logits):
            warnings.warn(
                "The model's outputs look like probabilities but are taken for logits. Let the "
                "model end in logits, or in a softmax layer.",
                stacklevel=2,
            )
        return logits

    def is_random(self, x):
        """Whether the model answers differently to the same images under another seed."""
        few = x[: self._batch_size]
        return not np.array_equal(
            *(Predictor(self._target.model, len(few), seed).logits(few) for seed in (0, 1))
        )

    def __call__(self, x, y, indices=None):
        """Predicted classes and cross-entropies, each `(n,)`."""
        logits = self.logits(x, indices)
        if not np.isfinite(logits).all():
            raise ValueError("`model` gives outputs that are not finite (NaN or infinite).")
        if not y.max(initial=0) < logits.shape[1]:
            raise ValueError(
                f"`y` must hold classes below the model's {logits.shape[1]}. "
                f"Received: {int(y.max())}."
            )
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
        return logits.argmax(axis=1).astype(np.int32), losses.numpy()


def _look_like_probabilities(outputs):
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-4))
