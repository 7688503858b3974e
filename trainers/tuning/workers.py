"""The part that a process plays in a shared search, told to KerasTuner by its environment."""

import os
import re
import socket
import time

from keras_mpdsgr.errors import RunError, SetupError

ALONE, CHIEF, WORKER = "alone", "chief", "worker"
_HOST, _PORT, _NAME = "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID"
# Each process writes NAME.json beside these of KerasTuner's own.
_TAKEN = ("oracle",)


def take_part(chief_address=None, worker_id=None):
    """Sets KerasTuner's environment variables from flags, which may be set already.

    Args:
        chief_address: `host:port` of the chief; None: what the environment says.
        worker_id: Name of this process; None: what the environment says.

    Returns:
        `ALONE`, `CHIEF` or `WORKER`, and the chief's host and port, or None.

    Raises:
        SetupError: If something is missing or malformed.
    """
    environment = os.environ
    if chief_address is not None:
        host, _, port = chief_address.rpartition(":")
        environment[_HOST], environment[_PORT] = host, port
    if worker_id is not None:
        environment[_NAME] = worker_id
    if not environment.get(_HOST):
        if worker_id is not None or chief_address is not None:
            raise SetupError("--chief_address must be HOST:PORT of the chief of a shared search.")
        return ALONE, None
    host, port = environment[_HOST], environment.get(_PORT, "")
    if not (port.isdecimal() and 1 <= int(port) <= 65535):
        raise SetupError(
            f"--chief_address must be HOST:PORT, with a port of 1 to 65535. Received: {host}:{port}"
        )
    name = environment.get(_NAME, "")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in _TAKEN:
        raise SetupError(
            "--worker_id must name this process: chief, or letters, digits, - and _ that no other "
            f"has. Received: {name!r}."
        )
    # KerasTuner takes any name with this word in it for the chief's.
    return (CHIEF if "chief" in name else WORKER), (host, int(port))


def wait_for_chief(address, seconds=300):
    """Waits until the chief listens.

    KerasTuner itself would wait for an hour, in silence.

    Raises:
        RunError: If it does not in that time.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(address, timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                host, port = address
                raise RunError(
                    f"no chief answers at {host}:{port} ({error}). Start it first; it exits when "
                    "the search is over."
                ) from error
            time.sleep(1)
