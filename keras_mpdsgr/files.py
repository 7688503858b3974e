"""Files that appear whole or not at all, and that one process writes."""

import contextlib
import fcntl
import json
import os
import pathlib
import platform

from keras_mpdsgr.errors import SetupError


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

    The kernel releases it when the process ends, also by SIGKILL: a lock file that lies there
    means nothing. On a file system that knows no locks there is none.

    Args:
        path: The lock file; made if it is not there.
        what: What it is for, in words.
        place: The setting that names another place.

    Raises:
        SetupError: If another process has it, or the file cannot be written.
    """

    def __init__(self, path, what, place="run_dir"):
        try:
            self._file = path.open("ab+", buffering=0)
        except OSError as error:
            raise SetupError(f"cannot write to {what}: {error}.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read(200).decode(errors="replace").strip() or "another process"
            self._file.close()
            raise SetupError(
                f"{what} is being written by {holder}. Wait until it has ended, or give another "
                f"`{place}`."
            ) from None
        except OSError:  # no locks here
            return
        with contextlib.suppress(OSError):  # a full disk; the name is a help only
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {platform.node()}".encode())

    def release(self):
        """Releases it; it may be called twice."""
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


def write_json(path, content):
    """Writes a JSON file, whole or not at all; an entry a line, and a list on one."""
    with replacing(pathlib.Path(path)) as beside:
        beside.write_text(_lines(content) + "\n")


def _lines(value, indent=""):
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    inner = indent + "  "
    entries = (f"{inner}{json.dumps(str(k))}: {_lines(v, inner)}" for k, v in value.items())
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"


def read_json(path):
    """What a JSON file holds.

    Raises:
        SetupError: If it is missing or cannot be read.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SetupError(f"{path} is damaged or missing: {error}.") from None
