"""Predictions of a model in batches of one shape, by which attacks are judged."""

import numpy as np
import tensorflow as tf

from keras_mpdsgr.attacks import Target


class Predictor:
    """Predictions and losses of a model, in batches of one shape.

    Args:
        model: The Keras model.
        batch_size: Images at a time.
        seed: Of the model's own draws, if it is random; they are others than those of attacks.
        outputs: What the model gives, as of `attacks.Target`.
        votes: Forward passes that judge an image: it is misclassified if most of them err.

    Attributes:
        outputs: What the model's outputs are taken for.
        votes: As given; it may be changed.

    Raises:
        ValueError: If a label is not a class of the model, or its outputs are not finite.
    """

    def __init__(self, model, batch_size, seed=0, outputs="auto", votes=1):
        self._seed = seed
        self._target = Target(model, outputs=outputs)
        self._batch_size = batch_size
        self.votes = votes

    @property
    def outputs(self):
        return self._target.outputs

    def look(self, x):
        """Finds the type of the model's outputs from clean images, `Target.look`."""
        self._target.look(x, check=True)

    def logits(self, x, indices=None, vote=0):
        """Logits, `(n, classes)`.

        Args:
            x: Images, `(n, ...)`.
            indices: `(n,)`, the samples' numbers: a random model's draws for a batch go by that of
                its first. None for 0..n-1.
            vote: Number of the forward pass, each with draws of its own.
        """
        parts = []
        for start in range(0, len(x), self._batch_size):
            part = np.arange(start, min(start + self._batch_size, len(x)))
            filled = np.resize(part, self._batch_size)
            first = start if indices is None else indices[start]
            with self._target.seeded(self._seed, first, judged=vote):
                parts.append(self._target.predict(x[filled])[: len(part)])
        return np.concatenate(parts)

    def is_random(self, x):
        """Whether the model answers differently to the same images under other draws."""
        few = x[: self._batch_size]
        return not np.array_equal(*(self.logits(few, vote=vote) for vote in (0, 1)))

    def __call__(self, x, y, indices=None):
        """Predicted classes, cross-entropies, and how many of the votes were right, each `(n,)`.

        Of several votes: the true class unless most err, then the wrong class that most give; the
        mean of the cross-entropies.
        """
        logits = np.stack([self.logits(x, indices, vote) for vote in range(self.votes)])
        if not np.isfinite(logits).all():
            raise ValueError("`model` gives outputs that are not finite (NaN or infinite).")
        classes = logits.shape[-1]
        if not y.max(initial=0) < classes:
            raise ValueError(
                f"`y` must hold classes below the model's {classes}. Received: {int(y.max())}."
            )
        labels = np.broadcast_to(y, logits.shape[:2])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        counts = (logits.argmax(axis=-1)[..., None] == np.arange(classes)).sum(axis=0)
        rows = np.arange(len(y))
        right = counts[rows, y]
        counts[rows, y] = 0
        errs = 2 * right < self.votes
        prediction = np.where(errs, counts.argmax(axis=1), y).astype(np.int32)
        return prediction, losses.numpy().mean(axis=0), right.astype(np.int32)
