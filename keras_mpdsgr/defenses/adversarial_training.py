"""Adversarial training: examples made inside the training step (Madry et al., 2018)."""

import contextlib
import functools
import inspect

import keras
import tensorflow as tf

from keras_mpdsgr import dynamics, keras_internals
from keras_mpdsgr.adversaries import LOSSES, METHODS, own_step_size, own_steps
from keras_mpdsgr.arguments import check_choice, check_flag, check_integer, check_number
from keras_mpdsgr.attacks import ascent, losses
from keras_mpdsgr.attacks.ball import ball
from keras_mpdsgr.attacks.gradients import float_logits, image_gradient
from keras_mpdsgr.defenses.trades import TradesObjective, kl_divergence
from keras_mpdsgr.fitting.objective import Objective, class_numbers, seed_of_step
from keras_mpdsgr.inputs import check_radius

# In multiples of eps, from the public code of de Jorge et al.
_N_FGSM_NOISE = 2.0


class AdversarialTraining:
    """The adversary of adversarial training: new examples in each step.

    The model makes them with the statistics of inference (Jiang et al., 2026); only the image gets
    a gradient. They are made by one of three methods:

    - `"pgd"`: gradient steps from a uniform point of the ball, each of `eps / min(steps, 4)`. At
      the paper's radius and number of steps that is the 1/255 of the public SNN-RAT code; with 7
      steps at 8/255, the 2/255 of Madry et al.
    - `"fgsm_rs"` (Wong et al., 2020): one step of `1.25 eps` from a uniform point of the ball,
      projected on the ball.
    - `"n_fgsm"` (de Jorge et al., 2022): noise from U(-2 eps, 2 eps), then one step of `eps` along
      the gradient there. The image is cut to [0, 1] after both, and not projected on the ball: the
      larger noise is what keeps training by a single step from failing all of a sudden.

    With `loss="pgd"` the network is trained on the examples alone. With `loss="trades"` (Zhang et
    al., 2019) the loss is `CE(clean) + beta * KL(p_clean || p_adversarial)`, the examples raise
    that KL, and gradients flow into both distributions. Both kinds start at a uniform point of the
    ball. TRADES' own code starts at Gaussian noise of deviation 0.001, where a spiking network may
    give the very same logits, whose KL has no gradient.

    Args:
        eps: Radius of the L-infinity ball, in units of pixels scaled to [0, 1].
        steps: Number of gradient steps k, at least 1; None for the method's own, 2 or 1. The
            methods of a single step take no other number.
        step_size: Length of one step, same unit as `eps`; None for the method's own:
            `eps / min(steps, 4)`, `1.25 * eps` or `eps`.
        loss: What is trained on the examples, `"pgd"` (the loss on them alone) or `"trades"`.
        beta: Weight of TRADES' KL, not negative.
        random_start: Whether to start at a uniform point of the ball, and not at the image. TRADES
            and the methods of a single step need it: at the image TRADES' KL has no gradient.
        seed: Of the random starts; None for one drawn by Python's `random`, which
            `keras.utils.set_random_seed` seeds. XLA draws other numbers from the same seed.
        method: `"pgd"`, `"fgsm_rs"` or `"n_fgsm"`; TRADES goes with the first two.
        gradient: The backward pass of spiking neurons while examples are made: a name of
            `dynamics.mode_names()`, such as `"assg"` or `"bptr"`, or a `GradientMode`, such as
            `GradientMode(detach_reset=True)`. None for the one that the weights are trained by,
            which `gradient` never changes.
        warmup_steps: Optimizer steps over which `eps`, and with it step and noise, rises linearly
            from 0, by `DefendedModel`'s count of steps; 0 for none.

    Raises:
        ValueError: If an argument is out of its range, or two cannot be combined.

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
        steps=None,
        step_size=None,
        loss="pgd",
        beta=6.0,
        random_start=True,
        seed=None,
        method="pgd",
        gradient=None,
        warmup_steps=0,
    ):
        self.method = check_choice("method", method, METHODS)
        self.eps = check_radius("eps", eps)
        steps = own_steps(method) if steps is None else steps
        self.steps = check_integer("steps", steps, "gradient steps", least=1)
        # 1.25 times a radius near 1 is above the 1 that a radius may have.
        own_size = own_step_size(method, self.eps, self.steps)
        self.step_size = own_size if step_size is None else check_radius("step_size", step_size)
        self.loss = check_choice("loss", loss, LOSSES)
        self.beta = check_number("beta", beta, "weight of TRADES' KL divergence", least=0)
        self.random_start = check_flag("random_start", random_start)
        self.seed = None if seed is None else check_integer("seed", seed, least=0)
        self.gradient = gradient
        if gradient is not None:
            dynamics.get_mode(gradient)
        self.warmup_steps = check_integer("warmup_steps", warmup_steps, "optimizer steps", least=0)
        self._refuse_combinations()
        self._seed_generator = None

    def _refuse_combinations(self):
        loss, random_start = self.loss, self.random_start
        if self.method != "pgd" and self.steps != 1:
            raise ValueError(
                f"`steps` must be 1, or left out, with method={self.method!r}, which takes a "
                f"single step. Received: steps={self.steps}."
            )
        if self.method != "pgd" and not random_start:
            raise ValueError(
                f"`random_start` must be True with method={self.method!r}, whose step starts at "
                "noise. Received: False."
            )
        if self.method == "n_fgsm" and loss == "trades":
            raise ValueError(
                '`method` must be "pgd" or "fgsm_rs" with loss="trades", whose divergence is taken '
                'inside the ball: the images of "n_fgsm" leave it. Received: "n_fgsm".'
            )
        if loss == "trades" and not random_start:
            raise ValueError(
                '`random_start` must be True with loss="trades": at the image itself the KL '
                "divergence has no gradient. Received: False."
            )

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
            model: A Keras model, or the `ModelInStep` that an objective is given, which knows the
                step that a warm-up has come to; called as `model(x, training=False)`.
            x: Images, `(batch, ...)`, in [0, 1].
            y: Labels, `(batch,)` or `(batch, 1)`, or one-hot `(batch, classes)`.

        Returns:
            Images in the shape of `x`, within [0, 1] and (not with `"n_fgsm"`) within `eps` of it;
            no gradient flows through them.
        """
        x = _pixels(x)
        share = self._share(model)
        allowed = self._allowed(x, share)
        if self.loss == "trades":
            reference, raised = tf.stop_gradient(float_logits(model, x)), kl_divergence
        else:
            reference, raised = class_numbers(y), losses.cross_entropy
        start = self._start(x, allowed, share)
        return self._ascended(
            model, start, allowed, self.steps, self.step_size * share, raised, reference
        )

    def fast_examples(self, model, x, y):
        """As `examples`, by one step of length `eps` from the image itself (FGSM)."""
        x = _pixels(x)
        eps = self.eps * self._share(model)
        allowed, labels = ball(x, eps), class_numbers(y)
        return self._ascended(model, x, allowed, 1, eps, losses.cross_entropy, labels)

    def get_config(self):
        """The arguments, by name."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names}

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"

    def _share(self, model):
        """Share of the full radius, in [0, 1], at the step that a `ModelInStep` is in."""
        step = getattr(model, "step", None)
        if not self.warmup_steps or step is None:
            return 1.0
        # float64, in which the ball is rounded.
        done = tf.cast(tf.convert_to_tensor(step), tf.float64) / self.warmup_steps
        return tf.minimum(done, tf.ones_like(done))

    def _allowed(self, x, share):
        if self.method == "n_fgsm":
            return tf.zeros_like(x), tf.ones_like(x)
        return ball(x, self.eps * share)

    def _start(self, x, allowed, share):
        if not self.random_start:
            return x
        (generator,) = self.seed_generators()
        seed = seed_of_step(generator)
        reach = self.eps * (_N_FGSM_NOISE if self.method == "n_fgsm" else 1.0)
        reach = tf.cast(reach * share, tf.float32)
        offset = tf.random.stateless_uniform(tf.shape(x), seed, -reach, reach)
        return ascent.start(x, allowed, offset=offset)

    def _ascended(self, model, image, allowed, steps, step_size, loss, reference):
        """Where steps along the gradient of `loss(logits, reference)` lead from an image."""
        logits_of = functools.partial(float_logits, model)

        def raised(logits):
            return loss(logits, reference)

        step = functools.partial(ascent.steepest, step_size=tf.cast(step_size, tf.float32))
        state = {"image": image, "mode": ()}
        with self._backward(model) as mode:

            def gradient_at(image, carried):
                if mode is None:
                    return *image_gradient(logits_of, image, raised), carried
                mode.begin(carried)
                return *image_gradient(logits_of, image, raised), mode.state()

            for _ in range(steps):
                state = ascent.advance(state, allowed, gradient_at, step)
        return tf.stop_gradient(state["image"])

    @contextlib.contextmanager
    def _backward(self, model):
        """The scope of `gradient`, as a step is traced: it ends before the weights' gradient."""
        if self.gradient is None:
            yield None
            return
        model = getattr(model, "keras_model", model)
        alone = tf.distribute.get_strategy().num_replicas_in_sync == 1
        if not alone and keras_internals.seed_generators(model):
            raise keras_internals.plain_error(
                "`gradient` of adversarial training cannot be combined with random layers on "
                f"several replicas, which are traced in turns. Received: {self.gradient!r} and "
                f"{model.name!r}. Leave one of them out."
            )
        with dynamics.gradient_mode(self.gradient) as mode:
            yield mode
        if mode.calls == 0:
            raise keras_internals.plain_error(
                f"`gradient` of adversarial training needs a model with spiking layers. Received: "
                f"{self.gradient!r} and {model.name!r}, which has none."
            )


def _pixels(x):
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        raise ValueError(
            "Adversarial training needs floating-point pixels in [0, 1]. Received: "
            f"dtype={x.dtype.name}. Divide 8-bit pixels by 255."
        )
    return tf.cast(x, tf.float32)
