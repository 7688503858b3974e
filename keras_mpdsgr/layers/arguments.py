"""The shape that the layers of a sequence take."""


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
