"""Stochastic gates on spikes, with one learnable probability a neuron."""

import keras
import tensorflow as tf

from keras_mpdsgr.arguments import check_choice, check_integer, check_number
from keras_mpdsgr.layers.arguments import check_sequence
from keras_mpdsgr.layers.traces import TracedSettings

REDUCTIONS = ("sum", "mean")

# Keeps the slope 1 / (p (1 - p)) of the relaxation finite at p = 1; the size is the public code's.
_DISTANCE_FROM_ONE = 1e-3


def check_gate(minimum, temperature, prior, reduction, seed):
    """Returns the arguments of a `StochasticGate`, if each is in its range."""
    return (
        check_number("minimum", minimum, "least probability of a gate", above=0, most=1),
        check_number("temperature", temperature, "of the relaxed gates", above=0),
        check_number("prior", prior, "weight of the L2 prior", least=0),
        check_choice("reduction", reduction, REDUCTIONS),
        None if seed is None else check_integer("seed", seed, least=0),
    )


@keras.saving.register_keras_serializable("keras_mpdsgr")
class StochasticGate(TracedSettings, keras.layers.Layer):
    """Multiplies spikes by Bernoulli gates with one learnable probability a neuron (StoG).

    In training every spike passes its gate with the probability p of its neuron (Ding et al.,
    2024b). New gates are drawn for each sample and each time step, as in the public code. They are
    zeros and ones; their gradient is that of the Concrete relaxation (Maddison et al., 2017) at the
    same draw u, `z = sigmoid((logit(p) - logit(u)) / temperature)`. In inference, and so under
    attack, the gates are off: spikes pass unchanged.

    The prior on the probabilities is a regularizer of the weight, `prior / 2 * sum of p^2`, so that
    its gradient is `prior * p`. The weight is listed in `undecayed`: no weight decay on top of it.

    Args:
        minimum: Least probability, in (0, 1]; a constraint clips p to [minimum, 1] after each
            optimizer step.
        temperature: Of the relaxation, positive.
        prior: Weight of the L2 prior, not negative.
        reduction: How gradients of p are gathered over batch and time: `"sum"`, which is the
            gradient of the loss, or `"mean"`, as in the public code, by which the prior weighs
            `batch * time` times more. (That code also has the gradient's sign reversed; here it is
            the derivative's.)
        seed: Seed of the gates; None for one drawn from Keras' global seed.
        **kwargs: Those of `keras.layers.Layer`.

    Input shape: `(batch, time, ...)`, spikes, static behind the batch axis.
    Output shape: the same.

    Attributes:
        probability: The weight p, `(...)`, from 1.

    Raises:
        ValueError: If an argument is out of its range, or the input's shape is not known.

    Example:

    >>> import keras
    >>> gate = StochasticGate(seed=0)
    >>> spikes = keras.ops.ones((1, 1000, 2))
    >>> opened = gate(spikes, training=True)
    >>> gate.set_weights([keras.ops.array([1.0, 0.25])])
    >>> open_share = keras.ops.mean(gate(spikes, training=True), axis=1)
    >>> [f"{share:.1f}" for share in open_share[0]]
    ['1.0', '0.3']
    >>> bool(keras.ops.all(gate(spikes) == spikes))
    True
    """

    def __init__(
        self, minimum=0.1, temperature=0.5, prior=5e-6, reduction="sum", seed=None, **kwargs
    ):
        super().__init__(**kwargs)
        checked = check_gate(minimum, temperature, prior, reduction, seed)
        self.minimum, self.temperature, self.prior, self.reduction, self.seed = checked
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    @property
    def undecayed(self):
        """Variables that get no weight decay."""
        return [self.probability] if self.built else []

    def build(self, input_shape):
        check_sequence(self, input_shape)
        neurons = tuple(input_shape[2:])
        if None in neurons:
            raise ValueError(
                "StochasticGate has a probability for each neuron, so that all axes behind time "
                f"must be static. Received: input_shape={tuple(input_shape)}."
            )
        self.probability = self.add_weight(
            name="probability",
            shape=neurons,
            initializer="ones",
            # Half the prior, as the gradient of p^2 is 2 p.
            regularizer=keras.regularizers.L2(self.prior / 2),
            constraint=ClipProbability(self.minimum),
            dtype=self.variable_dtype,
            autocast=False,
        )
        self.built = True

    def call(self, inputs, training=None):
        self.note_trace()
        if not training:
            return inputs
        probability = tf.convert_to_tensor(self.probability)
        uniform = keras.random.uniform(
            tf.shape(inputs), dtype=probability.dtype, seed=self.seed_generator
        )
        gates = _draw_gates(probability, uniform, self.temperature, self.reduction)
        return inputs * tf.cast(gates, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        config = super().get_config()
        config.update(
            minimum=self.minimum,
            temperature=self.temperature,
            prior=self.prior,
            reduction=self.reduction,
            seed=self.seed,
        )
        return config


@keras.saving.register_keras_serializable("keras_mpdsgr")
class ClipProbability(keras.constraints.Constraint):
    """Clips a weight to [minimum, 1] after each optimizer step.

    Args:
        minimum: Least value, in (0, 1].
    """

    def __init__(self, minimum):
        self.minimum = check_number("minimum", minimum, above=0, most=1)

    def __call__(self, w):
        return tf.clip_by_value(tf.convert_to_tensor(w), self.minimum, 1.0)

    def get_config(self):
        return {"minimum": self.minimum}


def _draw_gates(probability, uniform, temperature, reduction):
    """Gates 1[u < p], differentiated as if they were the relaxed ones of the same draw."""

    @tf.custom_gradient
    def gates(p, u):
        def backward(upstream):
            inner = tf.minimum(p, 1.0 - _DISTANCE_FROM_ONE)
            z = tf.sigmoid((_logit(inner) - _logit(u)) / temperature)
            slope = z * (1.0 - z) / (temperature * inner * (1.0 - inner))
            gather = tf.reduce_sum if reduction == "sum" else tf.reduce_mean
            return gather(upstream * slope, axis=(0, 1)), None

        return tf.cast(u < p, p.dtype), backward

    return gates(probability, uniform)


def _logit(x):
    return tf.math.log(x) - tf.math.log1p(-x)
