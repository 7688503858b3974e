"""What a run records after each epoch, and what it warns about."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_mpdsgr.errors import RunError
from keras_mpdsgr.experiments.epoch_table import EpochTable
from keras_mpdsgr.fitting import averaged

_BUCKETS = 60
# Epochs at the loss of guessing before it is said; the first one may end there while eta rises.
_SURE = 2


class EpochRecord(keras.callbacks.Callback):
    """After each epoch: one row in metrics.csv, the probe in probe.csv, both in TensorBoard.

    A network without spiking neurons has no probe.csv.

    TensorBoard shows histograms of each layer's membrane potentials, as distances from the
    threshold, too.

    Args:
        folder: The `RunFolder`.
        probe: A `PotentialProbe`.
    """

    def __init__(self, folder, probe):
        super().__init__()
        self._metrics = EpochTable(folder.metrics_path)
        self._details = EpochTable(folder.probe_path)
        self._probe = probe
        self._writer = tf.summary.create_file_writer(str(folder.tensorboard))
        self.layers = []

    def look(self):
        """What the probe finds as the model is now, a `LayerPotentials` for each layer."""
        return self._probe.layers()

    def on_epoch_end(self, epoch, logs=None):
        number = epoch + 1
        row = {name: float(value) for name, value in (logs or {}).items()}
        # Of the weights that are validated and saved.
        with averaged(self.model):
            self.layers = self.look()
            row["input_gradient_l1"] = self._probe.input_gradient_norm()
        for layer in self.layers:
            row.update({f"{layer.name}/{k}": v for k, v in layer.over_time().items()})
        details = [line for layer in self.layers for line in _by_time(number, layer)]
        if details:  # none of a network without spiking neurons
            self._details.append(details)
        self._metrics.append([{"epoch": number, **row}])
        with self._writer.as_default(step=number):
            for name, value in row.items():
                tf.summary.scalar(name, value)
            for layer in self.layers:
                tf.summary.histogram(f"{layer.name}/potential", layer.sample, buckets=_BUCKETS)
        self._writer.flush()


def _by_time(epoch, layer):
    for t in range(len(layer.omega)):
        yield {
            "epoch": epoch,
            "layer": layer.name,
            "t": t + 1,
            "omega": float(layer.omega[t]),
            "omega_batch": float(layer.omega_batch[t]),
            "omega_analytic": float(layer.omega_analytic[t]),
            "mean": float(layer.mean[t]),
            "std": float(layer.std[t]),
            "firing_rate": float(layer.firing_rate[t]),
            "lambda": "" if layer.lambda_ is None else layer.lambda_,
            "beta": "" if layer.beta is None else layer.beta,
        }


class HealthCheck(keras.callbacks.Callback):
    """Warns when a network seems dead, notes its recovery, and stops one that is not finite.

    A network seems dead while its cross-entropy stays at that of guessing, or while a layer's
    neurons are all silent on the images probed, so that little of an image reaches the read-out.
    It may recover, as batch normalization and weight decay go on: training does, unless `patience`
    says how long to wait.

    After each step the loss is looked at, and all weights of one axis: running averages, gains,
    biases. The loss alone is not enough, as a NaN potential fires no spike and
    vanishes. The kernels are looked at after each epoch, before its checkpoint is written.

    Args:
        record: The `EpochRecord`, which looks into the layers.
        classes: Number of classes.
        say: Function that shows a line.
        patience: Epochs in a row of a network that seems dead after which the training stops, the
            last one's checkpoint written; None for never.

    Raises:
        RunError: From `fit`, where the loss or a weight is not finite, or `patience` is over.
    """

    def __init__(self, record, classes, say, patience=None):
        super().__init__()
        self._record = record
        self._guessing = math.log(classes)
        self._say = say
        self._patience = patience
        self._stuck = self._dead = 0
        self._said = False
        self._epoch = 0
        self._nothing: Any = None

    def on_train_begin(self, logs=None):
        small = [w for w in self.model.weights if len(w.shape) < 2 and _is_floating(w)]

        def nothing():
            """Zero; NaN where one of the weights is not finite."""
            sums = [tf.reduce_sum(tf.cast(tf.convert_to_tensor(w), "float32") * 0) for w in small]
            return tf.add_n([tf.zeros(()), *sums])

        self._nothing = tf.function(nothing, autograph=False)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        # Not at that epoch's end, where its checkpoint is still to be written.
        if self._patience is not None and self._dead >= self._patience:
            raise RunError(
                f"stopped after epoch {epoch}: the network has seemed dead for {self._dead} epochs "
                f"in a row, and `patience` is {self._patience}. The checkpoints are kept: the same "
                "command without it, or with a larger one, resumes. Else lower `eta`, raise "
                "`eta_warmup`, or lower `learning_rate`, in another `run_dir`."
            )

    def on_train_batch_end(self, batch, logs=None):
        # One NaN makes the running mean NaN.
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            self._stop(f"the loss is {loss}{self._when(batch)}")
        if self._nothing is not None and math.isnan(self._nothing()):
            self._stop(f"weights are not finite{self._when(batch)}")

    def _when(self, batch):
        return f" in step {batch + 1} of epoch {self._epoch + 1}"

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        for name in ("loss", "val_loss"):
            if not math.isfinite(logs.get(name, 0.0)):
                self._stop(f"the {name} is {logs[name]} in epoch {epoch + 1}")
        if self.model is not None and _first_lost(self.model):
            self._stop(f"weights are not finite after epoch {epoch + 1}")
        entropy = logs.get("cross_entropy", 0.0)
        at_guessing = abs(entropy - self._guessing) < 0.01 * self._guessing
        self._stuck = self._stuck + 1 if at_guessing else 0
        silent = [x.name for x in self._record.layers if not x.firing_rate.any()]
        self._dead = self._dead + 1 if silent or at_guessing else 0
        if self._said and not self._dead:
            self._said = False
            self._say(f"epoch {epoch + 1}: the network is alive again")
        elif not self._said and (silent or self._stuck >= _SURE):
            self._said = True
            symptom = f"the loss has stayed at ln(classes) = {self._guessing:.3f}"
            if silent:
                symptom = f"every neuron of {', '.join(silent)} is silent on the images probed"
            self._say(self._warning(epoch + 1, symptom))

    def _warning(self, epoch, symptom):
        stops = "" if self._patience is None else f" (training stops after {self._patience} epochs)"
        return (
            f"warning: the network seems dead after epoch {epoch}: {symptom}. It may recover"
            f"{stops}; if it does not, lower `eta`, raise `eta_warmup`, or lower `learning_rate`."
        )

    def _stop(self, symptom):
        lost = self.model is not None and (_first_lost(self.model) or self._first_lost_layer())
        raise RunError(
            f"{symptom}{f'; first seen in {lost}' if lost else ''}. The checkpoints of the epochs "
            "before are kept. Try a lower `learning_rate`, or a lower `eta` with a longer "
            "`eta_warmup`, in another `run_dir`."
        )

    def _first_lost_layer(self):
        for layer in self._record.look():
            if not np.isfinite([layer.mean, layer.std]).all():
                return f"the potentials of {layer.name}"
        return ""


def _first_lost(model):
    """The first variable of a model that is not finite, in the order of its layers.

    Running averages come first. The forward pass writes them, so that they show where it went
    wrong; one step of the optimizer then corrupts all weights.
    """
    for variables in (model.non_trainable_weights, model.trainable_weights):
        for variable in variables:
            values = keras.ops.convert_to_numpy(variable)
            if _is_floating(variable) and not np.isfinite(values.astype(np.float32)).all():
                return variable.path
    return ""


def _is_floating(variable):
    return tf.as_dtype(variable.dtype).is_floating
