"""The neurons alone compiled by XLA: on a CPU, a few passes over memory in place of dozens."""

import contextlib
import math

import tensorflow as tf

from keras_mpdsgr import keras_internals
from keras_mpdsgr.arguments import check_flag

# Time steps times neurons of a sample. With fewer, compiling takes longer than it ever saves.
_WORTH_COMPILING = 8192

# A plain module-level stack, for the reason that `gradient_mode` has one.
_stack: list[bool] = []
_kept: list[list] = []


@contextlib.contextmanager
def fused_neurons(fuse=True):
    """Chooses whether layers of neurons that are called inside are compiled by XLA on their own.

    Outside any such scope they are in training, not in inference, so that exported models hold no
    compiled parts. Never compiled: eager calls; layers with few neurons; what runs under a
    `tf.distribute` strategy; and on a machine with a GPU, where whole steps are compiled instead.

    Read when a layer's call is traced: enter it inside a `tf.function`, or around what traces one
    (a first `fit`).

    Args:
        fuse: True in inference too; False never.

    Raises:
        ValueError: If `fuse` is not True or False.

    Example:

    >>> import tensorflow as tf
    >>> from keras_mpdsgr import LIFLayer
    >>> neurons = LIFLayer()
    >>> @tf.function
    ... def count(x):
    ...     with fused_neurons():
    ...         return tf.reduce_sum(neurons(x))
    >>> float(count(tf.ones((1, 2, 64, 64))))
    8192.0
    """
    _stack.append(check_flag("fuse", fuse))
    try:
        yield
    finally:
        _stack.pop()


@contextlib.contextmanager
def neurons_kept_in(functions):
    """Keeps what several traces share in a list of the caller's, so that XLA compiles it once.

    Elsewhere it is kept by the graph that calls it, and compiled again for each graph.

    Args:
        functions: The list; empty at first.
    """
    _kept.append(functions)
    try:
        yield
    finally:
        _kept.pop()


def compiler(shape, training=False):
    """What wraps a method that runs over a whole window: XLA's compiler; None for none.

    Args:
        shape: `(batch, time, ...)`.
        training: Whether the layer is called in training.

    Returns:
        A function that takes a bound method, and whether traces may share it, and returns a
        function of the same arguments; or None. Shared must only be what holds no tensors.
    """
    asked = _stack[-1] if _stack else training
    size = math.prod(n for n in shape[1:] if n is not None)
    fits = tf.inside_function() and not tf.distribute.has_strategy() and size >= _WORTH_COMPILING
    if not asked or not fits or tf.config.list_physical_devices("GPU"):
        return None
    # Layers of equal settings share one function, so that equal shapes are compiled once. It is
    # kept by the graph that calls it, and freed with it.
    of_graph = keras_internals.kept_by_graph("keras_mpdsgr_fused_neurons")

    def compiled(method, shared=False):
        kept = _kept[-1] if shared and _kept else of_graph
        # Two bound methods are equal only if their objects are the very same.
        key = method.__self__, method.__func__
        for known, function in kept:
            if known == key:
                return function
        function = tf.function(method, jit_compile=True, autograph=False)
        kept.append((key, function))
        return function

    return compiled


def note_repeated(source, repeated):
    """Called by a layer that gives each time step the same: neurons may take what it was made of.

    Args:
        source: `(batch, ...)`.
        repeated: `(batch, time, ...)`, its copies.
    """
    if tf.inside_function():
        keras_internals.kept_by_graph("keras_mpdsgr_repeated").append((source, repeated))


def source_of(currents):
    """What equal time steps were made of in this graph, `(batch, ...)`; None if not known."""
    known = keras_internals.kept_by_graph("keras_mpdsgr_repeated")
    return next((source for source, repeated in known if repeated is currents), None)


def hidden_zero(x):
    """A zero that no compiler can tell from another number, for `rounded`.

    Args:
        x: A tensor with a batch axis of unknown size, outside of what is compiled.
    """
    return tf.cast(tf.shape(x)[0] < 0, tf.int32)


def rounded(values, zero):
    """The same values, which XLA must round to their type before it adds them to others.

    XLA makes a product and a sum one operation, which rounds once: other bits than TensorFlow's own
    two operations give, and another path of an attack whose gradient they are part of.

    Args:
        values: float32 or float64.
        zero: A `hidden_zero`, given to the compiled function as an argument; None to leave it.
    """
    if zero is None:
        return values
    whole = {tf.float32: tf.int32, tf.float64: tf.int64}[values.dtype]
    bits = tf.bitwise.bitwise_xor(tf.bitcast(values, whole), tf.cast(zero, whole))
    return tf.bitcast(bits, values.dtype)
