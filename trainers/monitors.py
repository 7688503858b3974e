"""What a run writes down after each epoch, and what it warns of."""

import math

import keras
import tensorflow as tf

from trainers.program import RunError
from trainers.run_folder import EpochTable

_BUCKETS = 60


class EpochRecord(keras.callbacks.Callback):
    """After each epoch: one row in metrics.csv, the probe in probe.csv, both in TensorBoard.

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

    def on_epoch_end(self, epoch, logs=None):
        number = epoch + 1
        self.layers = self._probe.layers()
        row = {name: float(value) for name, value in (logs or {}).items()}
        row["input_gradient_l1"] = self._probe.input_gradient_norm()
        for layer in self.layers:
            row.update({f"{layer.name}/{k}": v for k, v in layer.over_time().items()})
        self._details.append([line for layer in self.layers for line in _by_time(number, layer)])
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
    """Says when a network has died, and stops one whose loss is no number.

    A network is dead when its cross-entropy stays at that of guessing, or when a layer's neurons
    are all silent, so that nothing of the image reaches the read-out.

    Args:
        record: The `EpochRecord`, which has looked into the layers.
        classes: Number of classes.
        say: Function that shows a line.
        patience: Epochs at the loss of guessing before it is said.
    """

    def __init__(self, record, classes, say, patience=2):
        super().__init__()
        self._record = record
        self._guessing = math.log(classes)
        self._say = say
        self._patience = patience
        self._stuck = 0

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if not math.isfinite(logs.get("loss", 0.0)):
            raise RunError(
                f"the loss is {logs['loss']} in epoch {epoch + 1}. The last good checkpoint is "
                "kept. Try a lower --learning_rate, or a lower --eta with a longer --eta_warmup, "
                "in another --run_dir."
            )
        entropy = logs.get("cross_entropy", 0.0)
        at_guessing = abs(entropy - self._guessing) < 0.01 * self._guessing
        self._stuck = self._stuck + 1 if at_guessing else 0
        silent = [x.name for x in self._record.layers if not x.firing_rate.any()]
        if silent:
            self._say(_advice(f"every neuron of {', '.join(silent)} is silent"))
        elif self._stuck == self._patience:
            self._say(_advice(f"the loss has stayed at ln(classes) = {self._guessing:.3f}"))


def _advice(symptom):
    return (
        f"warning: the network is dead: {symptom}. It will not recover by itself. Lower --eta, "
        "raise --eta_warmup, or lower --learning_rate."
    )
