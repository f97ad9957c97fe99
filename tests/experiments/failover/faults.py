"""Faults, and how each is brought about: to a program of the platform, or to a small replica behind an edge of its own."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import psutil
import requests

from benchmarks.own_edge import OwnEdge
from benchmarks.replicas import Replica
from localfaas.envoy import admin_request
from localfaas.settings import Settings
from localfaas.status import Row, rows
from localfaas.supervisor import Supervisor, SupervisorError
from tests.experiments.common.platforms import is_back

UPSTREAM = "cart"
POLL_SECONDS = 0.1
SLOW_SECONDS = 2.0
GET_CART, POST_CART, GET_PRODUCT, TILL_SALE = "GET cart", "POST cart", "GET product", "till sale"
CHECKOUT, PAGE, MOVEMENT = "checkout", "page", "movement"
SIGN_IN, REPORT, CANCEL = "sign-in", "report", "cancel"
"""These two lines are asked by the experiment `trust` alone."""
FLOWS = (GET_CART, POST_CART, GET_PRODUCT, TILL_SALE)
ALL_BUT_POST_CART = tuple(flow for flow in FLOWS if flow != POST_CART)


class Victim(Protocol):
    """What falls sick."""

    def returned(self) -> bool | None:
        """Whether another process is in its place and takes traffic; None where no process has gone."""

    def in_rotation(self) -> bool | None:
        """Whether the edge sends requests to it; None where the edge knows only all of its kind together."""


@dataclass(frozen=True)
class Fault:
    """What happens to whom, how long it lasts, and what must not come of it."""

    name: str
    title: str
    program: str
    """The program that it happens to; `<function>-` for any of a function's replicas, empty for a small replica."""
    begin: Callable[[Any], None]
    """Takes a Program, or a Small."""
    end: Callable[[Any], None] | None = None
    """None where nobody helps: what comes back, comes back by itself."""
    hold_seconds: float = 0.0
    spares: Sequence[str] = ()
    """Flows of which no request may fail."""
    rotation: bool = False
    """Whether it is one of several, which the edge has to leave out and to take back."""
    answers: int = 0
    """Its own wrong answers that clients may see before it is left out: kong.yml's `http_failures`."""
    replaced: bool = True
    """Whether another process takes its place, where it is one of the platform's."""
    shows: Callable[[Any], bool] = lambda program: bool(program.is_gone())
    """Whether it is seen to have taken effect, asked until it has."""

    @property
    def flows(self) -> Sequence[str]:
        """What is asked meanwhile."""
        return FLOWS if self.program else (GET_CART, POST_CART)


@dataclass(frozen=True)
class Program:
    """A process of the platform."""

    settings: Settings
    row: Row

    def signal(self, number: int) -> None:
        os.kill(self.row.pid, number)

    def is_gone(self) -> bool:
        return self._status() in {None, psutil.STATUS_ZOMBIE}

    def is_frozen(self) -> bool:
        return self._status() == psutil.STATUS_STOPPED

    def _status(self) -> str | None:
        try:
            return str(psutil.Process(self.row.pid).status())
        except psutil.NoSuchProcess:
            return None

    def stop(self) -> None:
        Supervisor(self.settings).stop(self.row.program)

    def start(self) -> None:
        Supervisor(self.settings).start(self.row.program)

    def returned(self) -> bool | None:
        try:
            return is_back(rows(self.settings), self.row)
        except SupervisorError:
            return False

    def in_rotation(self) -> bool | None:
        if not self.row.program.startswith(f"{UPSTREAM}-"):
            return None
        return cart_health(self.settings).get(self.row.port) == "HEALTHY"


@dataclass(frozen=True)
class Small:
    """A small replica."""

    own: OwnEdge
    replica: Replica

    def ails(self) -> bool:
        """Whether it answers wrong, or late."""
        try:
            url = f"http://127.0.0.1:{self.replica.port}/"
            return requests.get(url, timeout=SLOW_SECONDS / 2).status_code != 200
        except requests.RequestException:
            return True

    def returned(self) -> bool | None:
        return None

    def in_rotation(self) -> bool | None:
        return self.own.health(UPSTREAM)[self.replica.port] == "HEALTHY"


def targets(found: Iterable[Row], program: str) -> list[Row]:
    """Those that run, by name; see Fault.program."""
    return [
        row
        for row in found
        if row.state == "RUNNING"
        and (row.program == program or (program.endswith("-") and row.program.startswith(program)))
    ]


def cart_health(settings: Settings) -> dict[int, str]:
    """Port of each replica of cart to its health, as the Admin API of the edge tells it; empty where it does not answer."""
    url = f"http://127.0.0.1:{settings.port('edge-admin')}/upstreams/{UPSTREAM}/health"
    try:
        told = requests.get(url, timeout=2).json()
    except (requests.RequestException, ValueError):
        return {}
    addresses = [address for target in told.get("data", ()) for address in target["data"]["addresses"]]
    return {int(address["port"]): str(address["health"]) for address in addresses}


def _signal(number: int) -> Callable[[Program], None]:
    return lambda program: program.signal(number)


def _answers(status: int, health: int | None = None) -> Callable[[Small], None]:
    return lambda small: small.replica.answer(status, health)


def _slow(seconds: float) -> Callable[[Small], None]:
    return lambda small: small.replica.slow(seconds)


