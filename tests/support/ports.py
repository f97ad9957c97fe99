"""Ports for platforms and parts of platforms that tests run beside whatever else runs."""

from __future__ import annotations

import random
import socket

from localfaas.settings import PORTS

CHECKED = [*PORTS.values(), *range(8002, 8010), 8018, 8028, 8097, 8099]
OFFSETS = range(9000, 24001, 500)
"""Between the default ports and those that the kernel gives to clients (from 32768)."""


def free_offset() -> int:
    """A `PORT_OFFSET` at which nothing listens; tried in random order, so that test runs side by side differ."""
    for offset in random.sample(OFFSETS, len(OFFSETS)):
        if all(_is_free(port + offset) for port in CHECKED):
            return offset
    raise AssertionError("no free ports for a platform")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
