"""StoG: stochastic gates behind all neurons (Ding et al., 2024b)."""

import keras

from keras_mpdsgr import keras_internals
from keras_mpdsgr.arguments import check_integer, check_number
from keras_mpdsgr.defenses.base import Defense, register
from keras_mpdsgr.layers import StochasticGate
from keras_mpdsgr.layers.gating import check_gate


@register
class StochasticGating(Defense):
    """Puts a `StochasticGate` behind each layer of neurons (StoG; Ding et al., 2024b).

    The gates' probabilities learn at the learning rate of all weights, as in the public code, which
    gives them an optimizer of their own for the sake of weight decay alone.

    Args:
        minimum: Least probability of a gate, in (0, 1].
        temperature: Of the relaxed gates, positive.
        prior: Weight of the L2 prior on the probabilities, not negative.
        reduction: `"mean"` gathers the gradients of a probability over batch and time as the public
            code does; `"sum"` is the gradient of the loss.
        learning_share: Share of the training after which the probabilities stay as they are, in
            [0, 1]: 1/2 in the public code (100 of 200 epochs).
        seed: Seed of the gates; None for ones drawn from Keras' global seed.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> put_behind = StochasticGating(seed=0).model_options(timesteps=8)["after_neurons"]
    >>> put_behind("conv1_lif").name
    'conv1_lif_gate'
    """

    name = "stog"
    needs_spikes = True

    def __init__(
        self,
        minimum=0.1,
        temperature=0.5,
        prior=5e-6,
        reduction="mean",
        learning_share=0.5,
        seed=None,
    ):
        checked = check_gate(minimum, temperature, prior, reduction, seed)
        self.minimum, self.temperature, self.prior, self.reduction, self.seed = checked
        self.learning_share = check_number(
            "learning_share",
            learning_share,
            "share of the training in which gates learn",
            least=0,
            most=1,
        )

    def model_options(self, timesteps):
        made = []

        def put_behind(name):
            # Layers of one seed would draw the same numbers.
            seed = None if self.seed is None else self.seed + len(made)
            made.append(name)
            return StochasticGate(
                self.minimum,
                self.temperature,
                self.prior,
                self.reduction,
                seed,
                name=f"{name}_gate",
            )

        return {"after_neurons": put_behind}

    def callbacks(self, total_steps, warmup_steps=0):
        return [FreezeGates(round(self.learning_share * total_steps))]


class FreezeGates(keras.callbacks.Callback):
    """Keeps the probabilities of all `StochasticGate`s as they are from a step on.

    Looked at as each epoch begins, and by `optimizer.iterations` alone, so that a resumed training
    continues exactly. After training they may be trained again.

    Args:
        step: Optimizer step, at least 0.

    Raises:
        ValueError: If `step` is not a whole number >= 0.
    """

    def __init__(self, step):
        super().__init__()
        self.step = check_integer("step", step, "optimizer step", least=0)

    def on_train_begin(self, logs=None):
        # Before any gate is frozen: the optimizer's state has the same variables at every step.
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)

    def on_epoch_begin(self, epoch, logs=None):
        if int(self.model.optimizer.iterations.numpy()) >= self.step:
            self._set_trainable(False)

    def on_train_end(self, logs=None):
        self._set_trainable(True)

    def _set_trainable(self, trainable):
        layers = keras_internals.all_layers(self.model)
        gates = [layer for layer in layers if isinstance(layer, StochasticGate)]
        changed = [gate for gate in gates if gate.trainable != trainable]
        for gate in changed:
            gate.trainable = trainable
        if changed:
            # The compiled step has the list of weights built in.
            self.model.make_train_function(force=True)
