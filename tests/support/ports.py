"""Ports for platforms and parts of platforms that tests run beside whatever else runs."""

from __future__ import annotations

import fcntl
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

from localfaas.settings import PORTS

CHECKED = [*PORTS.values(), *range(8002, 8010), 8018, 8028, 8097, 8098, 8099]
OFFSETS = range(9000, 24001, 500)
"""Between the default ports and those that the kernel gives to clients (from 32768)."""


_held: dict[int, IO[str]] = {}


def free_offset() -> int:
    """A `PORT_OFFSET` at which nothing listens, and which is this process's until it ends.

    Tried in random order, so that test runs side by side differ; a lock keeps them apart while what is to listen starts.
    """
    for offset in [*_held, *random.sample(OFFSETS, len(OFFSETS))]:
        if all(_is_free(port + offset) for port in CHECKED) and _hold(offset):
            return offset
    raise AssertionError("no free ports for a platform")


def free_port() -> int:
    """A port at which nothing listens, from those that the kernel gives to clients."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _hold(offset: int) -> bool:
    """Whether this process has the offset for itself."""
    if offset in _held:
        return True
    lock = (Path(tempfile.gettempdir()) / f"magasin-ports-{offset}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return False
    _held[offset] = lock
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
