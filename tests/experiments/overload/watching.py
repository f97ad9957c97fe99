"""Beside an overload: what is in flight, what memory the shop holds, and what a refused client is told."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import requests

from localfaas.envoy import admin_request
from localfaas.settings import Settings
from localfaas.supervisor import SupervisorError
from tests.experiments.common.driving import Request
from tests.experiments.soak.watching import look

PERIOD_SECONDS = 0.2
MEMORY_EVERY = 5
"""Periods; to read the memory of all programs takes some hundredths of a second."""
PAUSE_SECONDS = 0.1
CLIENTS = 4
PATIENCE_SECONDS = 25.0


@dataclass(frozen=True)
class Held:
    """At one moment (Unix time): requests in flight where they are asked, and bytes that all programs have for themselves."""

    at: float
    in_flight: int
    own_bytes: int


@dataclass(frozen=True)
class Told:
    """One request of a client that looks at headers: when it was answered, how long that took, and when to come again."""

    at: float
    seconds: float
    status: int
    retry_after: str


@dataclass
class Watching:
    """Threads, until the block ends: one looks, CLIENTS ask `requests` in turn."""

    settings: Settings
    requests: Sequence[Request]
    function: str = ""
    """The one that is asked at the function gateway; without it the edge is asked."""
    held: list[Held] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    def __enter__(self) -> Watching:
        self._done = threading.Event()
        works = (self._look_on, *[self._ask] * CLIENTS)
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS + 5)

    def as_json(self) -> dict[str, Any]:
        return {"held": [asdict(one) for one in self.held], "told": [asdict(one) for one in self.told]}

    def _look_on(self) -> None:
        memory = 0
        for turn in itertools.count():
            with contextlib.suppress(OSError, RuntimeError, SupervisorError):
                if turn % MEMORY_EVERY == 0:
                    memory = sum(one.own_bytes for one in look(self.settings))
                self.held.append(Held(time.time(), in_flight(self.settings, self.function), memory))
            if self._done.wait(PERIOD_SECONDS):
                return

    def _ask(self) -> None:
        with requests.Session() as session:
            for request in itertools.cycle(self.requests):
                self.told.append(told(session, request))
                if self._done.wait(PAUSE_SECONDS):
                    return


def in_flight(settings: Settings, function: str = "") -> int:
    """Requests inside of the edge; or those that the function gateway has given to the replicas of `function`.

    Raises RuntimeError where nobody counts them.
    """
    node, name = (
        ("gateway", f"cluster.{function}.upstream_rq_active")
        if function
        else ("edge", "http.edge.downstream_rq_active")
    )
    text = admin_request(settings.envoy_admin_socket(node), "GET", f"/stats?filter=^{name}$")
    if not text.startswith(f"{name}: "):
        raise RuntimeError(f"the {node} does not count {name}")
    return int(text.removeprefix(f"{name}: "))


def told(session: requests.Session, request: Request) -> Told:
    """As whoever has the first turn; what is asked before it is left out, as only refusals are looked at."""
    values = dict(request.turns[0]) if request.turns else {}
    headers = {name: _filled(text, values) for name, text in request.headers.items()}
    if request.key:
        headers["Idempotency-Key"] = str(uuid.uuid4())
    started = time.monotonic()
    status, retry_after = 0, ""
    with contextlib.suppress(requests.RequestException):
        answer = session.request(
            request.method, _filled(request.url, values), data=_filled(request.body or "", values) or None, headers=headers,
            timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        status, retry_after = answer.status_code, answer.headers.get("Retry-After", "")
    return Told(time.time(), time.monotonic() - started, status, retry_after)


def _filled(text: str, values: Mapping[str, Any]) -> str:
    for name, value in values.items():
        text = text.replace(f"${name}", str(value))
    return text


def read(about: Mapping[str, Any]) -> tuple[list[Held], list[Told]]:
    return [Held(**one) for one in about["held"]], [Told(**one) for one in about["told"]]
