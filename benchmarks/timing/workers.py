"""Contenders as processes that wait until they are asked."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from typing import Any


class BenchmarkError(Exception):
    """A comparison that cannot be made."""


class Contestant:
    """A contender's process.

    Args:
        name: The contender's name.
        log: File that what the library prints goes to.
        **options: More arguments of the contender's class.
    """

    def __init__(self, name, log, **options):
        self.name = name
        self._log = log
        self._process: Any = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.timing.worker", name, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            bufsize=1,
        )

    def ask(self, call, **arguments):
        """Runs a method of `worker.Worker`; returns its answer, a dictionary.

        Raises:
            BenchmarkError: If it failed.
        """
        process = self._process
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"call": call, **arguments}) + "\n")
        line = process.stdout.readline()
        if not line:
            raise BenchmarkError(f"{self.name} ended in `{call}`; see {self._log.name}.")
        answer = json.loads(line)
        if "error" in answer:
            raise BenchmarkError(f"{self.name}, {call}: {answer['error']}")
        return answer

    def stop(self):
        with contextlib.suppress(BrokenPipeError):  # it ended before it read all
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def _log():
    """A file for what contenders print, which stays where one fails."""
    with tempfile.NamedTemporaryFile("w", suffix=".log", delete=False) as log:
        yield log
    os.unlink(log.name)


@contextlib.contextmanager
def alone(name, **options):
    """Starts one contender, without a comparison; yields its `Contestant`.

    Args:
        name: The contender's name.
        **options: More arguments of the contender's class.
    """
    with _log() as log:
        contestant = Contestant(name, log, **options)
        try:
            yield contestant
        finally:
            contestant.stop()


@contextlib.contextmanager
def contest(names, case, options=None):
    """Starts contenders on one case, with equal weights, each compared with this library first.

    Args:
        names: Names of contenders; `"ours"` must be among them.
        case: The `Case`.
        options: More arguments by contender's name.

    Yields:
        The `Contestant`s by name, and by name what `equality.compare` found.

    Raises:
        BenchmarkError: If one cannot be built, or computes something else than this library.
    """
    options = options or {}
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(_log())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        path = f"{folder}/reference.npz"
        running, found = {}, {}
        for name in sorted(names, key=lambda name: name != "ours"):
            contestant = Contestant(name, log, **options.get(name, {}))
            stack.callback(contestant.stop)
            contestant.ask("build", case=case.to_dict())
            if name == "ours":
                contestant.ask("share", path=path)
            else:
                contestant.ask("load", path=path)
                if not name.startswith("ours"):
                    found[name] = contestant.ask("compare", path=path)
                    check_equal(name, found[name])
            running[name] = contestant
        yield {name: running[name] for name in names}, found


def check_equal(name, found):
    """Raises a `BenchmarkError` where a contender is not the same network."""
    if found["far_spikes"] or found["largest_current_error"] > found["allowed_current_error"]:
        raise BenchmarkError(
            f"{name} is another network, so that its time would mean nothing: input currents "
            f"differ by up to {found['largest_current_error']:g} (allowed "
            f"{found['allowed_current_error']:g}), and {found['far_spikes']} spikes differ whose "
            f"potential is not within {found['near']:g} of the threshold."
        )
