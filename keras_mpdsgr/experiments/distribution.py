"""The devices and machines of a training: one, the replicas of a machine, several machines."""

import contextlib
import dataclasses
import json
import os
import pathlib
import tempfile

import tensorflow as tf

from keras_mpdsgr.errors import RunError, SetupError
from keras_mpdsgr.experiments import worker_watch

_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass
class Distribution:
    """Where a training runs.

    Args:
        strategy: The `tf.distribute.Strategy` that its model is made under.
        worker: Number of this process among the workers; 0 is the chief, which alone writes.
        workers: How many there are.
        watch: The `WorkerWatch`; None for one process.
        distributed: Whether there is a strategy at all.
    """

    strategy: tf.distribute.Strategy
    worker: int = 0
    workers: int = 1
    watch: worker_watch.WorkerWatch | None = None
    distributed: bool = True

    @property
    def is_chief(self):
        return self.worker == 0

    @property
    def described(self):
        """For the line that a run begins with."""
        replicas = self.strategy.num_replicas_in_sync
        on_workers = f" on {self.workers} workers" if self.workers > 1 else ""
        return f", {replicas} replicas{on_workers}" if replicas > 1 else ""

    def scope(self):
        """Models, optimizers and metrics are made inside it."""
        return self.strategy.scope()

    def callbacks(self):
        return [] if self.watch is None else [self.watch]

    def leave(self):
        """From here on this process waits for no other."""
        if self.watch is not None:
            self.watch.stop()

    def shared(self, batches):
        """A dataset of global batches, each of which the replicas divide among them."""
        if not self.distributed:
            return batches
        options = tf.data.Options()
        policies = tf.data.experimental.AutoShardPolicy
        options.experimental_distribute.auto_shard_policy = policies.DATA
        return batches.with_options(options)

    @contextlib.contextmanager
    def saving_to(self, folder):
        """Where checkpoints and the model go: the run folder, or for a worker what is thrown away.

        Metrics are sums over all workers, and to save them is to read them: all have to save.
        """
        if self.is_chief:
            yield folder.checkpoints, folder.model_path
            return
        with tempfile.TemporaryDirectory() as apart:
            yield pathlib.Path(apart), pathlib.Path(apart, folder.model_path.name)

    def check_batch_size(self, batch_size):
        """Raises a SetupError for a batch that replicas cannot share equally."""
        replicas = self.strategy.num_replicas_in_sync
        if batch_size % replicas:
            raise SetupError(
                f"`batch_size` must be divisible by the number of replicas, which is {replicas}. "
                f"Received: {batch_size}."
            )

    def told_by_chief(self, number):
        """The chief's number, on every worker; each waits here for all others."""
        if self.watch is None:
            return number

        def share(context):
            first = context.replica_id_in_sync_group == 0
            return tf.constant(number if first else 0, tf.int64)

        shares = self.strategy.experimental_distribute_values_from_function(share)
        told = int(self.strategy.reduce("SUM", shares, axis=None))
        self.watch.beat()
        return told

    def check_same(self, number, what):
        """Raises a SetupError on each worker that sees another number than the chief."""
        chiefs = self.told_by_chief(number)
        if number != chiefs:
            raise SetupError(
                f"worker {self.worker} and the chief differ in {what}: {number} here, {chiefs} "
                "there. `run_dir` must be one folder that all workers see."
            )


@contextlib.contextmanager
def prepared(kind, replicas=None, timeout=120.0):
    """Makes the devices ready and yields the `Distribution` over them.

    It comes before anything else that TensorFlow does: devices are configured once.

    Args:
        kind: `"none"`, `"mirrored"` or `"multiworker"`.
        replicas: Of `"mirrored"`: how many; None for all GPUs, or 1.
        timeout: Seconds without a step after which a worker considers another lost.

    Raises:
        SetupError: If devices are missing, or TF_CONFIG does not describe the workers.
    """
    if kind == "none":
        yield Distribution(tf.distribute.get_strategy(), distributed=False)
    elif kind == "mirrored":
        yield Distribution(tf.distribute.MirroredStrategy(_devices(replicas)))
    else:
        worker, workers = workers_of(os.environ.get("TF_CONFIG"))
        with worker_watch.joining(timeout, worker, workers):
            strategy = _joined(worker)
        with worker_watch.WorkerWatch(timeout, worker, workers) as watch:
            yield Distribution(strategy, worker, workers, watch)


def _joined(worker):
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        raise RunError(
            f"worker {worker} cannot join the others by the addresses in TF_CONFIG: {error}"
        ) from error


def _devices(replicas):
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if replicas is not None and replicas > len(gpus):
            raise SetupError(
                f"`replicas` must be at most the number of GPUs, which is {len(gpus)}. "
                f"Received: {replicas}."
            )
        return [f"GPU:{number}" for number in range(replicas or len(gpus))]
    count = replicas or 1
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or [None]) != count:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        )
    return [f"CPU:{number}" for number in range(count)]


def workers_of(described):
    """Number of this worker, and how many there are.

    Args:
        described: What TF_CONFIG holds; None where it is not set.

    Raises:
        SetupError: If it does not say so.
    """
    if not described:
        raise SetupError(
            "`distribute` multiworker needs TF_CONFIG in the environment of each worker: all their "
            f"addresses, the chief's first, and which one this is, as {_EXAMPLE}."
        )
    try:
        config = json.loads(described)
        addresses = config["cluster"]["worker"]
        task = config["task"]
        index = task["index"]
        wanted = (
            set(config["cluster"]) == {"worker"}
            and task["type"] == "worker"
            and isinstance(addresses, list)
            and len(set(addresses)) == len(addresses)
            and all(_is_address(address) for address in addresses)
            and type(index) is int
            and 0 <= index < len(addresses)
        )
    except (ValueError, KeyError, TypeError):
        wanted = False
    if not wanted:
        shown = described if len(described) <= 200 else f"{described[:200]} ..."
        raise SetupError(
            "TF_CONFIG must hold the addresses HOST:PORT of all workers, and the index of this one "
            f"among them, as {_EXAMPLE}. Received: {shown}"
        )
    return index, len(addresses)


def _is_address(address):
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    return bool(host) and port.isdigit() and 0 < int(port) < 2**16
