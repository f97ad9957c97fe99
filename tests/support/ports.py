"""Ports for platforms and parts of platforms that tests run beside whatever else runs."""

from __future__ import annotations

from benchmarks import ports
from benchmarks.ports import free_port
from localfaas.settings import PORTS

__all__ = ["CHECKED", "OFFSETS", "free_offset", "free_port"]

CHECKED = [*PORTS.values(), *range(8002, 8010), 8018, 8028, 8097, 8098, 8099]
OFFSETS = range(9000, 24001, 500)
"""Between those of a benchmark's edge and those that the kernel gives to clients (from 32768)."""


def free_offset() -> int:
    """A `PORT_OFFSET` at which nothing listens, and which is this process's until it ends."""
    offset = ports.free_offset(OFFSETS, CHECKED)
    assert offset is not None, "no free ports for a platform"
    return offset
