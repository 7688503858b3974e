"""Learning rates over a training: Keras' schedules by name, and the cyclic one that it lacks."""

import keras

from keras_mpdsgr.arguments import check_choice, check_integer, check_number

SCHEDULES = ("cosine", "cyclic", "constant")


def learning_rate(peak, steps, schedule="cosine", warmup_steps=0):
    """A learning rate for an optimizer of Keras: a schedule, or a number where it is constant.

    Args:
        peak: The rate at its highest, positive.
        steps: Optimizer steps of the whole training.
        schedule: `"cosine"` (from `peak` to 0), `"cyclic"` (linearly from 0 to `peak` over the
            first half of the steps and back over the second, as in the code of single-step
            training), or `"constant"`.
        warmup_steps: Steps of a linear rise from 0 to `peak` before all else, out of `steps`; none
            with `"cyclic"`.

    Raises:
        ValueError: If an argument is out of its range, or `"cyclic"` is given a warm-up.

    Example:

    >>> rate = learning_rate(0.2, steps=100, schedule="cosine", warmup_steps=20)
    >>> [round(float(rate(step)), 3) for step in (0, 10, 20, 60, 100)]
    [0.0, 0.1, 0.2, 0.1, 0.0]
    """
    check_choice("schedule", schedule, SCHEDULES)
    check_number("peak", peak, "learning rate at its highest", above=0)
    check_integer("steps", steps, "optimizer steps", least=1)
    check_integer("warmup_steps", warmup_steps, "optimizer steps", least=0, most=steps)
    kinds = keras.optimizers.schedules
    if schedule == "cyclic":
        if warmup_steps:
            raise ValueError(
                "`warmup_steps` must be 0 with schedule='cyclic', which rises over its first half. "
                f"Received: {warmup_steps}."
            )
        return Cyclic(peak, steps)
    if schedule == "constant":
        if not warmup_steps:
            return peak
        return kinds.PolynomialDecay(0.0, warmup_steps, end_learning_rate=peak)
    if not warmup_steps:
        return kinds.CosineDecay(peak, steps)
    # At least one step behind the warm-up, as Keras divides by their number.
    behind = max(1, steps - warmup_steps)
    return kinds.CosineDecay(0.0, behind, warmup_target=peak, warmup_steps=warmup_steps)


@keras.saving.register_keras_serializable("keras_mpdsgr")
class Cyclic(keras.optimizers.schedules.LearningRateSchedule):
    """One triangle: linearly from 0 to `peak` at half of the steps, and back to 0 (Smith, 2017).

    Args:
        peak: The rate at its highest, positive.
        steps: Optimizer steps of the whole training.

    Example:

    >>> rate = Cyclic(0.2, steps=8)
    >>> [round(float(rate(step)), 3) for step in (0, 2, 4, 7, 8, 9)]
    [0.0, 0.1, 0.2, 0.05, 0.0, 0.0]
    """

    def __init__(self, peak, steps):
        super().__init__()
        self.peak = check_number("peak", peak, "learning rate at its highest", above=0)
        self.steps = check_integer("steps", steps, "optimizer steps", least=1)

    def __call__(self, step):
        done = keras.ops.cast(step, "float32") / self.steps
        return self.peak * keras.ops.maximum(0.0, 1.0 - keras.ops.abs(2.0 * done - 1.0))

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps}
