"""What a layer shows of its training: a metric of its own."""

import keras
import tensorflow as tf


class TrainingMean(keras.metrics.Metric):
    """Mean over an epoch's samples of a value that exists in training only.

    Its result is a dictionary, empty where nothing was measured, so that `evaluate` does not show a
    zero in its place. It sums in single precision or better whatever the layer computes in: a sum
    in half precision stands still after some hundred steps.
    """

    def __init__(self, name, **kwargs):
        dtype = "float64" if keras.config.floatx() == "float64" else "float32"
        super().__init__(name=name, dtype=dtype, **kwargs)
        self.total, self.count = (
            keras.Variable(
                "zeros",
                shape=(),
                dtype=dtype,
                trainable=False,
                autocast=False,
                aggregation="sum",
                synchronization="on_read",
                name=part,
            )
            for part in ("total", "count")
        )
        self._shown = False

    def update_state(self, value, samples):
        samples = tf.cast(samples, self.dtype)
        self.total.assign_add(tf.cast(value, self.dtype) * samples)
        self.count.assign_add(samples)

    def observe(self, value, shown, samples):
        """Adds a value, if there is one; `shown` is noted while a step is traced.

        Args:
            value: The mean over a batch, a scalar; None for none.
            shown: Whether there is one in this step.
            samples: The batch's size. An epoch's loss weighs by it, and so the last, smaller batch.
        """
        self._shown = shown
        if value is not None:
            self.update_state(value, samples)

    def mean(self):
        """The mean so far, a scalar; None where nothing was measured."""
        measured = self._shown if tf.inside_function() else bool(self.count > 0)
        return tf.math.divide_no_nan(self.total.value, self.count.value) if measured else None

    def result(self):
        mean = self.mean()
        return {} if mean is None else {self.name: mean}


def network_means(metrics):
    """Results of a model's metrics by name, as its progress line shows them.

    Of the `TrainingMean`s of equal name, one a layer, it is their mean over the network; where
    nothing was measured they are left out.

    Args:
        metrics: Keras metrics, as of `keras.Model.metrics`.
    """
    results, by_layer = {}, {}
    for metric in metrics:
        if isinstance(metric, TrainingMean):
            by_layer.setdefault(metric.name, []).append(metric.mean())
            continue
        result = metric.result()
        results.update(result if isinstance(result, dict) else {metric.name: result})
    for name, means in by_layer.items():
        measured = [mean for mean in means if mean is not None]
        if measured:
            results[name] = keras.ops.mean(keras.ops.stack(measured))
    return results
