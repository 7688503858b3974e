"""scikit-learn's handwritten digits, which need no download."""

import numpy as np
import sklearn.datasets
import sklearn.model_selection
import tensorflow as tf

from keras_mpdsgr.data.image_data import ImageData, check_limit

# The split of the digits is part of the data set: no seed of a run may change it.
_SEED = 42
_SIDE = 16
_MEAN, _STD = (0.3059,), (0.3189,)


def load_digits(name, data_dir, limit_train, limit_test) -> ImageData:
    """The 1797 digits at 16 x 16, a fifth of them for testing."""
    bunch = sklearn.datasets.load_digits()
    # 0..16 in steps of 1/16 after the bilinear resize: exact in float32, so the same everywhere.
    resized = tf.image.resize(bunch.images[..., None], [_SIDE, _SIDE])
    images = np.rint(resized.numpy() * (255 / 16)).astype(np.uint8)
    x_train, x_test, y_train, y_test = sklearn.model_selection.train_test_split(
        images,
        bunch.target.astype(np.int32),
        test_size=0.2,
        stratify=bunch.target,
        random_state=_SEED,
    )
    check_limit("limit_train", limit_train, len(x_train), "digits")
    check_limit("limit_test", limit_test, len(x_test), "digits")
    return ImageData(
        name=name,
        x_train=x_train[:limit_train],
        y_train=y_train[:limit_train],
        x_test=x_test[:limit_test],
        y_test=y_test[:limit_test],
        mean=_MEAN,
        std=_STD,
        flip=False,
        class_names=tuple(str(digit) for digit in bunch.target_names),
    )
