"""Activations that are computed again in the backward pass instead of being kept."""

import keras
import tensorflow as tf

from keras_mpdsgr import keras_internals
from keras_mpdsgr.layers.call_losses import add_call_loss, gathered_call_losses
from keras_mpdsgr.layers.lif import LIFLayer


@keras.saving.register_keras_serializable("keras_mpdsgr")
class Recompute(keras.layers.Wrapper):
    """Keeps only a layer's input for the backward pass, and runs the layer again there.

    In training, the memory of everything between the input and the output of `layer` (currents,
    normalized currents, membrane potentials) is given back after the forward pass; the backward
    pass pays one more forward pass of the layer. Losses, metrics, statistics and seeds behave as
    without it: random numbers are the same in both passes, and the second changes no state. Outside
    training the layer is called as it is, so that attacks see no difference.

    Wrap what lies between two small tensors, as a block that ends in a pool: its input is what is
    kept.

    Args:
        layer: A Keras layer or model with one input and one output, tensors of floating point.
        **kwargs: Those of `keras.layers.Wrapper`.

    Input shape: As of `layer`.
    Output shape: As of `layer`.

    Raises:
        ValueError: If `layer` is not a Keras layer, or, in training, holds stateful neurons.

    Example:

    >>> import keras
    >>> from keras_mpdsgr import LIFLayer, layers
    >>> block = keras.Sequential([
    ...     keras.Input((4, 8, 8, 3)),
    ...     layers.FoldTime(keras.layers.Conv2D(5, 3)),
    ...     LIFLayer(),
    ... ])
    >>> Recompute(block)(keras.ops.ones((2, 4, 8, 8, 3)), training=True).shape
    TensorShape([2, 4, 6, 6, 5])
    """

    def __init__(self, layer, **kwargs):
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(f"`layer` must be a Keras layer. Received: {layer!r}.")
        super().__init__(layer, **kwargs)
        self._takes_training = keras_internals.takes_training(layer)

    def call(self, inputs, training=None):
        if not training:
            return self._run(inputs, training)
        self._check_forgets()
        weights = self.layer.trainable_variables
        changing = [*self.layer.non_trainable_variables, *self.layer.metrics_variables]
        before = [tf.identity(variable.value) for variable in changing]
        owners = []

        @tf.custom_gradient
        def outputs_of(x, *values):
            results = self._stateless(x, weights, values, changing, before)
            outputs, losses, after, owners[:] = results

            def backward(outputs_gradient, losses_gradient, *_):
                # Not before the gradient is there; nor will TensorFlow, then, take the two passes
                # for one and keep the first.
                with tf.control_dependencies([outputs_gradient]):
                    again = [tf.identity(tensor) for tensor in (x, *values)]
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(again)
                    results = self._stateless(again[0], weights, again[1:], changing, before)
                return tape.gradient(
                    results[:2],
                    again,
                    [outputs_gradient, losses_gradient],
                    unconnected_gradients="zero",
                )

            return (outputs, losses, *after), backward

        outputs, losses, *after = outputs_of(inputs, *(variable.value for variable in weights))
        for variable, value in zip(changing, after, strict=True):
            variable.assign(tf.stop_gradient(value))
        others, *of_calls = tf.unstack(losses)
        self.add_loss(others)
        for layer, loss in zip(owners, of_calls, strict=True):
            add_call_loss(layer, loss)
        return outputs

    def _check_forgets(self):
        for layer in keras_internals.all_layers(self.layer):
            if isinstance(layer, LIFLayer) and layer.stateful:
                raise keras_internals.plain_error(
                    "Recompute runs its layer twice, which would move potentials that are kept on "
                    f"twice. Received: {layer.name!r}, a LIFLayer with stateful=True. Leave one of "
                    "the two out."
                )

    def _run(self, inputs, training):
        return self.layer(inputs, **({"training": training} if self._takes_training else {}))

    def _stateless(self, inputs, weights, values, changing, before):
        """What a call of the layer gives, and what it changes.

        Returns:
            Outputs; losses, the sum of those that layers add and then each that is a mean over a
            layer's calls; the new values of `changing`; the layers of the latter losses.
        """
        pairs = [*zip(weights, values, strict=True), *zip(changing, before, strict=True)]
        scope = keras.StatelessScope(state_mapping=pairs, collect_losses=True)
        with scope, gathered_call_losses() as gathered:
            outputs = self._run(inputs, True)
        zero = tf.zeros((), keras.config.floatx())
        others = tf.add_n([zero, *(tf.cast(loss, zero.dtype) for loss in scope.losses)])
        losses = tf.stack([others, *(tf.cast(loss, zero.dtype) for _, loss in gathered)])
        after = [scope.get_current_value(variable) for variable in changing]
        return outputs, losses, after, [layer for layer, _ in gathered]

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)
