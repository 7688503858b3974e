"""How the branches of a residual block are combined."""

import keras


@keras.saving.register_keras_serializable("keras_mpdsgr")
class WeightedSum(keras.layers.Layer):
    """Sum of branches with one learnable weight each, all equal at the start (Ding et al., 2022).

    Nothing keeps the weights on the simplex; a training rule such as REG's projects them.

    Args:
        **kwargs: Those of `keras.layers.Layer`.

    Input shape: A list of n tensors of one shape.
    Output shape: That shape.

    Attributes:
        branch_weights: The weights, `(n,)`; 1/n each at the start.

    Raises:
        ValueError: If the input is not a list of at least two tensors of one shape.

    Example:

    >>> import keras
    >>> x = keras.ops.ones((1, 3))
    >>> WeightedSum()([x, 3.0 * x]).numpy().tolist()
    [[2.0, 2.0, 2.0]]
    """

    def build(self, input_shape):
        several = isinstance(input_shape, list) and len(input_shape) > 1
        if not several or len({tuple(shape) for shape in input_shape}) != 1:
            raise ValueError(
                "WeightedSum takes a list of at least two tensors of one shape. "
                f"Received: input_shape={input_shape}."
            )
        count = len(input_shape)
        self.branch_weights = self.add_weight(
            name="branch_weights",
            shape=(count,),
            initializer=keras.initializers.Constant(1.0 / count),
        )
        self.built = True

    def call(self, inputs):
        weights = keras.ops.unstack(self.branch_weights)
        return sum(weight * branch for weight, branch in zip(weights, inputs, strict=True))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])
