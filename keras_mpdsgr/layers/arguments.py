"""The shape that the layers of a sequence take."""

import warnings

# Windows are shorter than most images are wide.
_LONGEST_UNMISTAKABLE = 8


def check_sequence(layer, input_shape):
    """Raises unless `input_shape` is `(batch, time, features...)` with a static time."""
    kind = type(layer).__name__
    if len(input_shape) < 3:
        raise ValueError(
            f"{kind} takes sequences of at least 3 axes, (batch, time, ...). Received: "
            f"input_shape={tuple(input_shape)}. Put an encoder, such as DirectEncoder(timesteps), "
            "before it."
        )
    if input_shape[1] is None:
        raise ValueError(
            f"{kind} unrolls time, so the time axis must be static. Received: "
            f"input_shape={tuple(input_shape)}."
        )


def warn_of_image(layer, input_shape):
    """Warns where `(batch, height, width, channels)` was probably given for a sequence.

    The rule: four axes, of which the second and the third are equal and longer than 8. Sequences of
    images have five, of features three; of four axes are sequences of signals, `(batch, time,
    length, channels)`, which only by chance are as long as their windows.
    """
    if len(input_shape) != 4:
        return
    _, height, width, _ = input_shape
    if height == width and height > _LONGEST_UNMISTAKABLE:
        warnings.warn(
            f"{layer.name!r} takes axis 1 of its input {tuple(input_shape)} for {height} time "
            "steps, which looks like the rows of images. Put an encoder before it, such as "
            "layers.DirectEncoder(timesteps), for (batch, time, height, width, channels).",
            stacklevel=2,
        )
