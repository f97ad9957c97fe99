"""One restart, and the ten requests after it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import psycopg2

from benchmarks.http_client import BadAnswerError, KeepAlive, render_request
from benchmarks.own_platform import inherited
from benchmarks.report import BenchmarkError
from localfaas.envoy import admin_request
from localfaas.settings import Settings
from localfaas.status import Row, rows
from localfaas.up import admin_url
from tests.experiments.common.clocks import family
from tests.experiments.common.driving import Block, Request, interleaved

REQUESTS = 10
STEADY_REQUESTS = 200
SETTLED_REQUESTS = 50
"""Before the steady ones, and before k6's, unmeasured: the edge may have been killed just now."""
AT_ONCE = 3
"""Restarts of an arm in a group."""
PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.005
STEADY_SECONDS = 5.6
STEADY_WARM_SECONDS = 0.6
"""Until k6 has opened all its connections, which is in their requests' time; it does not count."""
STEADY_RATE = 100.0
_PRODUCT_ID = 7
_LIVES = ("RUNNING", "STARTING")
"""supervisord calls a process STARTING for its first second, ready or not."""

Way = Literal["direct", "edge"]
WAYS: Sequence[Way] = ("direct", "edge")
Cause = Literal["replica", "connections", "at-once", "gateway", "edge"]
"""What is lost; `at-once` are connections as well, but the request does not wait until the replica says that it is ready."""


@dataclass(frozen=True)
class Arm:
    """What is lost, which way is asked afterwards, and whether replicas warm up."""

    cause: Cause
    way: Way
    warm_up: bool = True

    @property
    def name(self) -> str:
        return f"{self.cause}-{self.way}" + ("" if self.warm_up else "-cold")


_PAIRED: Sequence[tuple[Cause, Way]] = (
    ("replica", "direct"), ("replica", "edge"), ("connections", "direct"), ("connections", "edge"),
)  # fmt: skip
_ALONE: Sequence[tuple[Cause, Way]] = (
    ("at-once", "direct"), ("at-once", "edge"), ("gateway", "edge"), ("edge", "edge"),
)  # fmt: skip
WARM = tuple(Arm(*one) for one in (*_PAIRED, *_ALONE))
COLD = tuple(Arm(*one, warm_up=False) for one in _PAIRED)
"""Beside the first of WARM, in the same order: what the setting changes."""
ARMS = (*WARM, *COLD)


class Shop:
    """A platform of the experiment's own, whose parts can be broken."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._warm_up = True

    def deploy(self, *, warm_up: bool) -> None:
        """Have products run with or without warm-up."""
        if warm_up == self._warm_up:
            return
        environment = {
            **inherited(),
            "STATE_DIR": str(self.settings.state),
            "PORT_OFFSET": str(self.settings.port_offset),
            "RATE_LIMITS": "off",
            "WARM_UP": str(warm_up).lower(),
        }
        command = [sys.executable, "-m", "localfaas", "deploy", "products"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchmarkError(f"products was not deployed: {done.stdout}{done.stderr}")
        self.settled("products-")  # the one that helped out in the meantime has left the rotation
        self._warm_up = warm_up

    def row(self, program: str) -> Row:
        """The one process of that name, or of the function whose replicas' names begin so, which is in the rotation."""
        found = [
            one
            for one in rows(self.settings)
            if one.program.startswith(program) and one.state in _LIVES and one.traffic != "no"
        ]
        if len(found) != 1:
            raise BenchmarkError(f"{len(found)} processes of {program} run")
        return found[0]

    def settled(self, program: str) -> Row:
        """The same, once there is but one."""
        found: list[Row] = []

        def is_there() -> bool:
            try:
                found.append(self.row(program))
            except BenchmarkError:
                return False
            return found[-1].pid != 0

        self._until(is_there, program)
        return found[-1]

    def processes(self) -> list[int]:
        """All that the platform runs."""
        return [pid for one in rows(self.settings) if one.pid for pid in family(one.pid)]

    def address(self, way: Way) -> tuple[int, str]:
        """Port, and path."""
        if way == "direct":
            return self.settled("products-").port, f"/{_PRODUCT_ID}"
        return self.settings.port("edge"), f"/api/products/{_PRODUCT_ID}"

    def lose(self, cause: Cause) -> None:
        """Break it, and come back as soon as it says that it is ready again."""
        if cause in ("connections", "at-once"):
            self._lose_connections()
            if cause == "connections":
                port = self.settled("products-").port
                self._until(lambda: is_ready(port), "products without its connections")
        else:
            self._kill("products-" if cause == "replica" else cause)

    def _kill(self, program: str) -> None:
        killed = self.settled(program)
        os.kill(killed.pid, signal.SIGKILL)
        self._until(lambda: self._replaced(program, killed.pid), f"{program} after it was killed")

    def _replaced(self, program: str, pid: int) -> bool:
        try:
            now = self.row(program)
        except BenchmarkError:
            return False
        return now.pid not in (0, pid) and (
            is_ready(now.port) if program == "products-" else self._is_live(program)
        )

    def _is_live(self, program: str) -> bool:
        try:
            live = admin_request(self.settings.envoy_admin_socket(program), "GET", "/ready").strip() == "LIVE"
        except (OSError, RuntimeError):
            return False
        return live and _accepts(self.settings.port(program))

    def _lose_connections(self) -> None:
        connection = psycopg2.connect(admin_url(self.settings))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'products'"
                )
                (count,) = cursor.fetchone() or (0,)
        finally:
            connection.close()
        if not count:
            raise BenchmarkError("products had no connection to lose")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{what} was not there within {PATIENCE_SECONDS:g} s")
            time.sleep(POLL_SECONDS)


def take(shop: Shop, arm: Arm) -> list[float]:
    """Lose it, and the seconds of the ten requests that follow. Raises BenchmarkError unless all are answered 200."""
    port, request = _request(shop, arm.way)
    shop.lose(arm.cause)
    return asked(port, request, REQUESTS)


def the_steady(shop: Shop, way: Way) -> list[float]:
    """Seconds of requests while nothing is broken, by the client that times the first ones."""
    return asked(*_request(shop, way), SETTLED_REQUESTS + STEADY_REQUESTS)[SETTLED_REQUESTS:]


def steady_blocks(shop: Shop, rounds: int) -> list[Block]:
    """The same requests from k6, both ways in turn, once they have been asked for a while."""
    for way in WAYS:
        asked(*_request(shop, way), SETTLED_REQUESTS)
    return interleaved({way: _block(shop, way) for way in WAYS}, rounds)


def _block(shop: Shop, way: Way) -> Block:
    port, path = shop.address(way)
    return Block(
        way, Request(f"http://127.0.0.1:{port}{path}", contains='"price_cents"'), STEADY_SECONDS, STEADY_RATE
    )


def _request(shop: Shop, way: Way) -> tuple[int, bytes]:
    port, path = shop.address(way)
    return port, render_request("localhost", "GET", path)


def asked(port: int, request: bytes, count: int) -> list[float]:
    taken = []
    with KeepAlive(port) as client:
        for _ in range(count):
            reply = client.send(request)
            if reply.status != 200:
                raise BenchmarkError(f"port {port} answered {reply.status} {reply.body[:100]!r}")
            taken.append(reply.seconds)
    return taken


def is_ready(port: int) -> bool:
    try:
        with KeepAlive(port, timeout=2) as client:
            return client.send(render_request("localhost", "GET", "/_/ready")).status == 200
    except (OSError, BadAnswerError):
        return False


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
