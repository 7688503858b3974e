"""Keeps TensorFlow's start-up messages off the screen of a program."""

import os
import re
import signal
import sys

# What says nothing of the run. Whatever else TensorFlow says is shown.
_NOISE = re.compile(
    "|".join(
        (
            r"All log messages before absl::InitializeLog\(\) is called",
            r"oneDNN custom operations are on",
            r"oneDNN supports DT_\w+ only on platforms with",
            r"Could not find cuda drivers on your machine",
            r"This TensorFlow binary is optimized to use available CPU instructions",
            r"^To enable the following instructions: ",
            r"failed call to cuInit: .*UNKNOWN ERROR \(303\)",  # there is no driver
            r"Unable to register cu\w+ factory",
            r"computation placer already registered",
            r"TF-TRT Warning: Could not find TensorRT",
        )
    ).encode()
)
_STDERR = 2


def quieten():
    """Has TensorFlow log errors alone, and takes lines that are none out of standard error.

    Its environment variable does not do it: oneDNN's and CUDA's lines are written before its
    logging is set up, and some of them as errors. So C++ writes to another process, which passes on
    what it does not know, also where this one crashes. Python writes to the screen as before. It
    must be called while there is one thread: before TensorFlow is imported.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # 3 would hide errors too
    if "tensorflow" in sys.modules or not hasattr(os, "fork"):
        return
    sys.stderr.flush()
    try:
        screen = os.dup(_STDERR)
    except OSError:  # it is closed
        return
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(writing)
        _pass_on(reading, screen)
    os.close(reading)
    os.dup2(writing, _STDERR)
    os.close(writing)
    sys.stderr = os.fdopen(screen, "w", buffering=1, errors="backslashreplace")


def _pass_on(reading, screen):
    """Passes lines on until all that write have ended; does not return."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for held in (0, 1, _STDERR):  # or a reader of the program's output would wait for this one
            os.close(held)
        with os.fdopen(reading, "rb") as lines, os.fdopen(screen, "wb", buffering=0) as shown:
            for line in lines:
                if not _NOISE.search(line):
                    shown.write(line)
    finally:
        os._exit(0)
