"""Free ports for what benchmarks, experiments and tests start beside whatever else runs."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

_held: dict[int, int] = {}
"""By offset, the descriptor of its lock, which the kernel closes when the process ends."""


def free_port() -> int:
    """A port at which nothing listens, from those that the kernel gives to clients."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def free_offset(offsets: Sequence[int], ports: Collection[int]) -> int | None:
    """A `PORT_OFFSET` at which nothing listens on `ports`, and which is this process's until it ends; None when there is none.

    Tried in random order, so that what starts side by side differs; a lock keeps it apart while it does not listen yet.
    """
    held = [offset for offset in _held if offset in offsets]
    for offset in [*held, *random.sample(offsets, len(offsets))]:
        if all(_is_free(port + offset) for port in ports) and _hold(offset):
            return offset
    return None


def _hold(offset: int) -> bool:
    """Whether this process has the offset for itself."""
    if offset in _held:
        return True
    path = Path(tempfile.gettempdir()) / f"magasin-ports-{offset}.lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return False  # another user's
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
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
