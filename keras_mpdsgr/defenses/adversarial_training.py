"""Adversarial training: examples made inside the training step (Madry et al., 2018), and TRADES."""

import functools

import keras
import tensorflow as tf

from keras_mpdsgr.arguments import check_choice, check_flag, check_integer, check_number
from keras_mpdsgr.attacks import ascent, losses
from keras_mpdsgr.attacks.ball import ball
from keras_mpdsgr.attacks.gradients import float_logits, image_gradient
from keras_mpdsgr.fitting.objective import Objective, seed_of_step
from keras_mpdsgr.inputs import check_radius

LOSSES = ("pgd", "trades")


class AdversarialTraining:
    """The adversary of adversarial training: PGD examples, made anew in each step.

    The model makes them with the statistics of inference (Jiang et al., 2026); only the image gets
    a gradient. The defaults are the paper's, its step size that of the public SNN-RAT code.

    With `loss="pgd"` the network is trained on the examples alone. With `loss="trades"` (Zhang et
    al., 2019) the loss is `CE(clean) + beta * KL(p_clean || p_adversarial)`, the examples raise
    that KL, and gradients flow into both distributions. Both kinds start at a uniform point of the
    ball. TRADES' own code starts at Gaussian noise of deviation 0.001, where a spiking network may
    give the very same logits, whose KL has no gradient.

    Args:
        eps: Radius of the L-infinity ball, in units of pixels scaled to [0, 1].
        steps: Number of gradient steps k, at least 1.
        step_size: Length of one step, same unit as `eps`.
        loss: `"pgd"` or `"trades"`.
        beta: Weight of TRADES' KL, not negative.
        random_start: Whether to start at a uniform point of the ball, and not at the image. TRADES
            needs it: at the image its KL has no gradient.
        seed: Of the random starts; None for one drawn by Python's `random`, which
            `keras.utils.set_random_seed` seeds. XLA draws other numbers from the same seed.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import keras, tensorflow as tf
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = tf.fill((3, 4), 0.5), tf.zeros(3, tf.int32)
    >>> moved = AdversarialTraining(eps=0.1, step_size=0.1).examples(model, x, y) - x
    >>> float(tf.reduce_max(tf.abs(moved)))
    0.1
    """

    def __init__(
        self,
        eps=2 / 255,
        steps=2,
        step_size=1 / 255,
        loss="pgd",
        beta=6.0,
        random_start=True,
        seed=None,
    ):
        self.eps = check_radius("eps", eps)
        self.steps = check_integer("steps", steps, "gradient steps", least=1)
        self.step_size = check_radius("step_size", step_size)
        self.loss = check_choice("loss", loss, LOSSES)
        self.beta = check_number("beta", beta, "weight of TRADES' KL divergence", least=0)
        self.random_start = check_flag("random_start", random_start)
        self.seed = None if seed is None else check_integer("seed", seed, least=0)
        if loss == "trades" and not random_start:
            raise ValueError(
                '`random_start` must be True with loss="trades": at the image itself the KL '
                "divergence has no gradient. Received: False."
            )
        self._seed_generator = None

    def objective(self):
        """The `Objective` of training against this adversary."""
        return TradesObjective(self) if self.loss == "trades" else Objective(self)

    def seed_generators(self):
        """The `keras.random.SeedGenerator` of the starts, in a list; empty where none is drawn."""
        if not self.random_start:
            return []
        # Made at first use: under `tf.distribute` that is inside the strategy's scope.
        if self._seed_generator is None:
            self._seed_generator = keras.random.SeedGenerator(self.seed)
        return [self._seed_generator]

    def examples(self, model, x, y):
        """Adversarial images of one batch, for use while a training step runs or is traced.

        Args:
            model: The model, called as `model(x, training=False)`.
            x: Images, `(batch, ...)`, in [0, 1].
            y: Labels, `(batch,)` or `(batch, 1)`, or one-hot `(batch, classes)`.

        Returns:
            Images in the shape of `x`, within `eps` of it and within [0, 1]; no gradient flows
            through them.
        """
        x = _pixels(x)
        allowed = ball(x, self.eps)
        if self.loss == "trades":
            reference, raised = tf.stop_gradient(float_logits(model, x)), kl_divergence
        else:
            reference, raised = class_numbers(y), losses.cross_entropy
        start = self._start(x, allowed)
        return _ascended(model, start, allowed, self.steps, self.step_size, raised, reference)

    def fast_examples(self, model, x, y):
        """As `examples`, by one step of length `eps` from the image itself (FGSM)."""
        x = _pixels(x)
        allowed, labels = ball(x, self.eps), class_numbers(y)
        return _ascended(model, x, allowed, 1, self.eps, losses.cross_entropy, labels)

    def get_config(self):
        """The arguments, by name."""
        names = ("eps", "steps", "step_size", "loss", "beta", "random_start", "seed")
        return {name: getattr(self, name) for name in names}

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"

    def _start(self, x, allowed):
        if not self.random_start:
            return x
        (generator,) = self.seed_generators()
        seed = seed_of_step(generator)
        offset = tf.random.stateless_uniform(tf.shape(x), seed, -self.eps, self.eps)
        return ascent.start(x, allowed, offset=offset)


def _ascended(model, image, allowed, steps, step_size, loss, reference):
    """Where steps along the gradient of `loss(logits, reference)` lead from an image."""

    def gradient_at(image, mode):
        logits_of = functools.partial(float_logits, model)
        return *image_gradient(logits_of, image, lambda z: loss(z, reference)), mode

    step = functools.partial(ascent.steepest, step_size=step_size)
    state = {"image": image, "mode": ()}
    for _ in range(steps):
        state = ascent.advance(state, allowed, gradient_at, step)
    return tf.stop_gradient(state["image"])


class TradesObjective(Objective):
    """TRADES' loss (Zhang et al., 2019): `CE(clean) + beta * KL(p_clean || p_adversarial)`.

    Metrics are computed on the clean logits.

    Args:
        adversary: The `AdversarialTraining`; it holds beta.
    """

    def __call__(self, model, x, y, task_loss):
        examples = self.adversary.examples(model, x, y)
        clean = model(x, training=True)
        perturbed = tf.cast(model(examples, training=True), tf.float32)
        divergence = task_loss.mean(kl_divergence(perturbed, tf.cast(clean, tf.float32)))
        return clean, task_loss(y, clean) + self.adversary.beta * divergence


def refuse_trades(adversary, name):
    """Raises ValueError if a defence with a loss of its own is given TRADES'."""
    if adversary is not None and adversary.loss == "trades":
        raise ValueError(
            f'Defence {name!r} has a loss of its own, which goes with loss="pgd". '
            'Received: loss="trades".'
        )


def kl_divergence(logits, reference):
    """KL(p || q) in nats, `(batch,)`: p from the reference's logits, q from the others."""
    log_p, log_q = tf.nn.log_softmax(reference), tf.nn.log_softmax(logits)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)


def class_numbers(y):
    """Labels as class numbers, `(batch,)` int32, from class numbers or one-hot rows."""
    y = tf.convert_to_tensor(y)
    if y.shape.rank == 2 and y.shape[1] != 1:
        return tf.argmax(y, axis=1, output_type=tf.int32)
    return tf.cast(tf.reshape(y, (-1,)), tf.int32)


def _pixels(x):
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        raise ValueError(
            "Adversarial training needs floating-point pixels in [0, 1]. Received: "
            f"dtype={x.dtype.name}. Divide 8-bit pixels by 255."
        )
    return tf.cast(x, tf.float32)
