"""Ports that nobody else takes, for what runs beside a platform."""

from __future__ import annotations

import socket

from benchmarks import own_edge
from benchmarks.own_platform import OWN_OFFSET
from benchmarks.ports import free_offset
from localfaas.settings import PORTS
from tests.support import ports

SPAN = range(8000, 8700)
"""Of a whole platform: its parts, and all replicas that there may be."""


def test_an_edge_of_a_benchmark_and_every_platform_have_ports_of_their_own() -> None:
    edges = {port + offset for offset in own_edge.OFFSETS for port in PORTS.values()}
    platforms = {port + offset for offset in (0, 1_000, OWN_OFFSET, *ports.OFFSETS) for port in SPAN}
    assert edges & platforms == set()
    assert max(edges) < 32_768


def test_an_offset_at_which_somebody_listens_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert free_offset([0], [server.getsockname()[1]]) is None
