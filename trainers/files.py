"""Files of a run: each appears whole or not at all, and one process writes them."""

import contextlib
import fcntl
import os
import platform

from trainers.program import UsageError


@contextlib.contextmanager
def replacing(path):
    """Yields a path beside `path`; what was written there takes its place, on disk and whole.

    Where writing fails, the old file stays and nothing lies beside it.

    Args:
        path: The file; the path beside it has the same suffix.
    """
    beside = path.with_name(f"part-{path.name}")
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


class Lock:
    """Keeps other processes from writing the same files, for as long as this one lives.

    The kernel lets go of it when the process ends, also by SIGKILL: a lock file that lies there
    means nothing. On a file system that knows no locks there is none.

    Args:
        path: The lock file; made if it is not there.
        what: What it is for, in words.

    Raises:
        UsageError: If another process has it, or the file cannot be written.
    """

    def __init__(self, path, what):
        try:
            self._file = path.open("ab+", buffering=0)
        except OSError as error:
            raise UsageError(f"cannot write to {what}: {error}.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read(200).decode(errors="replace").strip() or "another process"
            self._file.close()
            raise UsageError(
                f"{what} is being written by {holder}. Wait until it has ended, or give another "
                "--run_dir."
            ) from None
        except OSError:  # no locks here
            return
        with contextlib.suppress(OSError):  # a full disk; the name is a help only
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {platform.node()}".encode())

    def release(self):
        """Lets go of it; it may be called twice."""
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()
