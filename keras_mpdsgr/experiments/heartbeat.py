"""Lines that say how far work has come, where there is no terminal to show a bar."""

import contextlib
import threading
import time

EVERY = 30.0


class Heartbeat:
    """Prints a line whenever none was printed for half a minute, also within one long step.

    Args:
        say: Function that shows a line.
        line: Function of no arguments that gives the line as things stand.
        every: Seconds without a line after which one is printed.
        clock: Function that gives the time in seconds.
    """

    def __init__(self, say, line, every=EVERY, clock=time.monotonic):
        self._say, self._line = say, line
        self._every, self._clock = every, clock
        self.said()

    def said(self):
        """Notes that a line was printed just now."""
        self._last = self._clock()

    def look(self):
        """Prints the line if it is due, and gives the seconds until the next one is."""
        if self._clock() - self._last >= self._every:
            self.said()
            self._say(self._line())
        return self._every - (self._clock() - self._last)

    @contextlib.contextmanager
    def beating(self):
        """A context in which a thread looks; a step that takes minutes would let nobody else."""
        over = threading.Event()

        def look():
            wait = self._every
            while not over.wait(wait):
                wait = self.look()

        self.said()
        thread = threading.Thread(target=look, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()
