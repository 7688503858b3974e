"""AWP: the loss is taken where a step of the weights has raised it most (Wu et al., 2020)."""

import keras
import tensorflow as tf

from keras_mpdsgr import keras_internals
from keras_mpdsgr.arguments import check_number
from keras_mpdsgr.defenses.weight_decay import undecayed
from keras_mpdsgr.fitting.objective import ModelInStep, Objective


class AdversarialWeightPerturbation(Objective):
    """Adversarial weight perturbation, AWP (Wu et al., 2020), around any objective.

    In each step the examples are made with the weights as they are. Then each kernel w goes one
    step up the objective's loss on them, with gradient g, to
    `w + gamma * ||w|| / ||g|| * g` (norms over the whole tensor), the step's loss and gradient are
    taken there, and the weights are put back, to the last bit, before the optimizer's update. It
    costs one more pass forward and backward.

    Kernels are trainable weights of two axes and more; those of one axis (biases, tdBN's lambda and
    beta), and those that a layer lists as `undecayed`, stay. The pass for g leaves no trace: no
    moving statistics, metrics or random states. Losses that layers add, Omega and weight decay, do
    not lead the step, as in the public code, but are taken behind it.

    Args:
        objective: The `Objective`; None for the plain loss. It must define `loss`.
        gamma: Length of the step over the length of the kernel, not negative: 0.01 in the source
            for adversarial training, 0.005 for TRADES.

    Raises:
        ValueError: If `gamma` is out of its range, or the objective's loss cannot be taken apart
            from the making of its examples. From a step: if the model computes in float16.

    Example:

    >>> from keras_mpdsgr import defenses
    >>> against = defenses.AdversarialTraining(eps=8 / 255, method="n_fgsm").objective()
    >>> AdversarialWeightPerturbation(against, gamma=0.01).gamma
    0.01
    """

    def __init__(self, objective=None, gamma=0.01):
        objective = Objective() if objective is None else objective
        if not isinstance(objective, Objective) or (
            type(objective).__call__ is not Objective.__call__
        ):
            raise ValueError(
                "`objective` must be None or an `Objective` that defines `loss` and leaves "
                f"`__call__` as it is: AWP takes its loss twice. Received: {objective!r}."
            )
        super().__init__(objective.adversary)
        self.objective = objective
        self.gamma = check_number("gamma", gamma, "length of the step of the weights", least=0)

    def examples(self, model, x, y):
        return self.objective.examples(model, x, y)

    def loss(self, model, x, examples, y, task_loss):
        kernels = _kernels(model.keras_model)
        gradients = self._gradients(model, kernels, x, examples, y, task_loss)
        moved = [
            kernel.value + _scaled(kernel.value, gradient, self.gamma)
            for kernel, gradient in zip(kernels, gradients, strict=True)
        ]
        model.move(kernels, [tf.stop_gradient(value) for value in moved])
        return self.objective.loss(model, x, examples, y, task_loss)

    def seed_generators(self):
        return self.objective.seed_generators()

    def _gradients(self, model, kernels, x, examples, y, task_loss):
        if model.keras_model.compute_dtype == "float16":
            raise keras_internals.plain_error(
                "AWP cannot be combined with float16, in which the gradient of its step is rounded "
                "to zero. Received: a model that computes in float16. Use bfloat16."
            )
        passing = ModelInStep(model.keras_model, model.step, notes_losses=False)
        # Inside it whatever a pass would change is kept aside, and dropped with it.
        with keras.StatelessScope(), tf.GradientTape() as tape:
            _, loss = self.objective.loss(passing, x, examples, y, task_loss)
        gradients = tape.gradient(loss, kernels, unconnected_gradients="zero")
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        return gradients


def _kernels(model):
    spared = {id(weight) for weight in undecayed(model)}
    return [w for w in model.trainable_weights if len(w.shape) > 1 and id(w) not in spared]


def _scaled(kernel, gradient, gamma):
    """A step along a gradient, `gamma` times as long as the kernel; none along a zero gradient."""
    length = tf.norm(tf.cast(gradient, tf.float64))
    factor = tf.math.divide_no_nan(gamma * tf.norm(tf.cast(kernel, tf.float64)), length)
    return tf.cast(factor * tf.cast(gradient, tf.float64), kernel.dtype)
