"""This library's VGG11, attacked by its own PGD."""

import keras

from benchmarks.contenders.base import EPS, PGD_STEPS, STEP_SIZE
from benchmarks.contenders.case import CLASSES
from benchmarks.contenders.keras_network import KerasNetwork
from keras_mpdsgr import attacks, defenses, dynamics, keras_internals, models
from keras_mpdsgr.models.policies import policy_scope


class Ours(KerasNetwork):
    """VGG11 of `keras_mpdsgr.models`.

    Args:
        case: The `Case`.
        jit: XLA: `"auto"` (whole steps on a GPU, neurons alone on a CPU), `"on"` or `"off"`.
        policy: Keras' dtype policy of the layers.
        **options: More arguments of `models.vgg11`.
    """

    def __init__(self, case, jit="auto", policy="float32", **options):
        keras.utils.set_random_seed(case.seed)
        size = case.image_size
        with policy_scope(policy):
            model = models.vgg11(
                (size, size, 3), CLASSES, timesteps=case.timesteps, width=case.width, tau=case.tau,
                **{"track_omega": False, **options},
            )  # fmt: skip
        super().__init__(case, model, jit)
        self._pgd = attacks.PGD(eps=EPS, steps=PGD_STEPS, step_size=STEP_SIZE, jit=jit)

    def attack(self):
        return self._pgd(self.model, self.images, self.labels, batch_size=len(self.images))

    def settle(self):
        """Sets tdBN's statistics to those of the batch, so that the neurons fire as in training."""
        norms = [
            layer for layer in keras_internals.all_layers(self.model) if hasattr(layer, "lambda_")
        ]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        self.model(self.images, training=True)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    def activity(self, images):
        """Currents and spikes of each layer of neurons, a list of pairs, and the logits."""
        with dynamics.capture_potentials() as layers:
            logits = self.model(images, training=False)
        return [(a.currents.numpy(), a.spikes.numpy()) for a in layers], logits.numpy()


class Adversarial(Ours):
    """The same network in adversarial training.

    Args:
        case: The `Case`.
        method: How the examples are made, of `defenses.AdversarialTraining`.
        steps: Their gradient steps; None for the method's own.
        **options: More arguments of `Ours`.
    """

    def __init__(self, case, method="pgd", steps=None, **options):
        self._adversary = {"method": method, "steps": steps}
        super().__init__(case, **options)

    def trainer(self, model):
        adversary = defenses.AdversarialTraining(eps=EPS, seed=0, **self._adversary)
        return defenses.DefendedModel(model, adversary.objective())
