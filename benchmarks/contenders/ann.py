"""The floor: the same VGG11 with ReLU for LIF, on as many images as the window has time steps."""

import keras
import numpy as np

from benchmarks.contenders.base import EPS, PGD_STEPS, STEP_SIZE, Peer
from benchmarks.contenders.case import CLASSES
from benchmarks.contenders.keras_network import KerasNetwork
from benchmarks.contenders.vgg11 import MEAN, PLAN, STD, UNITS, scaled
from keras_mpdsgr import attacks
from keras_mpdsgr.layers import TDBatchNormalization
from keras_mpdsgr.models.policies import policy_scope


class PlainNetwork(KerasNetwork, Peer):
    """VGG11 of ReLUs on `timesteps * batch` images.

    The batch normalization is this library's, which calls TensorFlow's fused kernel: Keras' own
    would make the floor slower.

    Args:
        case: The `Case`.
        jit: XLA: `"auto"` (whole steps on a GPU, neurons alone on a CPU), `"on"` or `"off"`.
        policy: Keras' dtype policy of the layers; pixels and logits stay float32.
    """

    def __init__(self, case, jit="auto", policy="float32"):
        with policy_scope(policy):
            model = self._network(case)
        super().__init__(case, model, jit)
        self.is_bfloat16 = "bfloat16" in policy
        self.images = np.repeat(self.images, case.timesteps, axis=0)
        self.labels = np.repeat(self.labels, case.timesteps, axis=0)
        self._pgd = attacks.PGD(eps=EPS, steps=PGD_STEPS, step_size=STEP_SIZE, jit=jit)

    def _network(self, case):
        image = keras.Input((case.image_size, case.image_size, 3))
        variance = [deviation**2 for deviation in STD]
        x = keras.layers.Normalization(mean=MEAN, variance=variance, dtype="float32")(image)
        self._currents, before = [], [image]
        for step in PLAN:
            if step == "pool":
                x = keras.layers.AveragePooling2D(2)(x)
                continue
            x = keras.layers.Conv2D(scaled(step, case.width), 3, padding="same", use_bias=False)(x)
            x = TDBatchNormalization()(x)
            self._currents.append(x)
            x = keras.layers.ReLU()(x)
            before.append(x)
        x = keras.layers.Flatten()(x)
        for units in UNITS:
            x = keras.layers.Dense(scaled(units, case.width))(x)
            self._currents.append(x)
            x = keras.layers.ReLU()(x)
            before.append(x)
        x = keras.layers.Dense(CLASSES)(x)
        logits = keras.layers.Activation("linear", dtype="float32")(x)
        self._currents.append(logits)
        self._before = before
        return keras.Model(image, logits)

    def attack(self):
        return self._pgd(self.model, self.images, self.labels, batch_size=len(self.images))

    def currents(self, number, inputs):
        steps = self.case.timesteps
        images = number == 0
        folded = np.repeat(inputs, steps, 0) if images else inputs.reshape(-1, *inputs.shape[2:])
        stage = keras.Model(self._before[number], self._currents[number])
        outputs = stage(folded, training=False).numpy().astype("float32")
        return outputs.reshape(-1, steps, *outputs.shape[1:])

    def spikes(self, number, currents):
        return None
