"""DLIF: learned gains, and potentials that a perturbation moves little (Ding et al., 2024a)."""

import keras
import tensorflow as tf

from keras_mpdsgr import dynamics, layers
from keras_mpdsgr.arguments import check_choice, check_flag, check_integer, check_number
from keras_mpdsgr.defenses.base import Defense, register
from keras_mpdsgr.defenses.trades import refuse_trades
from keras_mpdsgr.fitting.objective import Objective, seed_of_step

# What of y the loss holds the mean of.
NORMS = {"l2": tf.square, "l1": tf.abs}


@register
class DLIF(Defense):
    """Dynamic LIF neurons, trained on clean and perturbed images together.

    The neurons are `u(t) = tau u(t-1) + p_t I(t)` with a learnable p_t for each time step of each
    layer (`layers.TemporalGain`). The loss is `kappa CE(clean) + (1 - kappa) CE(perturbed) + alpha
    mean(y^2)` with `y(t) = tau y(t-1) + I_clean(t) - I_perturbed(t)`, I the current of the last
    layer of neurons before its gain (Ding et al., 2024a). Images are perturbed by Gaussian noise,
    or, with an adversary, by one FGSM step of its `eps`; its own steps are not used.

    Args:
        tau: Leak factor of the neurons and of y, in [0, 1].
        kappa: Share of the clean images' cross-entropy, in [0, 1].
        alpha: Weight of the mean square of y, not negative; 2.5 to 3 is published for `"l1"`.
        norm: `"l2"` for the mean of y^2, or `"l1"` for that of |y| in its place (MPPD-TV-l1, ICLR
            2026).
        noise: Standard deviation of the Gaussian noise, in units of pixels scaled to [0, 1]; the
            noisy image is cut to [0, 1].
        detach_clean: Whether the gradient of y's square is kept out of I_clean, as in the authors'
            code. With it in both currents y can be lowered by silencing the network: on small runs
            at alpha = 1 it died of that.
        seed: Of the noise; None for one drawn by Python's `random`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> DLIF(alpha=0.5).model_options(timesteps=8)["tau"]
    0.99
    """

    name = "dlif"
    needs_spikes = True

    def __init__(
        self,
        tau=0.99,
        kappa=0.5,
        alpha=1.0,
        noise=8 / 255,
        detach_clean=True,
        seed=None,
        norm="l2",
    ):
        self.tau = check_number("tau", tau, "leak factor", least=0, most=1)
        self.kappa = check_number(
            "kappa", kappa, "share of the clean images' cross-entropy", least=0, most=1
        )
        self.alpha = check_number(
            "alpha", alpha, "weight of the perturbation's mean square", least=0
        )
        self.noise = check_number("noise", noise, "deviation of the noise, in pixels", least=0)
        self.detach_clean = check_flag("detach_clean", detach_clean)
        self.seed = None if seed is None else check_integer("seed", seed, least=0)
        self.norm = check_choice("norm", norm, NORMS)

    def model_options(self, timesteps):
        return {"tau": self.tau, "before_neurons": _gain}

    def objective(self, adversary=None):
        return DLIFObjective(self, adversary)


class DLIFObjective(Objective):
    """The loss of `DLIF`. Metrics are computed on the clean images' logits.

    Args:
        defense: The `DLIF`, for its constants.
        adversary: The `AdversarialTraining`, for its `eps`; None for Gaussian noise.
    """

    def __init__(self, defense, adversary=None):
        super().__init__(adversary)
        refuse_trades(adversary, "dlif")
        if adversary is not None and adversary.method != "pgd":
            raise ValueError(
                "Defence 'dlif' perturbs images by one FGSM step of its own, which goes with "
                f'method="pgd". Received: method={adversary.method!r}.'
            )
        self.defense = defense
        self._seed_generator = None

    def loss(self, model, x, examples, y, task_loss):
        logits, clean_current = _last_current(model, x)
        perturbed_logits, perturbed_current = _last_current(model, examples)
        if self.defense.detach_clean:
            clean_current = tf.stop_gradient(clean_current)
        loss = self.defense.kappa * task_loss(y, logits)
        loss += (1 - self.defense.kappa) * task_loss(y, perturbed_logits)
        # float32: the currents differ by little, and their squares add up.
        difference = tf.cast(clean_current, tf.float32) - tf.cast(perturbed_current, tf.float32)
        energies = perturbation_energy(difference, self.defense.tau, self.defense.norm)
        energy = task_loss.mean(energies)
        return logits, loss + self.defense.alpha * energy

    def examples(self, model, x, y):
        if self.adversary is not None:
            return self.adversary.fast_examples(model, x, y)
        (generator,) = self.seed_generators()
        draws = tf.random.stateless_normal(tf.shape(x), seed_of_step(generator), dtype=x.dtype)
        return tf.clip_by_value(x + self.defense.noise * draws, 0.0, 1.0)

    def seed_generators(self):
        if self.adversary is not None:
            return []
        # Made at first use: under `tf.distribute` that is inside the strategy's scope.
        if self._seed_generator is None:
            self._seed_generator = keras.random.SeedGenerator(self.defense.seed)
        return [self._seed_generator]


def perturbation_energy(difference, tau, norm="l2"):
    """Mean of y^2 of each sample, with `y(t) = tau y(t-1) + difference(t)`, y = 0 at the start.

    Args:
        difference: `(batch, time, ...)`, clean current less perturbed current.
        tau: Leak factor.
        norm: `"l2"`, or `"l1"` for the mean of |y|.

    Returns:
        `(batch,)`.
    """
    size = NORMS[norm]
    sizes, y = [], 0.0
    for step in tf.unstack(difference, axis=1):
        y = tau * y + step
        sizes.append(tf.reduce_mean(size(y), axis=list(range(1, len(y.shape)))))
    return tf.add_n(sizes) / len(sizes)


def _last_current(model, x):
    """Logits, and the current of the last layer of neurons."""
    with dynamics.capture_potentials() as captured:
        logits = model(x, training=True)
    if not captured:
        raise ValueError("DLIF needs a model with at least one LIFLayer. Received one without.")
    return logits, captured[-1].drive


def _gain(name):
    return layers.TemporalGain(name=f"{name}_gain")