FAULTS = (
    Fault("cart-killed", "one of three carts killed", "cart-", _signal(signal.SIGKILL), spares=ALL_BUT_POST_CART, rotation=True),
    Fault("cart-ended", "one of three carts ended (SIGTERM)", "cart-", _signal(signal.SIGTERM), spares=ALL_BUT_POST_CART, rotation=True),
    # So long that what it has caught until it leaves (5 s) is waited for to the end (20 s).
    Fault(
        "cart-frozen", "one of three carts frozen for 25 s (SIGSTOP)", "cart-", _signal(signal.SIGSTOP), _signal(signal.SIGCONT),
        hold_seconds=25.0, spares=ALL_BUT_POST_CART, rotation=True, shows=Program.is_frozen,
    ),
    Fault(
        "replica-slow", f"one of three replicas {SLOW_SECONDS:g} s slower, for 8 s", "", _slow(SLOW_SECONDS), _slow(0.0),
        hold_seconds=8.0, spares=(GET_CART, POST_CART), rotation=True, shows=Small.ails,
    ),
    Fault(
        "replica-500", "one of three replicas answers 500, for 3 s", "", _answers(500), _answers(200),
        hold_seconds=3.0, rotation=True, answers=3, shows=Small.ails,
    ),
    Fault(
        "replica-500-well", "one of three replicas answers 500, for 3 s, its health check well", "", _answers(500, health=200), _answers(200),
        hold_seconds=3.0, rotation=True, answers=3, shows=Small.ails,
    ),
    Fault("products-killed", "the only replica of products killed", "products-", _signal(signal.SIGKILL)),
    Fault("gateway-killed", "function gateway killed", "gateway", _signal(signal.SIGKILL)),
    Fault("edge-killed", "edge killed", "edge", _signal(signal.SIGKILL)),
    Fault("postgres-killed", "PostgreSQL killed", "postgres", _signal(signal.SIGKILL)),
    Fault("postgres-restarted", "PostgreSQL restarted (SIGINT)", "postgres", _signal(signal.SIGINT)),
    Fault("postgres-stopped", "PostgreSQL stopped for 5 s", "postgres", Program.stop, Program.start, hold_seconds=5.0),
    Fault("api-killed", "API killed", "api", _signal(signal.SIGKILL), spares=FLOWS),
    Fault("prometheus-killed", "Prometheus killed", "prometheus", _signal(signal.SIGKILL), spares=FLOWS),
)  # fmt: skip
BY_NAME = {fault.name: fault for fault in FAULTS}


@dataclass
class Happened:
    """What was done when, in Unix time; None for what has not come to pass."""

    program: str
    at: float = 0.0
    over: float = 0.0
    """When it was made well again; the same as `at` where nobody helps."""
    returned: float | None = None
    turns: list[tuple[float, bool]] = field(default_factory=list)
    """When it left the rotation (False) and came back into it (True)."""
    shown: bool = False
    """Whether it was seen to take effect."""

    @property
    def left(self) -> float | None:
        return next((at for at, inside in self.turns if not inside), None)

    @property
    def back(self) -> float | None:
        """In the rotation for good."""
        return self.turns[-1][0] if self.turns and self.turns[-1][1] else None

    @property
    def relapses(self) -> int:
        """How often it was taken back while it was still sick."""
        return sum(inside and at < self.over for at, inside in self.turns)


class Happening(threading.Thread):
    """Brings a fault about `after` seconds after the load has begun, and watches it until it is told to stop."""

    def __init__(self, fault: Fault, victim: Victim, program: str, edge: Settings, after: float) -> None:
        super().__init__(daemon=True)
        self.seen = Happened(program)
        self.error: Exception | None = None
        self._fault, self._victim, self._edge, self._after = fault, victim, edge, after
        self._before = taken_by(edge)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End it, and undo what was done. Raises what went wrong meanwhile."""
        self._stopped.set()
        self.join(30)
        if self.error:
            raise self.error

    def run(self) -> None:
        try:
            self._wait_for_load()
            if not self._stopped.wait(self._after):
                self._happen()
        except Exception as error:  # told by `stop`, in the thread that waits
            self.error = error

    def _wait_for_load(self) -> None:
        while taken_by(self._edge) <= self._before and not self._stopped.wait(0.02):
            pass

    def _happen(self) -> None:
        seen, held = self.seen, self._fault.end is not None
        seen.at = seen.over = time.time()
        self._fault.begin(self._victim)
        try:
            while not self._stopped.wait(POLL_SECONDS):
                if held and time.time() >= seen.at + self._fault.hold_seconds:
                    held = False
                    self._well_again()
                self._look()
        finally:
            if held:
                self._well_again()

    def _well_again(self) -> None:
        assert self._fault.end
        self._fault.end(self._victim)
        self.seen.over = time.time()

    def _look(self) -> None:
        if not self.seen.shown:
            self.seen.shown = self._fault.shows(self._victim)
        if self._fault.rotation and (inside := self._victim.in_rotation()) is not None:
            was = self.seen.turns[-1][1] if self.seen.turns else True
            if inside != was:
                self.seen.turns.append((time.time(), inside))
        if self.seen.returned is None and self._victim.returned():
            self.seen.returned = time.time()


def taken_by(edge: Settings) -> int:
    """Requests that clients have sent to an edge so far."""
    name = "http.edge.downstream_rq_total"
    text = admin_request(edge.envoy_admin_socket("edge"), "GET", f"/stats?filter=^{name}$")
    return int(text.partition(": ")[2] or 0)
