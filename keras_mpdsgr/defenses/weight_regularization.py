"""REG: weight matrices are drawn towards orthogonal rows after each step (Ding et al., 2022)."""

import keras
import tensorflow as tf

from keras_mpdsgr import keras_internals
from keras_mpdsgr.arguments import check_integer, check_model, check_number
from keras_mpdsgr.defenses.base import Defense, register

# Both from the public code, SNN-RAT.
_SAMPLED_FROM = 200
_ROW_SHARE = 0.3

_WITH_KERNELS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
)


@register
class WeightRegularization(Defense):
    """Weight regularization, REG (Ding et al., 2022); with adversarial training, RAT.

    After each optimizer step every kernel of a convolution or a dense layer, the read-out's too,
    viewed as W of `[outputs, rest]`, becomes `(1 + beta) W - beta W W^T W`: a step towards
    orthonormal rows (as in Parseval networks), which bounds each layer's gain. Its size is `beta`,
    whatever the learning rate. Of dense layers with 200 outputs and more, a random 30 % of the rows
    take the step, among themselves, others at each step. Learnable branch weights are projected to
    the simplex. It stands in place of weight decay.

    Args:
        beta: Size of the step, positive. 0.002 is the default in the code of the public SNN-RAT,
            5e-4 that of its command line.
        seed: Seed of the rows drawn.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> WeightRegularization().prepare(model)
    >>> model.layers[0].kernel.constraint
    OrthogonalRetraction(beta=0.002)
    """

    name = "reg"
    own_weight_rule = True

    def __init__(self, beta=0.002, seed=0):
        self.beta = check_number("beta", beta, "size of the step to orthonormal rows", above=0)
        self.seed = check_integer("seed", seed, least=0)

    def prepare(self, model):
        """Sets the rule as a constraint on the weights, which Keras applies after each update.

        A loaded model has lost it: to train it further, prepare it again.

        Raises:
            ValueError: If the model is not built, or has another constraint on one of the weights.
        """
        check_model("model", model)
        if not model.built:
            raise ValueError(f"`model` must be built. Received: {model.name!r}, which is not.")
        rules = []
        for number, layer in enumerate(keras_internals.all_layers(model)):
            if isinstance(layer, _WITH_KERNELS):
                _check_free(layer.kernel)
                rules.append((layer.kernel, self._retraction(layer, self.seed + number)))
            branches = getattr(layer, "branch_weights", None)
            if isinstance(branches, keras.Variable):
                _check_free(branches)
                rules.append((branches, SimplexProjection()))
        for variable, rule in rules:
            variable.constraint = rule

    def _retraction(self, layer, seed):
        if not isinstance(layer, keras.layers.Dense) or layer.units < _SAMPLED_FROM:
            return OrthogonalRetraction(self.beta)
        return SampledRetraction(self.beta, _ROW_SHARE, _generator(layer, seed))


class OrthogonalRetraction(keras.constraints.Constraint):
    """`W <- (1 + beta) W - beta W W^T W`, whose steps lead all singular values of W to 1.

    Args:
        beta: Size of the step, positive. Singular values below `sqrt(1 + 2 / beta)` converge.
    """

    def __init__(self, beta):
        self.beta = check_number("beta", beta, "size of the step to orthonormal rows", above=0)

    def __call__(self, w):
        w = tf.convert_to_tensor(w)
        return tf.reshape(self._step(tf.reshape(w, (-1, w.shape[-1]))), w.shape)

    def _step(self, kernel):
        """The step on a kernel `[inputs, outputs]`, W transposed: the rule is the same for it."""
        inputs, outputs = kernel.shape
        if outputs <= inputs:
            cube = kernel @ tf.matmul(kernel, kernel, transpose_a=True)
        else:
            cube = tf.matmul(kernel, kernel, transpose_b=True) @ kernel
        return (1.0 + self.beta) * kernel - self.beta * cube

    def get_config(self):
        return {"beta": self.beta}

    def __repr__(self):
        return f"{type(self).__name__}(beta={self.beta})"


class SampledRetraction(OrthogonalRetraction):
    """The retraction of some rows of W among themselves, drawn again at each step.

    Args:
        beta: Size of the step, positive.
        share: Share of the rows, in [0, 1], rounded down to whole rows.
        seed_generator: The `keras.random.SeedGenerator` that they are drawn by.
    """

    def __init__(self, beta, share, seed_generator):
        super().__init__(beta)
        self.share = check_number("share", share, "share of the rows", least=0, most=1)
        self.seed_generator = seed_generator

    def _step(self, kernel):
        outputs = kernel.shape[-1]
        draws = keras.random.uniform((outputs,), seed=self.seed_generator)
        rows = tf.math.top_k(draws, int(outputs * self.share), sorted=False).indices
        weights = tf.transpose(kernel)
        drawn = tf.transpose(tf.gather(weights, rows))
        moved = tf.transpose(super()._step(drawn))
        return tf.transpose(tf.tensor_scatter_nd_update(weights, rows[:, None], moved))

    def get_config(self):
        generator = keras.saving.serialize_keras_object(self.seed_generator)
        return {**super().get_config(), "share": self.share, "seed_generator": generator}


class SimplexProjection(keras.constraints.Constraint):
    """The nearest weights that are not negative and sum to 1."""

    def __call__(self, w):
        w = tf.convert_to_tensor(w)
        falling = tf.sort(w, direction="DESCENDING")
        excess = tf.cumsum(falling) - 1.0
        counts = tf.range(1, w.shape[0] + 1, dtype=w.dtype)
        # The largest weights stay positive: as many as lie above their own mean excess.
        kept = tf.reduce_sum(tf.cast(counts * falling > excess, tf.int32))
        return tf.nn.relu(w - excess[kept - 1] / tf.cast(kept, w.dtype))


def _generator(layer, seed):
    """The layer's generator of rows, kept by it so that whatever sets seeds finds it."""
    generator = getattr(layer, "row_generator", None)
    if generator is None:
        # Where the weights live on several replicas, so does its state: all draw the same rows.
        weights = layer.kernel.value
        strategy = getattr(weights, "distribute_strategy", tf.distribute.get_strategy())
        with strategy.scope():
            generator = keras.random.SeedGenerator(seed)
        with keras_internals.unlocked(layer):
            layer.row_generator = generator
    return generator


def _check_free(variable):
    ours = (OrthogonalRetraction, SimplexProjection)
    if variable.constraint is not None and not isinstance(variable.constraint, ours):
        raise ValueError(
            f"REG sets a constraint of its own on {variable.path!r}. Received: a model with "
            f"{type(variable.constraint).__name__} there. Leave one of them out."
        )
