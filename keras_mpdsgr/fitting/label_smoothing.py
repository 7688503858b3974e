"""Cross-entropy of class numbers with label smoothing, which Keras has for one-hot labels alone."""

import keras

from keras_mpdsgr.arguments import check_number


@keras.saving.register_keras_serializable("keras_mpdsgr")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy from logits with label smoothing (Szegedy et al., 2016), of class numbers.

    A label becomes `1 - smoothing` for its class plus `smoothing / classes` for every class.

    Args:
        smoothing: Share spread over the classes, in [0, 1].
        **kwargs: Those of `keras.losses.Loss`.

    Raises:
        ValueError: If `smoothing` is out of its range.

    Example:

    >>> import numpy as np
    >>> loss = SmoothedCrossEntropy(0.2)(np.array([0]), np.log([[0.5, 0.25, 0.25]]))
    >>> f"{loss:.4f}, {-np.log(0.5) * (0.8 + 0.2 / 3) - np.log(0.25) * 2 * 0.2 / 3:.4f}"
    '0.7856, 0.7856'
    """

    def __init__(self, smoothing=0.1, name="smoothed_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.smoothing = check_number("smoothing", smoothing, "share spread", least=0, most=1)

    def call(self, y_true, y_pred):
        classes = keras.ops.shape(y_pred)[-1]
        labels = keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,))
        return keras.losses.categorical_crossentropy(
            keras.ops.one_hot(labels, classes, dtype=y_pred.dtype),
            y_pred,
            from_logits=True,
            label_smoothing=self.smoothing,
        )

    def get_config(self):
        return {**super().get_config(), "smoothing": self.smoothing}
