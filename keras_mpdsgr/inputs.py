"""What attacks are given: a radius, images and labels; else one clear ValueError."""

import numpy as np

from keras_mpdsgr.arguments import check_number

# Pixels that a float conversion has put just outside [0, 1] are not the caller's mistake.
_PIXEL_TOLERANCE = 1e-6
# Noise leaves [0, 1] by less than this, 8-bit pixels and normalised ones by more.
_FAR_OUTSIDE = 1


def check_radius(name, value, most=1):
    """Returns a radius in units of pixels as a float, if it is in [0, most]."""
    meaning = "in units of pixels scaled to [0, 1], such as 8/255"
    return check_number(name, value, meaning, least=0, most=most)


def check_images(x):
    """Images as float32 in [0, 1], or one clear ValueError."""
    x = _array("x", x)
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(
            "`x` must hold floating-point pixels in [0, 1]. Received: "
            f"dtype={x.dtype}. Divide 8-bit pixels by 255."
        )
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"`x` must hold at least one image, (n, ...). Received: shape={x.shape}.")
    low, high = x.min(), x.max()
    if not (low >= -_PIXEL_TOLERANCE and high <= 1 + _PIXEL_TOLERANCE):
        raise ValueError(
            f"`x` must hold pixels in [0, 1]. Received: values from {low:g} to {high:g}. "
            "Normalisation belongs inside the model."
        )
    return np.clip(x.astype(np.float32), 0.0, 1.0)


def check_pixel_range(x):
    """Raises one clear ValueError for an array of 8-bit pixels or of normalised ones.

    Args:
        x: What is given to a model that normalises pixels in [0, 1] itself. Arrays and eager
            tensors are looked at, nothing else; values may leave [0, 1] by up to 1, as noise does.
    """
    array = x.numpy() if hasattr(x, "numpy") else x
    if not isinstance(array, np.ndarray) or array.size == 0 or array.dtype.kind not in "iuf":
        return
    low, high = array.min(), array.max()
    if low < -_FAR_OUTSIDE or high > 1 + _FAR_OUTSIDE:
        raise ValueError(
            f"`x` must hold pixels in [0, 1], which the model normalises itself. Received: values "
            f"from {low:g} to {high:g}. Divide 8-bit pixels by 255, as `data.to_pixels` does, and "
            "leave normalisation to the model."
        )


def check_attacked(x, y):
    """Images as float32 in [0, 1] and labels as int32, or one clear ValueError."""
    x, y = check_images(x), _array("y", y)
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
        raise ValueError(
            f"`y` must hold one class number for each of the {len(x)} images, integers >= 0, shape "
            f"({len(x)},). Received: shape={y.shape}, dtype={y.dtype}."
        )
    return x, y.astype(np.int32)


def check_fits(model, x, y=()):
    """Raises unless images have the model's shape and labels are its classes, where it says so."""
    given = getattr(model, "output_shape", None)
    classes = check_scores(given)[-1] if given is not None and len(y) else None
    if classes is not None and int(np.max(y, initial=0)) >= classes:
        raise ValueError(
            f"`y` must hold classes below the model's {classes}. Received: {int(np.max(y))}."
        )
    for tensor in getattr(model, "inputs", None) or ():
        if "float" not in str(tensor.dtype):
            raise ValueError(
                "`model` must take floating-point pixels in [0, 1]: Keras would cast them to whole "
                f"numbers. Received: an input of dtype {tensor.dtype}. Build it on "
                "keras.Input(..., dtype='float32')."
            )
    taken = getattr(model, "input_shape", None)
    if not isinstance(taken, tuple) or not all(isinstance(n, int | None) for n in taken):
        return
    given = tuple(x.shape[1:])
    same_rank = len(given) == len(taken) - 1
    fits = same_rank and all(n in (None, m) for n, m in zip(taken[1:], given, strict=True))
    if not fits:
        raise ValueError(
            f"`x` must hold images of the shape that the model takes, {taken[1:]}. "
            f"Received: shape={tuple(x.shape)}."
        )


def check_scores(outputs):
    """Returns a model's outputs (or their shape) if they are one score a class, `(batch, classes)`.

    Raises:
        ValueError: If there are several, or one score stands for two classes: the cross-entropy of
            a single one is 0, whatever it is.
    """
    nested = isinstance(outputs, list | tuple | dict)
    if nested and not all(isinstance(size, int | None) for size in outputs):
        raise ValueError(
            "The model must have one output, scores (batch, classes). Received: one with a "
            f"{type(outputs).__name__} of outputs. Choose one: keras.Model(model.inputs, output)."
        )
    shape = tuple(getattr(outputs, "shape", outputs))
    if len(shape) != 2 or shape[1] == 1:
        raise ValueError(
            "The model must give a score for each class, (batch, classes), of at least two. "
            f"Received: outputs of shape {shape}. A binary classifier needs two outputs, as of "
            "Dense(2) under sparse categorical cross-entropy."
        )
    return outputs


def _array(name, values):
    try:
        array = np.asarray(values)
    except (ValueError, TypeError):
        raise ValueError(
            f"`{name}` must be an array of numbers. Received: {type(values).__name__} of unequal "
            "rows."
        ) from None
    if hasattr(values, "as_numpy_iterator"):
        raise ValueError(
            f"`{name}` must be an array of numbers. Received: a tf.data.Dataset. Make arrays of "
            "its batches: `x, y = map(np.concatenate, zip(*dataset.as_numpy_iterator()))`."
        )
    return array
