"""One contender in a process of its own: reads a command a line, answers with a line of JSON.

Not run by hand: `benchmarks.timing.workers` starts it.
"""

import json
import os
import resource
import sys
import time
import traceback
from typing import Any

import numpy as np

from benchmarks import contenders
from benchmarks.contenders import equality
from benchmarks.contenders.case import Case


class Worker:
    """Answers commands for one contender.

    Args:
        name: The contender's name.
        options: More arguments of its class, as `{"channels_last": False}`.
    """

    def __init__(self, name, options):
        self._name, self._options = name, options
        self._contender: Any = None

    def build(self, case):
        contenders.load_library(self._name)
        before = _peak_megabytes()
        self._contender = contenders.make(self._name, Case(**case), **self._options)
        return {"megabytes": before}

    def share(self, path):
        """Writes this library's weights and activity, which the others are held against."""
        equality.share(self._contender, path)
        return {}

    def load(self, path):
        with np.load(path) as arrays:
            self._contender.load(equality.weights_in(arrays))
        return {}

    def compare(self, path):
        with np.load(path) as arrays:
            return equality.compare(self._contender, arrays)

    def time(self, what, count):
        """Seconds that `count` calls of a method took, each."""
        call = getattr(self._contender, what)
        began = time.perf_counter()
        for _ in range(count):
            call()
        return {"seconds": (time.perf_counter() - began) / count}

    def memory(self, count):
        """Peak resident megabytes after some training steps."""
        for _ in range(count):
            self._contender.train_step()
        return {"megabytes": _peak_megabytes()}


def _peak_megabytes():
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    # Libraries print to the standard output; answers go to a copy of it that they do not know.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = Worker(sys.argv[1], json.loads(sys.argv[2]))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(worker, command.pop("call"))(**command)
        except Exception as error:  # told to the caller, who decides
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
