"""Ends a worker of a training on several machines where the others are gone."""

import contextlib
import faulthandler
import os
import subprocess
import sys
import threading
import time
from typing import Any

import keras
import tensorflow as tf

# What a step raises where another worker is gone, by the layer of TensorFlow that notices first.
_GONE = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)
_AGAIN = "Restart all of them with the same commands: they resume from the last checkpoint."
# Says its second argument, unless the process that started it ends or goes on before.
_LAST_WORD = """
import select, sys
ended, _, _ = select.select([sys.stdin], [], [], float(sys.argv[1]))
if not ended:
    print(sys.argv[2], file=sys.stderr, flush=True)
"""
# Between the line and the end, for a machine so busy that the line comes late.
_GRACE = 5
_FAILURE = 1


@contextlib.contextmanager
def joining(timeout, worker, workers):
    """Ends the process with one line if the others have not joined in time.

    TensorFlow waits for them inside one call that keeps Python's lock and lets no signal through.
    Only a thread that is not Python's can end the process then, and only another process can say
    why.

    Args:
        timeout: Seconds.
        worker: Number of this worker.
        workers: How many there are.
    """
    line = (
        f"error: not all workers have joined within {timeout:g} s (`worker_timeout`); worker "
        f"{worker} of {workers} stops. {_AGAIN}"
    )
    word = subprocess.Popen(
        [sys.executable, "-I", "-c", _LAST_WORD, str(timeout), line], stdin=subprocess.PIPE
    )
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(timeout + _GRACE, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            word.communicate()


class WorkerWatch(keras.callbacks.Callback):
    """Ends the process with one line where another worker is gone.

    TensorFlow notices a connection that breaks, by an error in the step. For a worker that hangs it
    waits for ever: hence a clock, reset by each step.

    In a `with` statement around all that waits for other workers.

    Args:
        timeout: Seconds without a step after which it ends.
        worker: Number of this worker.
        workers: How many there are.
    """

    def __init__(self, timeout, worker, workers):
        super().__init__()
        self._timeout = timeout
        self._name = f"worker {worker} of {workers}"
        self._alone = workers == 1
        self._ended = threading.Event()
        self._last = time.monotonic()

    def __enter__(self):
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, kind, error, trace):
        self.stop()
        if isinstance(error, _GONE) and not self._alone:
            self._give_up("another worker is gone")

    def stop(self):
        """From here on this process waits for nobody."""
        self._ended.set()

    def beat(self, *_: Any, **__: Any):
        self._last = time.monotonic()

    on_train_begin = on_epoch_begin = on_epoch_end = on_train_batch_end = on_test_batch_end = beat

    def _look(self):
        while not self._ended.wait(min(1.0, self._timeout / 4)):
            if time.monotonic() - self._last > self._timeout:
                self._give_up(
                    f"no step for {self._timeout:g} s (`worker_timeout`): another worker hangs, "
                    "or is gone"
                )

    def _give_up(self, why):
        # At once: TensorFlow's own way out waits for those that are gone.
        print(f"error: {why}; {self._name} stops. {_AGAIN}", file=sys.stderr, flush=True)
        os._exit(_FAILURE)
