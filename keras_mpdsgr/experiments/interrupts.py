"""Ctrl-C that is not lost."""

import signal
import threading

_interrupted = threading.Event()


def remember():
    """Has Ctrl-C remembered, for `stop_if_interrupted`."""
    # Not where the shell has it ignored, as for a job in the background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def stop_if_interrupted():
    """Raises KeyboardInterrupt if there was a Ctrl-C: Python drops one that meets a destructor."""
    if _interrupted.is_set():
        raise KeyboardInterrupt


def _interrupt(*_):
    _interrupted.set()
    raise KeyboardInterrupt
