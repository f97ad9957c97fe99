"""One restart, and the ten requests after it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import psycopg2
import psycopg2.extensions

from benchmarks.http_client import BadAnswerError, KeepAlive, render_request
from benchmarks.report import BenchmarkError
from localfaas.envoy import admin_request
from localfaas.settings import Settings
from localfaas.status import Row, rows
from localfaas.up import admin_url

REQUESTS = 10
STEADY_REQUESTS = 200
SETTLED_REQUESTS = 50
"""Before the steady ones, unmeasured."""
AT_ONCE = 5
"""Restarts in a group."""
PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.005
SETTLE_SECONDS = 2.0
"""After a deployment, until the replica that was replaced is gone as well."""
_PRODUCT_ID = 7

Way = Literal["direct", "edge"]


@dataclass(frozen=True)
class Arm:
    """What is lost, which way is asked afterwards, and whether replicas warm up."""

    cause: Literal["replica", "gateway", "edge", "connections"]
    way: Way
    warm_up: bool = True

    @property
    def name(self) -> str:
        return f"{self.cause}-{self.way}" + ("" if self.warm_up else "-cold")


ARMS = (
    Arm("replica", "direct"),
    Arm("replica", "direct", warm_up=False),
    Arm("replica", "edge"),
    Arm("replica", "edge", warm_up=False),
    Arm("connections", "direct"),
    Arm("connections", "edge"),
    Arm("gateway", "edge"),
    Arm("edge", "edge"),
)


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
            **os.environ,
            "STATE_DIR": str(self.settings.state),
            "PORT_OFFSET": str(self.settings.port_offset),
            "RATE_LIMITS": "off",
            "WARM_UP": str(warm_up).lower(),
        }
        command = [sys.executable, "-m", "localfaas", "deploy", "products"]
        before = self.row("products-").pid
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchmarkError(f"products was not deployed: {done.stdout}{done.stderr}")
        self._until(lambda: self._replaced("products-", before), "the new replica of products")
        time.sleep(SETTLE_SECONDS)
        self._warm_up = warm_up

    def row(self, program: str) -> Row:
        """The one running process of that name, or of the function whose replicas' names begin so."""
        found = [
            one for one in rows(self.settings) if one.program.startswith(program) and one.state == "RUNNING"
        ]
        if len(found) != 1:
            raise BenchmarkError(f"{len(found)} processes of {program} run")
        return found[0]

    def address(self, way: Way) -> tuple[int, bytes]:
        """Port, and request."""
        if way == "direct":
            return self.row("products-").port, render_request("localhost", "GET", f"/{_PRODUCT_ID}")
        return self.settings.port("edge"), render_request("localhost", "GET", f"/api/products/{_PRODUCT_ID}")

    def lose(self, cause: str) -> None:
        """Break it, and come back as soon as it says that it is ready again."""
        if cause == "connections":
            self._lose_connections()
        else:
            self._kill("products-" if cause == "replica" else cause)

    def _kill(self, program: str) -> None:
        killed = self.row(program)
        os.kill(killed.pid, signal.SIGKILL)
        self._until(lambda: self._replaced(program, killed.pid), f"{program} after it was killed")

    def _replaced(self, program: str, pid: int) -> bool:
        try:
            now = self.row(program)
        except BenchmarkError:
            return False
        return now.pid not in (0, pid) and (
            _is_ready(now.port) if program == "products-" else self._is_live(program)
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
    shop.lose(arm.cause)
    return _asked(shop, arm.way, REQUESTS)


def the_steady(shop: Shop, way: Way) -> list[float]:
    """Seconds of requests while nothing is broken."""
    return _asked(shop, way, SETTLED_REQUESTS + STEADY_REQUESTS)[SETTLED_REQUESTS:]


def _asked(shop: Shop, way: Way, count: int) -> list[float]:
    port, request = shop.address(way)
    taken = []
    with KeepAlive(port) as client:
        for _ in range(count):
            reply = client.send(request)
            if reply.status != 200:
                raise BenchmarkError(f"{way} answered {reply.status} {reply.body[:100]!r}")
            taken.append(reply.seconds)
    return taken


def _is_ready(port: int) -> bool:
    try:
        with KeepAlive(port, timeout=2) as client:
            return client.send(render_request("localhost", "GET", "/_/ready")).status == 200
    except (OSError, BadAnswerError):
        return False


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
