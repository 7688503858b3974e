"""Runs a benchmark whose contenders are forked off it, where `Popen` imports TensorFlow for each.

What they measure is then no figure, but all of what they do is done. Not imported: `test_programs`
runs its text with the benchmark's name and its flags.
"""

import os
import runpy
import signal
import sys
import types

from benchmarks.timing import worker, workers


class Forked:
    """As much of `subprocess.Popen` as `workers.Contestant` asks for."""

    _ours: list = []

    def __init__(self, words, stdin, stdout, stderr, text, bufsize):
        asked, asks = os.pipe()
        answered, answers = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            # A contender ends when nobody else can write to it.
            for held in (*self._ours, asks, answered):
                os.close(held)
            os.dup2(answers, 1)
            os.dup2(stderr.fileno(), 2)
            sys.stdin = os.fdopen(asked)
            sys.argv = words[2:]  # `python -m` is before the module
            status = 1
            try:
                worker.main()
                status = 0
            finally:
                os._exit(status)
        os.close(asked)
        os.close(answers)
        self.stdin, self.stdout = os.fdopen(asks, "w", bufsize), os.fdopen(answered)
        self._asks = asks
        self._ours.append(asks)

    def wait(self, timeout=None):
        self._ours.remove(self._asks)
        os.waitpid(self._pid, 0)

    def kill(self):
        os.kill(self._pid, signal.SIGKILL)


workers.subprocess = types.SimpleNamespace(PIPE=None, Popen=Forked, TimeoutExpired=TimeoutError)
_, name, *flags = sys.argv
sys.argv = [name, *flags]
runpy.run_module(name, run_name="__main__", alter_sys=True)
