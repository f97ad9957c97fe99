"""An embedded edge for one benchmark: a real Envoy with the project's own kong.yml, beside whatever runs."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.ports import free_offset
from benchmarks.report import PROJECT, BenchmarkError
from localfaas.edge import Edge, create_admin_app
from localfaas.envoy import Address, admin_request
from localfaas.platform import ENVOY_FLAGS, envoy_binary
from localfaas.settings import PORTS, Settings

OFFSETS = range(2_000, 9_000, 500)
"""Ports 10,000 to 16,943: above those of a platform without an offset or at 1,000, as docs/running.md has a second one,
and below those that benchmarks (OWN_OFFSET) and tests (tests/support/ports.py) give to platforms."""
START_SECONDS = 15.0


@dataclass(frozen=True)
class OwnEdge:
    """A running edge; `process` is its Envoy."""

    edge: Edge
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return self.edge.settings.port("edge")

    def load(self, text: str, membership: Mapping[str, Sequence[Address]]) -> None:
        """Put a kong.yml into force, with these replicas."""
        self.edge.update_membership(membership)
        self.edge.load(text)

    def health(self, upstream: str) -> dict[int, str]:
        """Port of each address to its health, as `GET /upstreams/<upstream>/health` of the Admin API tells it."""
        answer = create_admin_app(self.edge).test_client().get(f"/upstreams/{upstream}/health").get_json()
        addresses = [address for target in answer["data"] for address in target["data"]["addresses"]]
        return {int(address["port"]): str(address["health"]) for address in addresses}

    def resident_bytes(self) -> int:
        """Memory that Envoy holds (RSS)."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def allocated_bytes(self) -> int:
        """Memory that Envoy has a use for; what it keeps to use again is in `resident_bytes` only."""
        text = admin_request(self.edge.settings.envoy_admin_socket("edge"), "GET", "/memory")
        return int(json.loads(text)["allocated"])

    def stat(self, name: str) -> int:
        """One of Envoy's counters or gauges."""
        text = admin_request(self.edge.settings.envoy_admin_socket("edge"), "GET", f"/stats?filter=^{name}$")
        return int(text.partition(": ")[2] or 0)


@contextmanager
def own_edge(*, rate_limits: bool = False) -> Iterator[OwnEdge]:
    """An edge on free ports, with everything in a directory that is deleted at the end; without limits on rates unless told so."""
    state = Path(tempfile.mkdtemp(prefix="edge-bench-"))
    variables = {"STATE_DIR": str(state), "PORT_OFFSET": str(_offset())}
    if not rate_limits:
        variables["RATE_LIMITS"] = "off"
    settings = Settings.load(variables, PROJECT)
    edge = Edge(settings)
    command = [str(envoy_binary()), "--config-path", str(edge.envoy.files.bootstrap), *ENVOY_FLAGS]
    with (state / "envoy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        own = OwnEdge(edge, process)
        _wait_until_listening(own)
        yield own
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(state, ignore_errors=True)


def _wait_until_listening(own: OwnEdge) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and own.process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", own.port)) == 0:
                return
        time.sleep(0.02)
    raise BenchmarkError("the benchmark's own edge did not start")


def _offset() -> int:
    offset = free_offset(OFFSETS, PORTS.values())
    if offset is None:
        raise BenchmarkError("no free ports for the benchmark's own edge")
    return offset
