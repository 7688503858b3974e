"""A model that draws at random, seeded for as long as it is attacked or judged."""

import contextlib

import keras
import numpy as np

from keras_mpdsgr import keras_internals


@contextlib.contextmanager
def seeded(model, seed, part, judged=None):
    """Inside, a model that draws at random does so by this seed; afterwards, as it did before.

    Args:
        model: A Keras model.
        seed: Whole number.
        part: Which batch it is.
        judged: None for an attack; for who judges it the number of the forward pass, which is then
            drawn apart from all that an attack sees, and from the others.
    """
    states = [generator.state for generator in keras_internals.seed_generators(model)]
    before = [keras.ops.convert_to_numpy(state) for state in states]
    for number, state in enumerate(states):
        own = [(int(seed) + number) % 2**31, int(part) % 2**31]
        if judged is not None:
            apart = np.random.SeedSequence([int(seed), int(part)], spawn_key=(number, judged))
            own = apart.generate_state(2).tolist()
        state.assign(keras.ops.cast(own, state.dtype))
    try:
        yield
    finally:
        for state, value in zip(states, before, strict=True):
            state.assign(value)
